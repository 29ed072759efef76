"""The configuration file: what it sets, what is said about a wrong one, and where."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from ka_twisted import Response
from ka_twisted.config import Certificate, Limits, Policy, TcpKeepAlive, Timeouts, Tls
from ka_twisted.service.applications.sites import PLAYGROUND, Site, handlerOf, loadSites
from ka_twisted.service.configuration import files
from ka_twisted.service.configuration.example import example, literal
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.configuration.settings import (
    ALL_SETTINGS,
    ARRAYS,
    DEFAULT_ENDPOINT,
    LIMITS,
    POLICIES,
    SETTINGS,
    TIMERS,
)
from ka_twisted.service.configuration.values import Admin, Configuration, Listener

DOCS = Path(__file__).parent.parent.parent / "docs"
APP = "shop:handler"
PAGE = (DOCS / "configuration.md").read_text("utf-8")


class _Contexts:
    """Stands for the reading of certificates: a file that is not there is an error."""

    def __init__(self, tls: Tls) -> None:
        for certificate in tls.certificates:
            if "missing" in certificate.chain:
                raise _TlsError(f"{certificate.chain}: No such file or directory")


class _TlsError(Exception):
    pass


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the application ``shop:handler``; certificates and addresses are not looked at."""
    (tmp_path / "shop.py").write_text(
        "def handler(request): return b'hello'\n"
        "def other(request): return b'other'\n"
        "price = 7\n"
    )  # fmt: skip
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    tls, admin = ModuleType("tls"), ModuleType("admin")
    vars(tls).update(TlsContexts=_Contexts, TlsError=_TlsError)
    vars(admin).update(isLocal=lambda text: "127.0.0.1" in text or text.startswith("unix:"))
    monkeypatch.setitem(sys.modules, "ka_twisted.net.tls", tls)
    monkeypatch.setitem(sys.modules, "ka_twisted.admin", admin)
    yield tmp_path
    sys.modules.pop("shop", None)


def parse(*arguments: str) -> Options:
    options = Options(MemoryReactorClock())
    options.parseOptions(list(arguments))
    return options


def load(text: str | bytes, *arguments: str) -> Configuration:
    """The configuration of a file in a folder beside the working directory's files."""
    Path("etc/k.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse("--config", "etc/k.toml", *arguments).configuration


def refusal(text: str | bytes, *arguments: str) -> str:
    """The sentence that a wrong file ends with."""
    with pytest.raises(SystemExit) as caught:
        load(text, *arguments)
    assert isinstance(caught.value.code, str), "a text means status 1"
    assert "\n" not in caught.value.code
    return caught.value.code.removeprefix("keepalive: ").replace(f"{Path.cwd()}/", "~/")


# -- what it sets ------------------------------------------------------------------------------------


def test_an_empty_file_changes_nothing() -> None:
    assert load("") == parse().configuration
    assert load("") == Configuration(
        listeners=(Listener(endpoint=DEFAULT_ENDPOINT),), timeouts=Timeouts(), limits=Limits()
    )


@pytest.mark.parametrize("setting", [*TIMERS, *LIMITS], ids=lambda setting: setting.option)
def test_each_number_of_the_command_line_has_its_key(setting: Any) -> None:
    configuration = load(f"[{setting.table}]\n{setting.key} = 37\n")
    assert configuration == parse(f"--{setting.option}", "37").configuration
    assert configuration != load("")


@pytest.mark.parametrize("setting", POLICIES, ids=lambda setting: setting.option)
def test_each_policy_of_the_command_line_has_its_key(setting: Any) -> None:
    value = literal(not setting.default)
    configuration = load(f"[policy]\n{setting.key} = {value}\n")
    assert configuration == parse(f"--{setting.option}", value).configuration
    assert configuration != load("")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('app = "shop:other"', ["--app", "shop:other"]),
        ("workers = 3", ["--workers", "3"]),
        ("worker-timeout = 2.5", ["--worker-timeout", "2.5"]),
        ('behind = "envoy"', ["--behind", "envoy"]),
        ('tcp-keepalive = "60:10:3"', ["--tcp-keepalive", "60:10:3"]),
        ('access-log = "../requests.log"', ["--access-log", "requests.log"]),
        ('access-log = "-"', ["--access-log", "-"]),
        ('log-format = "json"', ["--log-format", "json"]),
        ('[admin]\nendpoint = "tcp:9:interface=127.0.0.1"', ["--admin", "tcp:9:interface=127.0.0.1"]),
        ('[admin]\nendpoint = "tcp:9"\ntoken-file = "../token"', ["--admin", "tcp:9", "--admin-token-file", "token"]),
        ('[[listen]]\nendpoint = "tcp:1"\n[[listen]]\nendpoint = "unix:/s"',
         ["--listen", "tcp:1", "--listen", "unix:/s"]),
        ('[[listen]]\nendpoint = "unix:../s"', ["--listen", "unix:s"]),
        ('[[listen]]\nendpoint = "ssl:1:privateKey=../a:certKey=../b"', ["--listen", "ssl:1:privateKey=a:certKey=b"]),
        ('[[listen]]\nendpoint = "tcp:1"\ntls.certificates = [{chain = "../b", key = "../a"}]',
         ["--listen", "ssl:1:privateKey=a:certKey=b"]),
        ('[[listen]]\nendpoint = "tcp:1"\nproxy-protocol = ["10.0.0.0/8", "::1"]',
         ["--listen", "tcp:1", "--proxy-protocol", "10.0.0.0/8,::1"]),
    ],
)  # fmt: skip
def test_the_file_says_the_same_as_the_command_line(shop: Path, text: str, arguments: list[str]) -> None:
    (shop / "token").write_text("secret\n")
    here, there = load(text), parse(*arguments).configuration
    assert repr(here).replace("/etc/../", "/") == repr(there)
    assert here != load("")


