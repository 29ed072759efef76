"""What people write for an endpoint: taken for what it means, or refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from ka_twisted.service.configuration.addresses import description
from ka_twisted.service.configuration.options import Options

TAKEN = {
    "8080": "tcp:8080",
    " 8080 ": "tcp:8080",
    ":8080": "tcp:8080",
    "*:8080": "tcp:8080",
    "127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
    "0.0.0.0:80": "tcp:80:interface=0.0.0.0",
    "[::1]:8080": r"tcp:8080:interface=\:\:1",
    "[::]:8080": r"tcp:8080:interface=\:\:",
    "localhost:8080": "tcp:8080:interface=127.0.0.1",
    "LocalHost.:8080": "tcp:8080:interface=127.0.0.1",
    "unix:/run/app.socket": "unix:/run/app.socket",
    "unix:///run/app.socket": "unix:/run/app.socket",
    "/run/app.socket": "unix:/run/app.socket",
    "./app.socket": "unix:app.socket",
    "./8080": "unix:8080",
    # Those of Twisted stay as they are.
    "tcp:8080": "tcp:8080",
    "tcp:8080:127.0.0.1": "tcp:8080:127.0.0.1",
    r"tcp6:80:interface=\:\:1": r"tcp6:80:interface=\:\:1",
    "unix:app.socket:mode=660": "unix:app.socket:mode=660",
    "ssl:443:privateKey=a": "ssl:443:privateKey=a",
    "systemd:domain=INET:index=0": "systemd:domain=INET:index=0",
}

REFUSED = {
    "": " is empty: write PORT, ADDRESS:PORT, /PATH or the description of a Twisted endpoint",
    "127.0.0.1": " 127.0.0.1 is not an endpoint: "
                 "the port is missing; write 127.0.0.1:PORT",
    "[::1]": " [::1] is not an endpoint: the port is missing; write [::1]:PORT",
    # An address by itself, or one with a port: it cannot be told.
    "::1:8080": " ::1:8080 is not an endpoint: "
                "an IPv6 address stands in brackets; write [ADDRESS]:PORT",
    "localhost": " localhost is not an endpoint: the port is missing; write localhost:PORT",
    "[shop]:80": " [shop]:80 is not an endpoint: [shop] is not an IPv6 address; write [::1]:80, for one",
    "shop.example:80": " shop.example:80 is not an endpoint: "
                       "shop.example is neither a kind of endpoint nor an address; write ADDRESS:80, or :80 for all",
    "shop": " shop is not an endpoint: there is no kind of endpoint called 'shop'; "
            "write PORT, ADDRESS:PORT, /PATH or the description of a Twisted endpoint",
    "256.1.1.1:80": " 256.1.1.1:80 is not an endpoint: "
                    "256.1.1.1 is neither a kind of endpoint nor an address; write ADDRESS:80, or :80 for all",
    "http://127.0.0.1:8080/": " http://127.0.0.1:8080/ is not an endpoint: it is a URL; write 127.0.0.1:8080",
    "tcp://localhost": " tcp://localhost is not an endpoint: it is a URL; write localhost:PORT",
    "https://:443": " https://:443 is not an endpoint: it is a URL; write ssl:PORT:privateKey=FILE:certKey=FILE, "
                    "or ADDRESS:PORT with listen.tls in the configuration file",
    "fd://3": " fd://3 is not an endpoint: it is a URL; "
              "write systemd:domain=INET:index=0 for the first socket that was handed over",
    "unix://run/a": " unix://run/a is not an endpoint: write unix:/run/a for a path from the root on",
    "/run/": " /run/ is not an endpoint: it is the path of a directory; write that of the socket",
    "/run/a:mode=660": " /run/a:mode=660 is not an endpoint: "
                       r"write unix:/run/a:mode=660, with \: and \= for a : and a = in the path itself",
    "tcp:127.0.0.1:8080": " tcp:127.0.0.1:8080 is not an endpoint: "
                          "the port comes first; write tcp:8080:interface=127.0.0.1",
    "tcp:[::1]:8080": r" tcp:[::1]:8080 is not an endpoint: the port comes first; write tcp:8080:interface=\:\:1",
    "ssl:*:443:privateKey=a": " ssl:*:443:privateKey=a is not an endpoint: "
                              "the port comes first; write ssl:443:privateKey=a",
    "tcp:http:80": " tcp:http:80 is not an endpoint: 'http' is not a number",
    "tcp:": " tcp: is not an endpoint: the port is missing; write tcp:PORT",
    "unix:": " unix: is not an endpoint: the path of the socket is missing",
    ":70000": " tcp:70000 is not an endpoint: a port is between 0 and 65535",
    "127.0.0.1:http": " 127.0.0.1:http is not an endpoint: there is no kind of endpoint called '127.0.0.1'; "
                      "write PORT, ADDRESS:PORT, /PATH or the description of a Twisted endpoint",
    "\uff18\uff10": " \uff18\uff10 is not an endpoint: there is no kind of endpoint called '\uff18\uff10'; "
                    "write PORT, ADDRESS:PORT, /PATH or the description of a Twisted endpoint",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(*arguments: str, **environ: str) -> Options:
    parsed = Options(MemoryReactorClock(), environ)
    parsed.parseOptions(list(arguments))
    return parsed


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(SystemExit) as caught:
        options(*arguments, **environ)
    return str(caught.value.code).removeprefix("keepalive: ")


@pytest.mark.parametrize(("text", "meant"), TAKEN.items())
def test_what_has_one_meaning_is_taken(text: str, meant: str) -> None:
    assert description(text) == meant


@pytest.mark.parametrize(("text", "sentence"), REFUSED.items())
def test_what_to_write_is_said_on_the_command_line_in_variables_and_in_the_file(
    text: str, sentence: str, folder: Path
) -> None:
    assert refusal("--listen", text) == f"--listen{sentence}"
    assert refusal("--admin", text) == f"--admin{sentence}"
    if text:
        assert refusal(KA_TWISTED_LISTEN=text) == f"KA_TWISTED_LISTEN{sentence}"
    (folder / "k.toml").write_text(f"[[listen]]\nendpoint = '{text}'\n", "utf-8")
    assert refusal("--config", "k.toml") == f"k.toml:2: listen.endpoint{sentence}"


def test_a_path_begins_where_other_paths_do(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "k.toml").write_text("[[listen]]\nendpoint = './a.socket'\n[admin]\nendpoint = '/run/b'\n")
    configuration = options("--config", "etc/k.toml").configuration
    assert [listener.endpoint for listener in configuration.listeners] == [f"unix:{folder}/etc/a.socket"]
    assert configuration.admin is not None
    assert configuration.admin.endpoint == "unix:/run/b"
    assert options("--listen", "./a").configuration.listeners[0].endpoint == f"unix:{folder}/a"


@pytest.mark.parametrize("text", ["127.0.0.1:9090", "[::1]:9090", "localhost:9090", "/run/admin.socket"])
def test_the_operator_s_endpoint_is_local_in_each_form(text: str) -> None:
    assert options("--admin", text).configuration.admin is not None


@pytest.mark.parametrize("text", ["9090", ":9090", "0.0.0.0:9090", "[::]:9090"])
def test_the_operator_s_endpoint_for_all_needs_a_token_in_each_form(text: str) -> None:
    assert refusal("--admin", text).endswith("can be reached from elsewhere: it needs a token (--admin-token-file)")
