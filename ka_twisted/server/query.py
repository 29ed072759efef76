"""Values of a request's query, checked."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from .request import Request


class BadQuery(ValueError):
    """A value in the query cannot be used; the text is one sentence that says why."""


def whole(request: Request, name: str, default: int, most: int) -> int:
    """
    A whole number of the query.

    :param most: the largest that is allowed.
    :raises BadQuery: when it is none, or larger than allowed.
    """
    text = argument(request, name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,30}", text):
        raise BadQuery(f"{name} is a whole number, not {text!r}")
    if int(text) > most:
        raise BadQuery(f"{name} is at most {most}, not {text}")
    return int(text)


def decimal(request: Request, name: str, default: float, most: float) -> float:
    """
    A number of the query, with or without a fraction.

    :param most: the largest that is allowed.
    :raises BadQuery: when it is none, or larger than allowed.
    """
    text = argument(request, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30}", text):
        raise BadQuery(f"{name} is a number such as 2 or 0.5, not {text!r}")
    if float(text) > most:
        raise BadQuery(f"{name} is at most {most:g}, not {text}")
    return float(text)


def argument(request: Request, name: str) -> str | None:
    """The last value of that name in the query; None without one."""
    return dict(parse_qsl(request.query, keep_blank_values=True)).get(name)