def test_a_file_has_several_listeners_each_with_its_own_tls_and_proxies(shop: Path) -> None:
    configuration = load("""
        [[listen]]
        endpoint = "tcp:80"
        [[listen]]
        endpoint = "tcp:443"
        proxy-protocol = ["192.0.2.0/24"]
        [listen.tls]
        client-authorities = "/clients.pem"
        client-required = false
        minimum = "1.3"
        ciphers = "ECDHE"
        certificates = [{ chain = "one.pem", key = "one.key" }, { chain = "/two.pem", key = "/two.pem" }]
    """)
    assert configuration.listeners == (
        Listener(endpoint="tcp:80"),
        Listener(
            endpoint="tcp:443",
            proxies=(ip_network("192.0.2.0/24"),),
            tls=Tls(
                certificates=(
                    Certificate(f"{shop}/etc/one.pem", f"{shop}/etc/one.key"), Certificate("/two.pem", "/two.pem"),
                ),
                clientAuthorities="/clients.pem",
                clientRequired=False,
                minimum="1.3",
                ciphers="ECDHE",
            ),
        ),
    )  # fmt: skip


SITES = """
    [[site]]
    app = "shop:handler"
    host = "Shop.Example"
    [[site]]
    app = "shop:other"
    host = "shop.example"
    prefix = "/api/"
"""


def test_a_file_has_several_sites() -> None:
    sites = (Site(app=APP, host="shop.example"), Site(app="shop:other", host="shop.example", prefix="/api"))
    assert load(SITES).sites == sites
    assert load(f"app = '{APP}'\n{SITES}").sites == (*sites, Site(app=APP))


def test_an_application_on_the_command_line_is_served_alone() -> None:
    assert load(f"app = '{APP}'\n{SITES}", "--app", "shop:other").sites == (Site(app="shop:other"),)


def test_the_handler_of_one_site_is_its_application() -> None:
    loaded, *others = loadSites([Site(app=APP)])
    assert not others
    assert handlerOf([loaded]) is loaded.application.handle


def test_the_handler_of_several_sites_tells_them_apart() -> None:
    class Asked:
        host = "shop.example"
        path = "/api/things"

    sites = load(SITES).sites
    handler = handlerOf(loadSites(sites))
    asked: Any = Asked()
    assert handler(asked) == b"other"
    asked.path = "/"
    assert handler(asked) == b"hello"
    asked.host = "else.example"
    elsewhere = handler(asked)
    assert isinstance(elsewhere, Response)
    assert elsewhere.status == 421


