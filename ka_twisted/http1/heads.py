"""A name that has moved; for the time of one merge."""

from __future__ import annotations

from .request_buffer import RequestBuffer as RequestBuffer
