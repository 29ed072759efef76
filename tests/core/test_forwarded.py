"""Whom a request is for: what is read of ``Forwarded`` and ``X-Forwarded-For``, and what is not believed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ka_twisted.core.forwarded import MAX_BYTES, MAX_HOPS, Client, TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def client(forwarded: str = "", other: str = "") -> str | None:
    """The host that is found; lines of a field are separated by bars."""
    fields = [(b"Forwarded", line.encode("latin-1")) for line in forwarded.split("|") if line]
    fields += [(b"x-forwarded-FOR", line.encode("latin-1")) for line in other.split("|") if line]
    found = PROXIES.client(fields)
    return None if found is None else found.host


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.7 ,\tfd00::1", "192.0.2.1"),
        ("192.0.2.1|10.0.0.7", "192.0.2.1"),
        ("198.51.100.9|192.0.2.1", "192.0.2.1"),
        ('nonsense", 192.0.2.1', "192.0.2.1"),  # what is further to the left has no say
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),  # all are trusted
        ("::ffff:10.0.0.9, 10.0.0.7", "10.0.0.9"),
        (",, 192.0.2.1,", "192.0.2.1"),
        ("unknown", None),
        ("192.0.2.1, unknown", None),
        ("192.0.2.1, , 10.0.0.256", None),
        ("192.0.2.1, 192.0.2", None),
        ("192.0.2.01", None),
        ("192.0.2.1:65536", None),
        ("192.0.2.1:", None),
        ("[192.0.2.1]", None),
        ("[fe80::1%eth0]", None),
        ("fe80::1%1", None),
        ("3221225985", None),
        ("\xb2.0.2.1111", None),
        (", ,", None),
    ],
)
def test_x_forwarded_for(field: str, host: str | None) -> None:
    assert client(other=field) == host


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ('For="192.0.2.1:4711";Proto=https;by=10.0.0.7', "192.0.2.1"),
        ('proto=http;for="[2001:DB8::1]:80"', "2001:db8::1"),
        ('for="[2001:db8::1]:_hidden"', "2001:db8::1"),
        (r'for="192\.0.2.1"', "192.0.2.1"),
        ("for=198.51.100.9, for=192.0.2.1,for=10.0.0.7", "192.0.2.1"),
        ("for=192.0.2.1|for=10.0.0.7", "192.0.2.1"),
        ('for="nonsense|for=192.0.2.1', "192.0.2.1"),
        ('for=_x;note="a, for=198.51.100.9", for=192.0.2.1', "192.0.2.1"),
        (";for=192.0.2.1;", "192.0.2.1"),
        (", for=192.0.2.1 ,", "192.0.2.1"),
        ("for=192.0.2.1, for=unknown", None),
        ("for=192.0.2.1, for=_gazonk", None),
        ("for=192.0.2.1, proto=https", None),
        ("for = 192.0.2.1", None),
        ("for=192.0.2.1; proto=http", None),
        ("for=192.0.2.1;for=192.0.2.1", None),
        ("for=192.0.2.1:80", None),  # a colon has to be quoted
        ("for=[2001:db8::1]", None),
        ('for="2001:db8::1"', None),
        ('for="192.0.2.1', None),
        ('for="nonsense, for=192.0.2.1', None),
        ("192.0.2.1", None),
        ("for=", None),
        ("for=192.0.2.1 for=192.0.2.2", None),
    ],
)
def test_forwarded(field: str, host: str | None) -> None:
    assert client(forwarded=field) == host


def test_the_port_is_told_where_the_proxy_tells_it() -> None:
    assert PROXIES.client([(b"forwarded", b'for="192.0.2.1:4711"')]) == Client("192.0.2.1", 4711)
    assert PROXIES.client([(b"forwarded", b"for=192.0.2.1")]) == Client("192.0.2.1", 0)


def test_two_fields_that_contradict_each_other_change_nothing() -> None:
    assert client("for=192.0.2.1", "192.0.2.1") == "192.0.2.1"
    assert client("for=198.51.100.9", "192.0.2.1") is None
    assert client("nonsense", "192.0.2.1") is None


def test_what_is_too_much_is_not_read() -> None:
    assert client(other="x," * (MAX_BYTES // 2) + "192.0.2.1") is None
    hops = ["192.0.2.1", *["10.0.0.1"] * (MAX_HOPS - 1)]
    assert client(other=",".join(hops)) == "192.0.2.1"
    assert client(other=",".join([*hops, "10.0.0.1"])) is None


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        (None, True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("client", False),
    ],
)
def test_who_is_trusted(host: str | None, trusted: bool) -> None:
    assert PROXIES.trusts(host) is trusted


words = st.sampled_from(
    [*'for=,;"\\ \t:_[]', "192.0.2.1", "10.0.0.1", "[fd00::1]", '"[2001:db8::1]:80"', "unknown", "proto=http", "for="]
)
lines = st.one_of(st.lists(words).map(lambda parts: "".join(parts).encode()), st.binary(max_size=60))
names = st.sampled_from([b"forwarded", b"Forwarded", b"X-Forwarded-For", b"x-forwarded-for", b"host", b""])
sections = st.lists(st.tuples(names, lines), max_size=5)


@given(sections)
def test_whatever_the_fields_hold_it_is_an_address_or_nothing(fields: list[tuple[bytes, bytes]]) -> None:
    found = PROXIES.client(fields)
    if found is not None:
        assert str(ip_address(found.host)) == found.host
        assert 0 <= found.port <= 65535


@given(sections, st.ip_addresses().filter(lambda address: not PROXIES.trusts(str(address))))
def test_what_a_client_writes_is_never_taken_for_what_the_proxy_says(
    fields: list[tuple[bytes, bytes]], address: object
) -> None:
    forged = [(name, value) for name, value in fields if name.lower() == b"x-forwarded-for"]
    said = str(PROXIES.client([(b"x-forwarded-for", str(address).encode())]))
    # A line of its own, or behind the client's.
    assert str(PROXIES.client([*forged, (b"x-forwarded-for", str(address).encode())])) in (said, "None")
    joined = b", ".join([*(value for _, value in forged), str(address).encode()])
    assert str(PROXIES.client([(b"x-forwarded-for", joined)])) in (said, "None")
    # With the field beside it that the proxy does not write.
    assert str(PROXIES.client([*fields, (b"x-forwarded-for", str(address).encode())])) in (said, "None")


@given(lines, st.ip_addresses(v=4).filter(lambda address: not PROXIES.trusts(str(address))))
def test_nor_where_the_proxy_appends_to_forwarded(line: bytes, address: object) -> None:
    said = f"for={address}".encode()
    assert PROXIES.client([(b"forwarded", line + b", " + said)]) in (Client(str(address), 0), None)
    assert PROXIES.client([(b"forwarded", line), (b"forwarded", said)]) == Client(str(address), 0)


@given(st.text(), sections)
def test_any_peer_is_judged(host: str, fields: list[tuple[bytes, bytes]]) -> None:
    assert PROXIES.trusts(host) in (True, False)