def test_the_command_line_wins() -> None:
    text = """
        log-format = "json"
        workers = 2
        [timeouts]
        idle = 20
        header = 5
        [[listen]]
        endpoint = "tcp:1"
        [[listen]]
        endpoint = "tcp:2"
        proxy-protocol = ["192.0.2.0/24"]
    """
    configuration = load(text, "--idle-timeout", "75", "--workers", "0", "--log-format", "combined")
    assert configuration.timeouts == Timeouts(idle=75, header=5)
    assert (configuration.workers, configuration.logFormat) == (0, "combined")
    assert [listener.endpoint for listener in configuration.listeners] == ["tcp:1", "tcp:2"]
    assert load(text, "--listen", "tcp:3").listeners == (Listener(endpoint="tcp:3"),)
    believed = load(text, "--proxy-protocol", "::1").listeners
    assert [listener.proxies for listener in believed] == [(ip_network("::1"),)] * 2


def test_the_file_is_read_anew_wherever_the_process_is(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "etc" / "k.toml").write_text("workers = 1")
    options = parse("--config", "etc/k.toml", "--listen", "unix:s", "--idle-timeout", "3")
    monkeypatch.chdir("/")
    assert options.read() == options.configuration
    (shop / "etc" / "k.toml").write_text("workers = 2\n[timeouts]\nidle = 4\nbody = 5")
    again = options.read()
    assert (again.workers, again.timeouts) == (2, Timeouts(idle=3, body=5))
    assert again.listeners == (Listener(endpoint=f"unix:{shop}/s"),)
    assert options.configuration.workers == 1, "what is in force is for the service to say"
    (shop / "etc" / "k.toml").write_text("workers = []")
    with pytest.raises(Exception, match=r"^etc/k\.toml:1: workers wants a whole number or 'auto', not an array$"):
        options.read()


def test_a_token_is_not_shown(shop: Path) -> None:
    (shop / "etc" / "token").write_text(" secret \n")
    configuration = load('[admin]\nendpoint = "tcp:9"\ntoken-file = "token"')
    assert configuration.admin == Admin(endpoint="tcp:9", token="secret")
    assert "secret" not in repr(configuration)


def test_the_file_may_come_from_windows() -> None:
    assert load(b"workers = 1\r\n[timeouts]\r\nidle = 3\r\n").timeouts.idle == 3


def test_a_byte_order_mark_is_not_part_of_the_text(shop: Path) -> None:
    assert load(b"\xef\xbb\xbf[timeouts]\r\nidle = 3\r\n").timeouts.idle == 3
    assert refusal(b"\xef\xbb\xbfworkers 2") == (
        "etc/k.toml:1: expected '=' after a key in a key/value pair at column 9"
    )
    (shop / "token").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    admin = load(b"\xef\xbb\xbf[admin]\nendpoint = 'tcp:9'\ntoken-file = '../token'").admin
    assert admin is not None
    assert admin.token == "secret"


# -- what is said about a wrong one ------------------------------------------------------------------

