"""Settings are checked once, when they are made, and say what is wrong in one sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ka_twisted.config import Limits, Policy, TcpKeepAlive, Timeouts

KINDS = (Timeouts, Limits, Policy)


@pytest.mark.parametrize("kind", [*KINDS, TcpKeepAlive])
def test_settings_are_frozen_values(kind: Any) -> None:
    made = kind()
    assert made == kind()
    assert hash(made) == hash(kind())
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_given_by_name(kind: Any) -> None:
    with pytest.raises(TypeError):
        kind(1)


BAD_NUMBERS: tuple[object, ...] = (-1, -0.001, float("inf"), float("-inf"), float("nan"), "5", b"5", None, True, [], 1j)


@pytest.mark.parametrize("value", BAD_NUMBERS, ids=repr)
@pytest.mark.parametrize("kind", [Timeouts, Limits])
def test_a_bad_number_is_refused_with_its_name(kind: Any, value: object) -> None:
    for field in dataclasses.fields(kind):
        if value is None and field.name in ("firstRequest", "idleGrace"):
            continue
        with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field.name} ") as caught:
            kind(**{field.name: value})
        assert "\n" not in str(caught.value)


def test_seconds_may_be_fractions_and_counts_may_not() -> None:
    assert Timeouts(body=0.25).body == 0.25
    assert Limits(minBodyRate=0.5, maxAge=0.5).maxAge == 0.5
    for field in dataclasses.fields(Limits):
        if field.name not in ("minBodyRate", "minSendRate", "maxAge"):
            with pytest.raises(ValueError, match=rf"Limits\.{field.name} must be a whole number"):
                Limits(**{field.name: 1.5})  # type: ignore[arg-type]


def test_a_timer_can_be_switched_off_with_0() -> None:
    for field in dataclasses.fields(Timeouts):
        assert getattr(Timeouts(**{field.name: 0}), field.name) == 0


def test_what_bounds_what_a_peer_can_make_us_hold_has_to_exist() -> None:
    refused = set()
    for field in dataclasses.fields(Limits):
        try:
            Limits(**{field.name: 0})
        except ValueError:
            refused.add(field.name)
    assert refused == {
        "maxLine", "maxMethod", "maxHeaderBytes", "maxHeaderFields", "readAhead", "maxHeldBytes", "maxChunkLine",
        "maxTrailerBytes", "pipelineDepth",
    }  # fmt: skip


@pytest.mark.parametrize("field", dataclasses.fields(Policy), ids=lambda field: field.name)
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_behaviour_is_true_or_false(field: Any, value: object) -> None:
    with pytest.raises(ValueError, match=rf"Policy\.{field.name} must be True or False"):
        Policy(**{field.name: value})  # type: ignore[arg-type]


@pytest.mark.ledger("P-12", "K-06")
@pytest.mark.parametrize(
    ("timeouts", "first", "advertised"),
    [
        (Timeouts(), 75.0, 70), (Timeouts(idle=15), 15, 12), (Timeouts(idle=5), 5, 4), (Timeouts(idle=1000), 1000, 995),
        (Timeouts(idle=0), 0, None), (Timeouts(idle=15, idleGrace=0), 15, 15),
        (Timeouts(idle=15, idleGrace=0.5), 15, 14),
        (Timeouts(firstRequest=3), 3, 70), (Timeouts(firstRequest=0), 0, 70), (Timeouts(idle=0.5), 0.5, 0),
        (Timeouts(idle=0, idleGrace=9), 0, None),
    ],
)  # fmt: skip
def test_the_time_promised_is_shorter_than_the_time_kept(
    timeouts: Timeouts,
    first: float,
    advertised: int | None,
) -> None:
    assert (timeouts.first, timeouts.advertised) == (first, advertised)


@pytest.mark.parametrize("grace", [15, 15.0, 16])
def test_a_grace_is_shorter_than_what_it_is_taken_from(grace: float) -> None:
    with pytest.raises(ValueError, match=r"Timeouts\.idleGrace"):
        Timeouts(idle=15, idleGrace=grace)


def test_the_defaults_are_those_of_the_ledger() -> None:
    timeouts, limits = Timeouts(), Limits()
    assert (timeouts.idle, timeouts.header, timeouts.body, timeouts.write) == (75, 10, 30, 30)
    assert (timeouts.expectation, timeouts.unread, timeouts.linger, timeouts.drain) == (1, 5, 5, 30)
    assert (timeouts.halfClosed, timeouts.handler) == (30, 0)
    assert (limits.maxLine, limits.maxMethod, limits.maxHeaderBytes, limits.maxHeaderFields) == (8192, 32, 16384, 100)
    assert (limits.maxBodyBytes, limits.maxChunkLine, limits.maxChunkExtensions) == (0, 1024, 16384)
    assert (limits.maxTrailerBytes, limits.maxTrailerFields, limits.blankLines) == (8192, 32, 8)
    assert (limits.unread, limits.readAhead, limits.pipelineDepth) == (65536, 65536, 16)
    assert (limits.maxRequests, limits.maxAge, limits.maxConnections, limits.maxConnectionsPerPeer) == (0, 0, 10000, 0)


@pytest.mark.ledger("T-05")
def test_tcp_probes_switched_on_without_figures_wait_two_hours() -> None:
    assert TcpKeepAlive() == TcpKeepAlive(7200, 75, 9)


@pytest.mark.ledger("T-05")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60", TcpKeepAlive(60)), ("60:5", TcpKeepAlive(60, 5)), ("60:5:2", TcpKeepAlive(60, 5, 2)),
        ("007", TcpKeepAlive(7)),
        ("7200:75:9", TcpKeepAlive()),
    ],
)  # fmt: skip
def test_tcp_probes_are_written_in_one_word(text: str, value: TcpKeepAlive) -> None:
    assert TcpKeepAlive.fromString(text) == value


@pytest.mark.parametrize(
    "text",
    ["", ":", "60:", ":5", "60:5:2:1", "a", "-1", "+1", "1.5", "60 ", "\N{SUPERSCRIPT TWO}", "60::2"],
)
def test_anything_else_in_that_word_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"IDLE\[:INTERVAL\[:COUNT\]\]"):
        TcpKeepAlive.fromString(text)


@pytest.mark.ledger("T-06")
@pytest.mark.parametrize(
    "figures",
    [
        (60, 5, 1), (60, 5, 0), (0, 5, 9), (60, 0, 9), (-1, 5, 9), (60, 5, -1), (1.5, 5, 9), (60, "5", 9), (True, 5, 9),
    ],
)  # fmt: skip
def test_one_unanswered_probe_proves_nothing_and_no_interval_is_none(figures: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        TcpKeepAlive(*figures)
