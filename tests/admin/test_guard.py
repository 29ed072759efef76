"""Who is let in: the table of hosts, origins and tokens."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from ka_twisted.testing import MemoryClient, MemoryTransport, ParsedResponse
from tests.admin.running import Operated

TOKEN = "correct-horse-battery-staple"
#: What browsers say of a request that the page itself makes.
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
#: What they say when a link is followed.
LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def ask(
    it: Operated, path: str = "/connections.json", method: str = "GET", body: bytes = b"", **fields: str
) -> ParsedResponse:
    """What an operator is answered; the names of fields have underscores for hyphens."""
    return tell(it, path, method, {name.replace("_", "-"): value for name, value in fields.items()}, body)


def tell(
    it: Operated, path: str, method: str = "GET", fields: dict[str, str] | None = None, body: bytes = b""
) -> ParsedResponse:
    client: MemoryClient = it.operators.connect()
    told = {"Host": "localhost:9100", **(fields or {})}
    if body:
        told["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    client.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    (response,) = client.responses
    return response


# -- hosts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9100",
        "LOCALHOST:9100",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:9100",
        "127.1.2.3",
        "[::1]",
        "[::1]:80",
    ],
)
def test_these_are_hosts_of_this_machine(host: str) -> None:
    assert ask(Operated(), Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example", "attacker.example:9100", "localhost.attacker.example", "127.0.0.1.attacker.example",
        "localhost..", "10.0.0.5:9100", "[2001:db8::1]:9100", "0.0.0.0:9100", "[::]:9100", "2130706433",
    ],
)  # fmt: skip
def test_other_names_may_belong_to_anybody(host: str) -> None:
    it = Operated()
    for path in ("/", "/events", "/metrics", "/connections.json", "/nowhere"):
        assert ask(it, path, Host=host).status == 403
    assert ask(it, "/drain", "POST", Host=host).status == 403
    assert it.running.state == "serving"


class Bound(MemoryTransport):
    """Of a listener on an address of its own."""

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "10.0.0.5", 9100)


def test_the_address_that_was_bound_is_a_name() -> None:
    it = Operated()
    it.operators.transportClass = Bound
    client = it.operators.connect()
    client.send(b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.5:9100\r\n\r\n")
    client.send(b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.6:9100\r\n\r\n")
    assert [response.status for response in client.responses] == [200, 403]


def test_a_socket_of_this_machine_is_asked_for_by_a_loopback_name() -> None:
    client = Operated().operators.connect()
    client.transport.getHost = lambda: UNIXAddress("/run/admin.sock")  # type: ignore[assignment, method-assign, return-value]
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.send(b"GET /metrics HTTP/1.1\r\nHost: attacker.example\r\n\r\n")
    client.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert [response.status for response in client.responses] == [200, 403, 403]


def test_with_a_token_every_name_is_good() -> None:
    it = Operated(TOKEN)
    assert ask(it, Host="admin.example", Authorization=f"Bearer {TOKEN}").status == 200
    assert ask(it, Host="admin.example").status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_who_looks_after_the_server_needs_neither(path: str, token: str) -> None:
    assert ask(Operated(token), path, Host="balancer.example").status == 200


# -- requests that another page makes --------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        pytest.param({}, True, id="curl"),
        pytest.param(OWN, True, id="the page itself"),
        pytest.param({**OWN, "Origin": "http://localhost:9100"}, True, id="the page itself, with an origin"),
        pytest.param({"Origin": "http://localhost:9100"}, True, id="an old browser"),
        pytest.param({"Origin": "https://localhost:9100"}, True, id="through something that speaks TLS"),
        pytest.param({"Origin": "http://localhost:3000"}, False, id="another port"),
        pytest.param({"Origin": "http://127.0.0.1:9100"}, False, id="another name"),
        pytest.param({"Origin": "http://attacker.example"}, False, id="another host"),
        pytest.param({"Origin": "null"}, False, id="a sandbox"),
        pytest.param({"Origin": ""}, False, id="nothing"),
        pytest.param({**OWN, "Sec-Fetch-Site": "cross-site"}, False, id="cross-site"),
        pytest.param({**OWN, "Sec-Fetch-Site": "same-site"}, False, id="same-site, another port"),
        pytest.param({**OWN, "Sec-Fetch-Site": "what comes"}, False, id="unheard of"),
        pytest.param({**LINK, "Sec-Fetch-Site": "cross-site"}, False, id="a link or a form"),
        pytest.param({**OWN, "Sec-Fetch-Site": "same-origin", "Origin": "http://a.example"}, False, id="contradiction"),
    ],
)
def test_other_pages_are_no_operators(method: str, fields: dict[str, str], allowed: bool) -> None:
    for token in ("", TOKEN):
        it = Operated(token)
        path = "/connections.json" if method == "GET" else "/drain"
        response = tell(it, path, method, {**fields, "Authorization": f"Bearer {TOKEN}"})
        assert response.status == ((200 if method == "GET" else 202) if allowed else 403)
        assert (it.running.state == "draining") is (allowed and method == "POST")


def test_a_link_to_the_page_may_be_followed() -> None:
    it = Operated()
    assert tell(it, "/", "GET", {**LINK, "Sec-Fetch-Site": "cross-site"}).status == 200
    assert tell(it, "/", "GET", {**LINK, "Sec-Fetch-Site": "none"}).status == 200
    assert tell(it, "/", "GET", {**OWN, "Sec-Fetch-Site": "cross-site"}).status == 403
    frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert tell(it, "/", "GET", frame).status == 403


# -- the token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), (f"Bearer  {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401), (f"Bearer {TOKEN[:-1]}", 401), ("Bearer", 401), ("Bearer ", 401), (TOKEN, 401),
        (f"Basic {TOKEN}", 401), ("Bearer \xe4\xf6", 401), ("", 401),
    ],
)  # fmt: skip
def test_the_token_is_presented_in_a_field(credentials: str, status: int) -> None:
    client = Operated(TOKEN).operators.connect()
    client.send(f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n".encode("latin-1"))
    (response,) = client.responses
    assert response.status == status


@pytest.mark.parametrize("path", ["/events", "/metrics", "/connections.json", "/nowhere", "/drain"])
def test_without_it_there_is_nothing_to_see(path: str) -> None:
    response = ask(Operated(TOKEN), path)
    assert response.status == 401
    assert str(response.headers.get("www-authenticate")).startswith("Bearer")


def test_who_has_none_cannot_drain() -> None:
    it = Operated(TOKEN)
    assert ask(it, "/drain", "POST").status == 401
    assert it.running.state == "serving"


def test_a_browser_is_asked_for_it_and_keeps_a_cookie() -> None:
    it = Operated(TOKEN)
    asked = ask(it, "/")
    assert asked.status == 401
    assert b'name="token"' in asked.body
    assert b"EventSource" not in asked.body
    given = ask(it, "/login", "POST", f"token={TOKEN}".encode())
    assert (given.status, given.headers.get("location")) == (303, "/")
    cookie = given.headers.get("set-cookie") or ""
    assert {part.strip() for part in cookie.split(";")[1:]} == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert TOKEN not in cookie
    pair = cookie.partition(";")[0]
    shown = ask(it, "/", Cookie=f"other=1; {pair}")
    assert shown.status == 200
    assert b"EventSource" in shown.body
    again = Operated(TOKEN)  # a server that was started anew
    assert ask(again, Cookie=pair).status == 200
    assert ask(Operated(TOKEN + "!"), Cookie=pair).status == 401


@pytest.mark.parametrize("pair", ["{name}={value}x", "{name}=", "{name}", "x{name}={value}", "{name}={name}"])
def test_another_cookie_is_none(pair: str) -> None:
    it = Operated(TOKEN)
    guard = it.admin._guard
    cookie = pair.format(name=guard._cookieName, value=guard._cookieValue)
    assert ask(it, Cookie=cookie).status == 401


@pytest.mark.parametrize("form", [b"token=wrong", b"token=", b"", b"a=b", b"token", b"&" * 100, b"\xff=\xfe"])
def test_who_gives_another_token_is_asked_again(form: bytes) -> None:
    response = ask(Operated(TOKEN), "/login", "POST", form)
    assert response.status == 403
    assert b"Wrong token." in response.body
    assert "set-cookie" not in response.headers


def test_a_form_that_is_longer_than_a_token_is_not_read() -> None:
    assert ask(Operated(TOKEN), "/login", "POST", b"token=" + b"x" * 10_000).status == 413


def test_a_token_can_have_any_letters() -> None:
    it = Operated("schlüssel & schloß")
    assert ask(it, "/login", "POST", b"token=schl%C3%BCssel+%26+schlo%C3%9F").status == 303
    assert ask(it, "/login", "POST", b"token=schl%FCssel+%26+schlo%DF").status == 403


def test_another_page_cannot_log_in() -> None:
    form = f"token={TOKEN}".encode()
    response = tell(Operated(TOKEN), "/login", "POST", {**LINK, "Sec-Fetch-Site": "cross-site"}, form)
    assert response.status == 403
    assert "set-cookie" not in response.headers


def test_without_a_token_there_is_no_login() -> None:
    assert ask(Operated(), "/login", "POST", b"token=").status == 404


# -- what browsers are told ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/metrics", "/connections.json", "/healthz", "/readyz", "/nowhere", "/drain"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_nothing_is_kept_nor_framed(path: str, token: str) -> None:
    headers = ask(Operated(token), path).headers
    assert headers.get("cache-control") == "no-store"
    assert headers.get("x-frame-options") == "DENY"
    assert headers.get("x-content-type-options") == "nosniff"
    policy = headers.get("content-security-policy") or ""
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