WRONG = {
    # the file
    "a = ": "1: invalid value",
    "a = 1\na = 2": "2: cannot overwrite a value",
    "workers = 1\nworkers 2": "2: expected '=' after a key in a key/value pair at column 9",
    "workers = 1\n\n[[listen]]\nendpoint = [\n1,\n2": "4: unclosed array",
    'workers = 1\napp = """shop\n\n': "2: unterminated string",
    b"workers = 1\n# caf\xe9\n": "2: this is not UTF-8",
    # names
    "worker = 1": "1: worker is unknown; did you mean workers?",
    "access_log = 'x'": "1: access_log is unknown; did you mean access-log?",
    "zzz = 1": "1: zzz is unknown",
    '"a\\nb" = 1': '1: "a\\nb" is unknown',
    "\n\n[timeouts]\nidle = 3\n\nidel = 3": "6: timeouts.idel is unknown; did you mean timeouts.idle?",
    "[timeouts]\nidle-timeout = 3": "2: timeouts.idle-timeout is unknown; did you mean timeouts.idle?",
    "idle-timeout = 3": "1: idle-timeout is unknown; did you mean timeouts.idle?",
    "max-requests = 3": "1: max-requests is unknown; did you mean limits.max-requests?",
    "[timeouts]\napp = 'shop:handler'": "2: timeouts.app is unknown; did you mean app, which stands above all tables?",
    "admin-token-file = 'x'": "1: admin-token-file is unknown; did you mean admin.token-file?",
    "[timeout]\nidle = 1": "1: timeout is unknown; did you mean timeouts?",
    "[[site]]\npath = '/api'": "2: site.path is unknown; site has app, host and prefix",
    "[timeouts]\nzzz = 1": "2: timeouts.zzz is unknown",
    "[[sites]]\napp = 'x'": "1: sites is unknown; did you mean site?",
    "[[listen]]\nendpoint = 'tcp:1'\n[[listen]]\nendpoint = 'tcp:2'\n[listen.tls]\n# a remark\ncertificate = 1":
        "7: listen.tls.certificate is unknown; did you mean listen.tls.certificates?",
    "[policy]\npersistent = 1": "2: policy.persistent wants true or false, not 1",
    "[policy]\nkeep-alive = true": "2: policy.keep-alive is unknown; did you mean policy.keep-alive-10?",
    # types
    "[timeouts]\nidle = true": "2: timeouts.idle wants a number, not true",
    "[timeouts]\nidle = '75'": "2: timeouts.idle wants a number, not '75'",
    "[timeouts]\nidle = -1": "2: timeouts.idle must not be negative or infinite: -1",
    "[timeouts]\nidle = inf": "2: timeouts.idle must not be negative or infinite: inf",
    "[timeouts]\nidle = nan": "2: timeouts.idle must not be negative or infinite: nan",
    "[limits]\nmax-requests = 1.5": "2: limits.max-requests wants a whole number, not 1.5",
    "[limits]\nmax-line = 0":
        "2: limits.max-line must be at least 1: it bounds what a peer can make us hold",
    "workers = false": "1: workers wants a whole number or 'auto', not false",
    "worker-timeout = -1": "1: worker-timeout must not be negative or infinite: -1",
    "worker-timeout = nan": "1: worker-timeout must not be negative or infinite: nan",
    "workers = -1": "1: workers must not be negative: -1",
    "timeouts = 75": "1: timeouts wants a table, not 75",
    "admin = 1979-05-27": "1: admin wants a table, not a date or time",
    "[[timeouts]]\nidle = 1": "1: timeouts wants a table, not an array",
    "app = ['shop:handler']": "1: app wants a text, not an array",
    "app = { name = 'shop' }": "1: app wants a text, not a table",
    "[listen]\nendpoint = 'tcp:1'": "1: listen wants a table for each listener: [[listen]]",
    "listen = 'tcp:1'": "1: listen wants a table for each listener: [[listen]]",
    "listen = ['tcp:1', 'tcp:2']": "1: listen wants a table for each listener: [[listen]]",
    "[site]\napp = 'x'": "1: site wants a table for each site: [[site]]",
    "[[listen]]\nendpoint = 'tcp:1'\ntls.certificates = 'x.pem'":
        "3: listen.tls.certificates wants a table for each certificate: [{ chain = ..., key = ... }]",
    "[[listen]]\nendpoint = 'tcp:1'\n[listen.tls]\nclient-required = 'yes'":
        "4: listen.tls.client-required wants true or false, not 'yes'",
    # values
    'access-log = "a\\u0000"': "1: access-log holds a NUL character: 'a\\x00'",
    '[[listen]]\nendpoint = "ssl:1:privateKey=\\u0000"':
        "2: listen.endpoint holds a NUL character: 'ssl:1:privateKey=\\x00'",
    "tcp-keepalive = '60:'": "1: tcp-keepalive: TCP keep-alive is written IDLE[:INTERVAL[:COUNT]], not '60:'",
    "behind = 'apache'": "1: behind is nginx, haproxy, alb or envoy, not 'apache'",
    "log-format = 'xml'": "1: log-format is combined, json or a text with directives such as %h, not 'xml'",
    "access-log = '/'": "1: access-log / cannot be written: it is a directory",
    "access-log = ''": "1: access-log ~/etc cannot be written: it is a directory",
    "access-log = 'no/log'": "1: access-log ~/etc/no/log cannot be written: there is no directory ~/etc/no",
    "app = 'shop'": "1: app: an application is written module:attribute, not 'shop'",
    "app = 'nowhere:handler'": "1: app: there is no module nowhere",
    # listeners
    "[[listen]]\nendpoint = 'tcp:1'\n\n[[listen]]\nproxy-protocol = []": "4: listen has no endpoint",
    "[[listen]]\nendpoint = 'tcp:http'": "2: listen.endpoint tcp:http is not an endpoint: 'http' is not a number",
    "[[listen]]\nendpoint = 'tcp:70000'":
        "2: listen.endpoint tcp:70000 is not an endpoint: a port is between 0 and 65535",
    "[[listen]]\nendpoint = 'tcp:1'\nproxy-protocol = '10.0.0.0/8'":
        "3: listen.proxy-protocol wants an array of texts, not '10.0.0.0/8'",
    "[[listen]]\nendpoint = 'tcp:1'\nproxy-protocol = [\n'10.0.0.0/8',\n'10.0.0.1/8',\n]":
        "3: listen.proxy-protocol wants networks such as 10.0.0.0/8: 10.0.0.1/8 has host bits set",
    "[[listen]]\nendpoint = 'tcp:1'\nproxy-protocol = [10]":
        "3: listen.proxy-protocol wants networks such as 10.0.0.0/8:"
        " '10' does not appear to be an IPv4 or IPv6 network",
    "[[listen]]\nendpoint = 'tcp:1'\n[listen.tls]": "3: listen.tls has no certificates",
    "[[listen]]\nendpoint = 'tcp:1'\n[[listen.tls.certificates]]\nkey = 'x'": "3: listen.tls.certificates has no chain",
    "[[listen]]\nendpoint = 'tcp:1'\n[[listen.tls.certificates]]\nchain = 'x'": "3: listen.tls.certificates has no key",
    "[[listen]]\nendpoint = 'tcp:1'\n[listen.tls]\nminimum = '1.1'":
        "4: listen.tls.minimum is 1.2 or 1.3, not '1.1'",
    "[[listen]]\nendpoint = 'tcp:1'\n[[listen.tls.certificates]]\nchain = 'missing.pem'\nkey = 'x'":
        "3: listen.tls: ~/etc/missing.pem: No such file or directory",
    "[[listen]]\nendpoint = 'ssl:1:privateKey=missing.pem'":
        "2: listen.endpoint ssl:1:privateKey=~/etc/missing.pem: ~/etc/missing.pem: No such file or directory",
    "[[listen]]\nendpoint = 'ssl:1'\n[listen.tls]\ncertificates = [{chain = 'x', key = 'x'}]":
        "3: listen.tls has no use: an ssl: endpoint has TLS already, a tcp: endpoint has not",
    # sites
    "[[site]]\nhost = 'a'": "1: site has no app",
    "[[site]]\napp = 'shop:handler'\n[[site]]\napp = 'shop:price'":
        "4: site.app: shop:price is not callable but an int",
    "[[site]]\napp = 'shop:handler'\nhost = 'https://a'":
        "3: site.host wants a name, with a port or without, not 'https://a'",
    "[[site]]\napp = 'shop:handler'\nhost = '*.a'": "3: site.host wants a name, with a port or without, not '*.a'",
    "[[site]]\napp = 'shop:handler'\nprefix = 'api'":
        "3: site.prefix wants a path as requests have it, from its first / on, not 'api'",
    "[[site]]\napp = 'shop:handler'\nprefix = '/a?b'":
        "3: site.prefix wants a path as requests have it, from its first / on, not '/a?b'",
    "[[site]]\napp = 'shop:handler'\nprefix = '/caf\u00e9'":
        "3: site.prefix wants a path as requests have it, from its first / on, not '/caf\u00e9'",
    "[[site]]\napp = 'shop:handler'\nhost = 'a'\n\n[[site]]\napp = 'shop:other'\nhost = 'A'\nprefix = '/'":
        "5: site is the second for a at /",
    "app = 'shop:handler'\n[[site]]\napp = 'shop:handler'":
        "1: app answers the same requests as a site for any host at /",
    # the operator
    "[admin]\ntoken-file = 'token'": "2: admin.token-file has no use without an endpoint for the operator (--admin)",
    "[admin]\nendpoint = 'tcp:x'": "2: admin.endpoint tcp:x is not an endpoint: 'x' is not a number",
    "[admin]\nendpoint = 'tcp:9'":
        "2: admin.endpoint tcp:9 can be reached from elsewhere: it needs a token (--admin-token-file)",
    "[admin]\nendpoint = 'tcp:9'\ntoken-file = 'none'":
        "3: admin.token-file ~/etc/none cannot be read: No such file or directory",
    "[admin]\nendpoint = 'tcp:9'\ntoken-file = '../empty'":
        "3: admin.token-file ~/empty holds no token: one word of visible ASCII",
    "[admin]\nendpoint = 'tcp:9'\ntoken-file = '../latin'":
        "3: admin.token-file ~/latin holds no token: one word of visible ASCII",
}  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), WRONG.items(), ids=map(str, range(len(WRONG))))
def test_what_is_wrong_is_one_sentence_with_its_line(shop: Path, text: str | bytes, sentence: str) -> None:
    (shop / "empty").write_text("\n")
    (shop / "latin").write_bytes(b"caf\xe9")
    assert refusal(text) == f"etc/k.toml:{sentence}"


