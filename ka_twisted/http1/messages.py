"""Names that have moved; for the time of one merge."""

from __future__ import annotations

from .encoding import STATUS_LINES as STATUS_LINES
from .request_fields import RequestFields as RequestFields
from .request_fields import read_fields as read_fields
from .request_heads import RequestHead as RequestHead
from .request_lines import check_target as check_target
