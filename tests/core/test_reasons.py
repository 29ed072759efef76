"""Reasons and errors are values that say who, where and by which rule."""

from __future__ import annotations

import pytest

from ka_twisted.core.errors import BodyTooLarge, IncompleteBody, LocalProtocolError, ProtocolError, RemoteProtocolError
from ka_twisted.core.reasons import CloseReason, KeepReason

#: What the public contract names.
CONTRACT = (
    "IDLE_TIMEOUT PEER_CLOSED_IDLE PEER_CLOSED_MID_REQUEST PEER_CLOSED_MID_RESPONSE CLOSE_REQUESTED HTTP10_DEFAULT "
    "RESPONSE_UNFRAMED BODY_UNREAD EXPECTATION_REFUSED BAD_REQUEST HEADER_TIMEOUT BODY_TIMEOUT WRITE_TIMEOUT "
    "MAX_REQUESTS MAX_AGE TOO_MANY_CONNECTIONS DRAINING APPLICATION_ABORT TRANSPORT_ERROR"
)


def test_the_vocabulary_is_whole() -> None:
    names = {reason.name for reason in CloseReason.all()}
    assert set(CONTRACT.split()) <= names
    assert len(names) == len(CloseReason.all())
    annotated = {name for name in CloseReason.__annotations__ if name.isupper()}
    assert names == annotated


@pytest.mark.parametrize("reason", CloseReason.all(), ids=lambda reason: reason.name)
def test_a_reason_says_who_where_and_why(reason: CloseReason) -> None:
    assert reason.by in ("peer", "us", "network")
    assert reason.state
    assert reason.text
    assert reason.clause.startswith("RFC ")
    assert getattr(CloseReason, reason.name) is reason
    assert reason.name in str(reason)
    assert reason.by in str(reason)


def test_the_same_reason_can_be_met_elsewhere_or_brought_about_by_us() -> None:
    reason = CloseReason.CLOSE_REQUESTED
    moved = reason.at("reading a body").by_us()
    assert moved == reason
    assert hash(moved) == hash(reason)
    assert (moved.state, moved.by) == ("reading a body", "us")
    assert reason.at(reason.state) is reason
    assert CloseReason.IDLE_TIMEOUT.by_us() is CloseReason.IDLE_TIMEOUT
    assert reason != CloseReason.DRAINING
    assert reason != "CLOSE_REQUESTED"


def test_reasons_to_keep_say_why() -> None:
    assert all(reason.value for reason in KeepReason)


def test_errors_know_their_status_and_whose_fault_they_are() -> None:
    error = RemoteProtocolError(400, "what", "RFC 9112 5", row="H-25")
    assert (error.status, error.clause, error.row, error.reason, error.retry_after) == (
        400, "RFC 9112 5", "H-25", CloseReason.BAD_REQUEST, 0,
    )  # fmt: skip
    assert str(error) == "what"
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(LocalProtocolError, ValueError)
    assert not issubclass(RemoteProtocolError, ValueError)
    assert issubclass(IncompleteBody, RemoteProtocolError)
    large = BodyTooLarge(10, retry_after=5)
    assert (large.status, large.limit, large.retry_after, large.reason) == (413, 10, 5, CloseReason.BODY_TOO_LARGE)