def test_the_line_is_that_of_the_table_among_many_alike() -> None:
    text = "".join(f"[[site]]\napp = '{APP}'\nprefix = '/{n}'\n" for n in range(50))
    assert refusal(text.replace("'/37'", "37")) == "etc/k.toml:114: site.prefix wants a text, not 37"


def test_the_line_is_the_one_that_sets_it() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = example.splitlines()
    for table in _tables(_read(example)):
        for setting, value in table.values.items():
            number = int(str(value.source).split(":")[1])
            assert lines[number - 1].startswith(f"{setting.key} =") or "certificates = [" in lines[number - 1]


def test_what_is_wrong_on_the_command_line_is_said_of_the_command_line() -> None:
    assert refusal("[timeouts]\nidle = 3", "--idle-timeout", "x") == "--idle-timeout wants a number, not 'x'"
    assert refusal("workers = 1", "--workers", "-1") == "--workers must not be negative: -1"


def test_a_file_that_cannot_be_read_is_refused() -> None:
    for name, reason in (("none.toml", "No such file or directory"), ("etc", "Is a directory")):
        with pytest.raises(SystemExit) as caught:
            parse("--config", name)
        assert caught.value.code == f"keepalive: --config {name} cannot be read: {reason}"


def test_a_check_of_a_file_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("workers = 1", "--check")
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0], err) == ("configuration is valid", "")


