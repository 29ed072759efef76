"""
Keep or close: decision table D1 of the ledger, server side.

`decide` is a pure function of what is known when the head of the final response is written. Its results are constants
that carry the reason, the clause and the row, and what the response says about it.
"""

from __future__ import annotations

from enum import Enum

from ..core.persistence import ASKED_BY_US, ConnectionField, Persistence
from ..core.reasons import CloseReason, KeepReason


class UnreadBody(Enum):
    """What is left of the request body when the response is decided."""

    READ = "consumed to its end, or there was none"
    SHORT = "known, and small enough to read away"
    LONG = "known, and too large to read away"
    OPEN = "of unknown length, and the application is reading"
    REFUSED = "of unknown length, and the application is not reading"
    EXPECTED = "withheld by the client until invited"


def _close(
    reason: CloseReason, row: str, clause: str = "", signal: ConnectionField = ConnectionField.CLOSE
) -> Persistence:
    return Persistence(False, reason, clause or reason.clause, row, signal)


def _keep(reason: KeepReason, row: str, clause: str, signal: ConnectionField = ConnectionField.NOTHING) -> Persistence:
    return Persistence(True, reason, clause, row, signal)


_R, _K = CloseReason, KeepReason
_DEFAULT = "RFC 2616 8.1.2.1; RFC 9112 9.3"
_TOKEN = "RFC 2616 14.10; RFC 9112 9.3"
_REST = "RFC 9112 9.3"

ABORTED = _close(_R.APPLICATION_ABORT, "D1-02", signal=ConnectionField.NOTHING)
SWITCHED = _keep(_K.SWITCHED, "D1-03", "RFC 9110 7.8", ConnectionField.UPGRADE)
DRAINING = _close(_R.DRAINING, "D1-04")
NOT_PERSISTENT = _close(_R.NOT_PERSISTENT, "P-07")
HALF_CLOSED = _close(_R.PEER_HALF_CLOSED, "D1-28")
OVERRUN = _close(_R.APPLICATION_ABORT, "D4-16", signal=ConnectionField.NOTHING)
DRAINING_LATE = _close(_R.DRAINING, "D1-29", signal=ConnectionField.NOTHING)
_ASKED_11 = _close(_R.CLOSE_REQUESTED, "D1-07")
_ASKED_BOTH = _close(_R.CLOSE_REQUESTED, "D1-08")
_ASKED_10 = _close(_R.CLOSE_REQUESTED, "D1-11")
_DEFAULT_10 = _close(_R.HTTP10_DEFAULT, "D1-09")
_FIELD_ALONE_10 = _close(_R.HTTP10_DEFAULT, "D1-10", "RFC 9110 7.6.1")
_MECHANISM_OFF = _close(_R.HTTP10_DEFAULT, "D1-13")
_UNFRAMED_10 = _close(_R.RESPONSE_UNFRAMED, "D1-14")
_KEEP_10 = _keep(_K.KEEP_ALIVE_REQUESTED, "D1-15", _TOKEN, ConnectionField.KEEP_ALIVE)
_KEEP_10_SHORT = _keep(_K.BODY_READ_AWAY, "D1-16", _REST, ConnectionField.KEEP_ALIVE)
_LONG_10 = _close(_R.BODY_UNREAD, "D1-17")
_KEEP_11 = _keep(_K.HTTP11_DEFAULT, "D1-18", _DEFAULT)
_KEEP_11_TOKEN = _keep(_K.KEEP_ALIVE_REQUESTED, "D1-19", _TOKEN, ConnectionField.KEEP_ALIVE)
_KEEP_11_FIELD_ALONE = _keep(_K.HTTP11_DEFAULT, "D1-20", _DEFAULT)
_KEEP_11_OTHERS = _keep(_K.HTTP11_DEFAULT, "D1-21", _DEFAULT)
_KEEP_11_SHORT = _keep(_K.BODY_READ_AWAY, "D1-22", _REST)
_KEEP_11_SHORT_TOKEN = _keep(_K.BODY_READ_AWAY, "D1-22", _REST, ConnectionField.KEEP_ALIVE)
_LONG_11 = _close(_R.BODY_UNREAD, "D1-23")
_OPEN = _keep(_K.BODY_STILL_READ, "D1-24", _REST)
_REFUSED = _close(_R.BODY_UNREAD, "D1-25")
_EXPECTED = _close(_R.EXPECTATION_REFUSED, "D1-26")
_UNFRAMED_11 = _close(_R.RESPONSE_UNFRAMED, "D1-27")
_LIMITS = {reason: _close(reason, "D1-05") for reason in (_R.MAX_REQUESTS, _R.MAX_AGE)}