# -- the example -------------------------------------------------------------------------------------


def test_the_example_sets_nothing() -> None:
    assert load(example()) == load("")


def test_the_example_holds_the_defaults() -> None:
    lines = example().splitlines()
    text = "\n".join(re.sub("^#(?! |$)", "", line) for line in lines)
    assert load(text) == load("")
    for setting in SETTINGS:
        if setting.default is not None:
            assert f"\n{setting.key} = {literal(setting.default)}\n" in text


def test_the_example_shows_every_setting_once_as_it_is_written(shop: Path) -> None:
    (shop / "etc" / "admin.token").write_text("secret")
    text = "\n".join(re.sub(r"^# ?(?=\[|[\w-]+ = )", "", line) for line in example().splitlines())
    assert all(line == "" or line.startswith(("# ", "[")) or " = " in line for line in text.splitlines())
    text = text.replace('"shop.web:handler"', f'"{APP}"')
    table = _read(text)
    shown = [setting for entry in _tables(table) for setting in entry.values]
    assert Counter(shown) == Counter(ALL_SETTINGS)
    assert load(text).admin is not None


def _read(text: str) -> files.Table:
    Path("example.toml").write_text(text)
    return files.read("example.toml")


def _tables(table: files.Table) -> Iterator[files.Table]:
    yield table
    for name, inner in [*table.tables.items(), *((n, t) for n, ts in table.arrays.items() for t in ts)]:
        assert name
        yield from _tables(inner)