def refused(reason: CloseReason) -> Persistence:
    """The decision after a protocol error or a time-out (D1-01)."""
    return Persistence(False, reason, reason.clause, "D1-01", ConnectionField.CLOSE, fault=True)


def decide(
    http11: bool,
    options: frozenset[bytes],
    *,
    keep_alive_field: bool = False,
    framed: bool = True,
    asks_close: bool = False,
    unread: UnreadBody = UnreadBody.READ,
    limit: CloseReason | None = None,
    draining: bool = False,
    half_closed: bool = False,
    keep_alive_10: bool = True,
    persistent: bool = True,
) -> Persistence:
    """
    Table D1, from its first row that fits.

    :param options: the tokens of every Connection line of the request, in lower case.
    :param keep_alive_field: whether the request has a Keep-Alive field.
    :param framed: whether the end of the response can be told without a close.
    :param asks_close: whether the application wants the connection closed.
    :param unread: what is left of the request body.
    :param limit: MAX_REQUESTS or MAX_AGE when one is reached.
    :param draining: whether the server is shutting down and nothing behind this request will be served.
    :param half_closed: whether the client has ended its side and nothing is left behind this request.
    """
    if draining:
        return DRAINING
    if limit is not None:
        return _LIMITS[limit]
    if asks_close:
        return ASKED_BY_US
    if not persistent:
        return NOT_PERSISTENT
    if http11:
        decided = _decide_11(options, keep_alive_field, framed, unread)
    else:
        decided = _decide_10(options, keep_alive_field, framed, unread, keep_alive_10)
    return HALF_CLOSED if half_closed and decided.keep else decided


def _decide_10(
    options: frozenset[bytes], keep_alive_field: bool, framed: bool, unread: UnreadBody, enabled: bool
) -> Persistence:
    if b"close" in options:
        return _ASKED_10
    if b"keep-alive" not in options:
        return _FIELD_ALONE_10 if keep_alive_field else _DEFAULT_10
    if not enabled:
        return _MECHANISM_OFF
    if not framed:
        return _UNFRAMED_10
    if unread is UnreadBody.READ:
        return _KEEP_10
    return _KEEP_10_SHORT if unread is UnreadBody.SHORT else _LONG_10


def _decide_11(options: frozenset[bytes], keep_alive_field: bool, framed: bool, unread: UnreadBody) -> Persistence:
    token = b"keep-alive" in options
    if b"close" in options:
        return _ASKED_BOTH if token else _ASKED_11
    if not framed:
        return _UNFRAMED_11
    if unread is UnreadBody.READ:
        if token:
            return _KEEP_11_TOKEN
        if options:
            return _KEEP_11_OTHERS
        return _KEEP_11_FIELD_ALONE if keep_alive_field else _KEEP_11
    if unread is UnreadBody.SHORT:
        return _KEEP_11_SHORT_TOKEN if token else _KEEP_11_SHORT
    return _UNREAD_11[unread]


_UNREAD_11 = {
    UnreadBody.LONG: _LONG_11,
    UnreadBody.OPEN: _OPEN,
    UnreadBody.REFUSED: _REFUSED,
    UnreadBody.EXPECTED: _EXPECTED,
}