def test_no_line_of_the_example_is_long() -> None:
    assert max(map(len, example().splitlines())) <= 120


# -- the documentation -------------------------------------------------------------------------------


def test_the_file_of_the_documentation_sets_what_it_says(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("web", "api"):
        module = ModuleType(f"shop.{name}")
        vars(module).update(handler=lambda request: "", health=lambda request: "")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    folder = f"{shop}/etc"
    it = load(example)
    assert it == Configuration(
        listeners=(
            Listener(endpoint=f"unix:{folder}/shop.socket:mode=660"),
            Listener(endpoint="tcp:8080", proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
            Listener(
                endpoint="tcp:8443",
                tls=Tls(
                    certificates=(
                        Certificate(f"{folder}/shop.pem", f"{folder}/shop.key"),
                        Certificate(f"{folder}/api.pem", f"{folder}/api.key"),
                    ),
                    clientAuthorities=f"{folder}/clients.pem",
                    minimum="1.3",
                ),
            ),
        ),
        timeouts=Timeouts(idle=90, header=5, body=75, write=75, drain=20, drainDelay=3.5),
        limits=Limits(maxRequests=10_000, maxBodyBytes=10_000_000),
        sites=(
            Site(app="shop.web:handler", host="shop.example"),
            Site(app="shop.api:handler", host="shop.example", prefix="/api"),
            Site(app="shop.web:health", prefix="/health"),
            Site(app=PLAYGROUND),
        ),
        tcpKeepAlive=TcpKeepAlive(600, 75, 9),
        accessLog=f"{folder}/requests.log",
        logFormat="json",
        admin=Admin(endpoint="tcp:9090:interface=127.0.0.1"),
        workers=2,
    )


def test_the_sentences_of_the_documentation_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    said, warned = re.findall(r"^```text\nkeepalive: (.*?)\n```$", PAGE, re.MULTILINE)
    (number,) = re.findall(r"shop\.toml:(\d+)", said)
    wrong = "\n" * (int(number) - 2) + "[timeouts]\nidel = 3\n"
    assert f"shop.toml:{refusal(wrong).removeprefix('etc/k.toml:')}" == said
    with pytest.raises(SystemExit):
        parse("--behind", "nginx", "--idle-timeout", "30", "--check")
    assert capsys.readouterr().err == f"keepalive: {warned}\n"


@pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.option or setting.key)
def test_each_place_in_the_file_follows_from_its_option(setting: Any) -> None:
    # As the table of names in the documentation has it.
    if setting.table in ("", "limits", "policy"):
        assert setting.key == setting.option
    elif setting.table == "timeouts":
        assert setting.option in (f"{setting.key}-timeout", "drain-delay", "body-grace", "send-grace")
    elif setting.option:
        assert f"`--{setting.option}`" in PAGE
        assert f"`{setting.key}`" in PAGE


# -- there and back ----------------------------------------------------------------------------------


def written(configuration: Configuration) -> str:
    """A configuration as a file."""
    it = configuration
    lines = [f"workers = {it.workers}", f"worker-timeout = {it.workerTimeout}"]
    lines.append(f"log-format = {literal(it.logFormat)}")
    if it.accessLog is not None:
        lines.append(f"access-log = {literal(it.accessLog)}")
    if it.tcpKeepAlive is not None:
        numbers = [getattr(it.tcpKeepAlive, field.name) for field in fields(TcpKeepAlive)]
        lines.append(f"tcp-keepalive = '{':'.join(map(str, numbers))}'")
    for owner, name in ((it.timeouts, "timeouts"), (it.limits, "limits"), (it.policy, "policy")):
        lines.append(f"[{name}]")
        for setting in SETTINGS:
            if setting.table == name and getattr(owner, setting.field) is not None:
                lines.append(f"{setting.key} = {literal(getattr(owner, setting.field))}")
    for listener in it.listeners:
        lines += ["[[listen]]", f"endpoint = {literal(listener.endpoint)}"]
        lines.append(f"proxy-protocol = {literal(list(map(str, listener.proxies)))}")
        if listener.tls is not None:
            lines += ["[listen.tls]", f"client-required = {literal(listener.tls.clientRequired)}"]
            lines.append(f"minimum = {literal(listener.tls.minimum)}")
            if listener.tls.ciphers is not None:
                lines.append(f"ciphers = {literal(listener.tls.ciphers)}")
            if listener.tls.clientAuthorities is not None:
                lines.append(f"client-authorities = {literal(listener.tls.clientAuthorities)}")
            for certificate in listener.tls.certificates:
                lines += ["[[listen.tls.certificates]]", f"chain = {literal(certificate.chain)}"]
                lines.append(f"key = {literal(certificate.key)}")
    for site in it.sites:
        lines += ["[[site]]", *(f"{name} = {literal(getattr(site, name))}" for name in ("app", "host", "prefix"))]
    return "\n".join(lines)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
# A path that has to be there is not one that anybody wrote by chance.
path = text.map(lambda name: f"/{name.replace('/', '').strip('.') or 'x'}")
seconds = st.integers(0, 10**6) | st.floats(0, 10**6)


def numbers(owner: Any) -> st.SearchStrategy[Any]:
    """Values of `Timeouts`, `Limits` or `Policy`, some of them given."""
    kinds = {"a number": seconds, "a whole number": st.integers(1, 10**6), "true or false": st.booleans()}
    given = {setting.field: kinds[setting.valueType.noun] for setting in SETTINGS if setting.owner is owner}
    return st.fixed_dictionaries({}, optional=given).map(lambda values: owner(**values))


certificates = st.lists(st.builds(Certificate, path, path), min_size=1, max_size=2).map(tuple)
tls = st.builds(
    Tls, certificates=certificates, clientAuthorities=st.none() | path, clientRequired=st.booleans(),
    minimum=st.sampled_from(["1.2", "1.3"]), ciphers=st.none() | text,
)  # fmt: skip
networks = st.lists(st.ip_addresses().map(str).map(ip_network), max_size=2).map(tuple)
listeners = st.builds(
    Listener, endpoint=st.integers(0, 65535).map("tcp:{}".format), tls=st.none() | tls, proxies=networks
)
sites = st.builds(
    Site, app=st.sampled_from([APP, "shop:other", PLAYGROUND]), host=st.sampled_from(["", "a", "b.test:80", "[::1]"]),
    prefix=st.sampled_from(["/", "/a", "/a/b", "/%2F", "/A"]),
)  # fmt: skip
configurations = st.builds(
    Configuration,
    listeners=st.lists(listeners, min_size=1, max_size=3).map(tuple),
    timeouts=numbers(Timeouts),
    limits=numbers(Limits),
    policy=numbers(Policy),
    sites=st.lists(sites, min_size=1, max_size=4, unique_by=lambda site: (site.host, site.prefix)).map(tuple),
    tcpKeepAlive=st.none() | st.builds(TcpKeepAlive, st.integers(1, 9), st.integers(1, 9), st.integers(2, 9)),
    accessLog=st.sampled_from([None, "-", "/tmp/log"]),
    logFormat=st.sampled_from(["combined", "json"]),
    workers=st.integers(0, 9),
    workerTimeout=st.floats(0, 1e9),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configurations)
def test_what_a_configuration_says_is_read_back(configuration: Configuration) -> None:
    assert load(written(configuration)) == configuration


def test_every_table_that_may_be_there_twice_is_one() -> None:
    assert set(ARRAYS) < {setting.table for setting in ALL_SETTINGS}
