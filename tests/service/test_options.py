"""What the options of ``twistd keepalive`` mean, and what is said about wrong ones."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from ka_twisted.config import Limits, Policy, TcpKeepAlive, Timeouts
from ka_twisted.service.applications.sites import LoadedSite
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.configuration.setting import FieldSetting
from ka_twisted.service.configuration.settings import ALL_SETTINGS, DEFAULT_ENDPOINT, LIMITS, POLICIES, TIMERS


class Runner(dict[str, object]):
    """twistd's own options, as far as ours look at them."""


def parse(*arguments: str, parent: Runner | None = None) -> Options:
    options = Options(MemoryReactorClock())
    options.parent = parent  # type: ignore[assignment]
    if "--app" not in arguments:
        arguments = ("--app", "shop:handler", *arguments)
    options.parseOptions(list(arguments))
    return options


def asked(loaded: LoadedSite) -> object:
    """What the application of a site answers to nothing in particular."""
    request: Any = None
    answer: object = loaded.application.handle(request)
    return answer


def refusal(*arguments: str, parent: Runner | None = None) -> str:
    """The sentence that wrong options end with."""
    with pytest.raises(SystemExit) as caught:
        parse(*arguments, parent=parent)
    sentence = caught.value.code
    assert isinstance(sentence, str), "a text means status 1"
    assert "\n" not in sentence
    assert sentence.startswith("keepalive: ")
    return sentence.removeprefix("keepalive: ")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the application ``shop:handler``."""
    (tmp_path / "shop.py").write_text(
        "def handler(request): return b'hello'\n"
        "def wsgi(environ, start_response): ...\n"
        "class site:\n"
        "    @staticmethod\n"
        "    def handler(request): return b'dotted'\n"
        "price = 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    for name in ("shop", "broken", "leaves", "needy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_without_options_the_defaults_of_the_configuration_hold() -> None:
    options = parse()
    assert options.configuration.timeouts == Timeouts()
    assert options.configuration.limits == Limits()
    assert options.configuration.tcpKeepAlive is None
    assert [listener.endpoint for listener in options.configuration.listeners] == [DEFAULT_ENDPOINT]


@pytest.mark.parametrize("setting", [*TIMERS, *LIMITS], ids=lambda setting: setting.option)
def test_each_number_reaches_its_field(setting: object) -> None:
    option, owner, field = (getattr(setting, name) for name in ("option", "owner", "field"))
    options = parse(f"--{option}", "37")
    values = options.configuration.timeouts if owner is Timeouts else options.configuration.limits
    assert getattr(values, field) == 37
    assert values == type(values)(**{field: 37})


@pytest.mark.parametrize("setting", POLICIES, ids=lambda setting: setting.option)
@pytest.mark.parametrize(("word", "value"), [("on", True), ("off", False), ("True", True), ("FALSE", False)])
def test_each_policy_reaches_its_field(setting: FieldSetting, word: str, value: bool) -> None:
    policy = parse(f"--{setting.option}", word).configuration.policy
    assert policy == replace(Policy(), **{setting.field: value})


def test_every_policy_has_an_option() -> None:
    assert [setting.field for setting in POLICIES] == [field.name for field in fields(Policy)]


def test_times_may_be_fractions() -> None:
    assert parse("--idle-timeout", "0.25").configuration.timeouts.idle == 0.25


def test_zero_switches_a_timer_off() -> None:
    assert parse("--idle-timeout", "0").configuration.timeouts.advertised is None


def test_the_first_request_waits_as_long_as_the_others_unless_said_otherwise() -> None:
    assert parse("--idle-timeout", "15").configuration.timeouts.first == 15
    assert parse("--idle-timeout", "15", "--first-request-timeout", "0").configuration.timeouts.first == 0


def test_listen_may_be_repeated() -> None:
    options = parse("--listen", "tcp:8001", "--listen", "unix:/run/shop")
    assert [listener.endpoint for listener in options.configuration.listeners] == ["tcp:8001", "unix:/run/shop"]


def test_tcp_keep_alive_is_read_from_up_to_three_numbers() -> None:
    assert parse("--tcp-keepalive", "60:10").configuration.tcpKeepAlive == TcpKeepAlive(60, 10)


def test_the_application_is_found_in_the_working_directory() -> None:
    assert [asked(each) for each in parse().applications] == [b"hello"]
    assert [asked(each) for each in parse("--app", "shop:site.handler").applications] == [b"dotted"]


def test_the_access_log_stays_where_it_was_asked_for(shop: Path) -> None:
    # twistd changes the working directory before the file is opened.
    assert parse("--access-log", "requests.log").configuration.accessLog == str(shop / "requests.log")
    assert not (shop / "requests.log").exists()


def test_standard_output_is_a_log_only_in_the_foreground() -> None:
    assert parse("--access-log", "-", parent=Runner(nodaemon=True)).configuration.accessLog == "-"
    assert "a daemon has no output" in refusal("--access-log", "-", parent=Runner(nodaemon=False))


def test_a_check_says_so_shows_timers_and_limits_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--check", "--idle-timeout", "2.5", "--max-line", "9000")
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    first, *table = out.splitlines()
    assert (first, err) == ("configuration is valid", "")
    shown = {line.split()[0]: line.split()[1] for line in table}
    assert list(shown) == [setting.place for setting in (*TIMERS, *LIMITS)]
    assert shown["timeouts.first-request"] == shown["timeouts.idle"] == "2.5"
    assert shown["timeouts.switched-idle"] == "off"
    assert shown["limits.max-line"] == "9000"
    assert all(len(line) <= 120 for line in table)


def test_verbose_logs_the_same_table() -> None:
    with capturedLogs() as events:
        parse("--verbose", "--idle-timeout", "2.5")
    (said,) = [formatEvent(event) for event in events if "table" in event]
    assert re.search(r"^timeouts\.idle +2\.5 +Seconds a keep-alive", said, re.MULTILINE)
    with capturedLogs() as events:
        parse("--idle-timeout", "2.5")
    assert not [event for event in events if "table" in event]


def test_show_goes_with_check() -> None:
    assert refusal("--show") == "--show has no use without --check"


def test_a_check_of_something_wrong_does_not_end_well() -> None:
    assert "there is no module nowhere" in refusal("--check", "--app", "nowhere:handler")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--colour", "red"], "option --colour not recognized"),
        (["--idle-timeout"], "option --idle-timeout requires argument"),
        (["shop:handler"], "there is no use for the argument 'shop:handler'"),
        (["--idle-timeout", "soon"], "--idle-timeout wants a number, not 'soon'"),
        (["--idle-timeout", "-1"], "--idle-timeout must not be negative or infinite: -1"),
        (["--drain-timeout", "inf"], "--drain-timeout must not be negative or infinite: inf"),
        (["--header-timeout", "nan"], "--header-timeout must not be negative or infinite: nan"),
        (["--max-requests", "1.5"], "--max-requests wants a whole number, not '1.5'"),
        (["--max-body-bytes", "-5"], "--max-body-bytes must not be negative or infinite: -5"),
        (["--persistent", "maybe"], "--persistent wants on or off, not 'maybe'"),
        (["--workers", "-1"], "--workers must not be negative: -1"),
        (["--worker-timeout", "inf"], "--worker-timeout must not be negative or infinite: inf"),
        (["--workers", "two"], "--workers wants a whole number or 'auto', not 'two'"),
        (["--drain-delay", "-1"], "--drain-delay must not be negative or infinite: -1"),
        (["--handshake-timeout", "x"], "--handshake-timeout wants a number, not 'x'"),
        (["--behind", "apache"], "--behind is nginx, haproxy, alb or envoy, not 'apache'"),
        (["--proxy-protocol", "10.0.0.1/8"], "--proxy-protocol wants networks such as 10.0.0.0/8: "
                                             "10.0.0.1/8 has host bits set"),
        (["--proxy-protocol", "10.0.0.0/8,"], "--proxy-protocol wants networks such as 10.0.0.0/8: "
                                              "'' does not appear to be an IPv4 or IPv6 network"),
        (["--admin", "tcp:x"], "--admin tcp:x is not an endpoint: 'x' is not a number"),
        (["--admin-token-file", "token"], "--admin-token-file has no use without an endpoint for the operator "
                                          "(--admin)"),
        (["--config", "none.toml"], "--config none.toml cannot be read: No such file or directory"),
        (["--listen", "ssl:443:sslmethod=SSLv23_METHOD"],
         "--listen ssl:443:sslmethod=SSLv23_METHOD:privateKey={here}/server.pem is not an endpoint: "
         "sslmethod is not used: its versions are set by listen.tls.minimum in the configuration file"),
        (["--listen", "ssl:https:privateKey=/k"], "--listen ssl:https:privateKey=/k is not an endpoint: "
                                                  "'https' is not a number"),
        (["--log-format", "xml"], "--log-format is combined, json or a text with directives such as %h, not 'xml'"),
        (["--access-log", "/"], "--access-log / cannot be written: it is a directory"),
        (["--listen", "tcp:http"], "--listen tcp:http is not an endpoint: 'http' is not a number"),
        (["--listen", "pigeon:1"], "--listen pigeon:1 is not an endpoint: "
                                   "pigeon is neither a kind of endpoint nor an address; "
                                   "write ADDRESS:1, or :1 for all"),
        (["--listen", "tcp:70000"], "--listen tcp:70000 is not an endpoint: "
                                    "a port is between 0 and 65535"),
        (["--listen", "tcp:port=-1"], "--listen tcp:port=-1 is not an endpoint: "
                                      "a port is between 0 and 65535"),
        (["--listen", "tcp:1:depth=2"], "--listen tcp:1:depth=2 is not an endpoint: "
                                        "got an unexpected keyword argument 'depth'"),
        (["--listen", "unix:"], "--listen unix: is not an endpoint: "
                                "the path of the socket is missing"),
        (["--listen", "systemd:domain=INET:index=7"],
         "--listen systemd:domain=INET:index=7 is not an endpoint: "
         "systemd has not handed over such a socket"),
        (["--app", "shop"], "--app: an application is written module:attribute, not 'shop'"),
        (["--app", "shop:"], "--app: an application is written module:attribute, not 'shop:'"),
        (["--app", ".shop:a"], "--app: an application is written module:attribute, not '.shop:a'"),
        (["--app", "nowhere.web:a"], "--app: there is no module nowhere.web"),
        (["--app", "shop:window"], "--app: the module shop has no attribute window"),
        (["--app", "shop:price"], "--app: shop:price is not callable but an int"),
        (["--app", "shop:wsgi"], "--app: shop:wsgi takes (environ, start_response), "
                                 "but a handler is called with one request"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(arguments: list[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence.format(here=Path.cwd())


@pytest.mark.parametrize("text", ["1:2:3:4", "often", "0", "60:10:1", ""])
def test_keep_alive_probes_that_cannot_be_are_refused(text: str) -> None:
    assert refusal("--tcp-keepalive", text).startswith("--tcp-keepalive: TCP keep-alive ")


@pytest.mark.parametrize("option", ["max-line", "pipeline-depth", "read-ahead"])
def test_a_limit_that_has_to_exist_is_named_as_the_option_is(option: str) -> None:
    assert refusal(f"--{option}", "0").startswith(f"--{option} must be at least 1")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('no\\nmilk')", "ValueError: no milk"),
        ("import sys; sys.exit('closed')", "SystemExit: closed"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def handler(request)", "SyntaxError: "),
    ],
)
def test_an_application_that_fails_to_import_says_why(shop: Path, source: str, reason: str) -> None:
    (shop / "broken.py").write_text(source)
    sentence = refusal("--app", "broken:handler")
    assert sentence.startswith(f"--app: the module broken cannot be imported: {reason}")


def test_an_access_log_in_no_directory_is_refused(shop: Path) -> None:
    assert refusal("--access-log", f"{shop}/no/log") == (
        f"--access-log {shop}/no/log cannot be written: there is no directory {shop}/no"
    )


def test_tls_without_a_certificate_says_which_file_is_missing(shop: Path) -> None:
    sentence = refusal("--listen", "ssl:443:privateKey=nokey.pem")
    assert sentence.startswith(f"--listen ssl:443:privateKey={shop}/nokey.pem: ")
    assert f"{shop}/nokey.pem" in sentence.partition(": ")[2] or sentence.endswith("ka_twisted[tls]")


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code in (None, 0)
    shown = capsys.readouterr().out
    for name in ["check", "config", *(setting.option for setting in ALL_SETTINGS if setting.option)]:
        assert f"--{name}=" in shown or f"--{name} " in shown
    assert "Seconds a keep-alive connection stays open between two requests. [default: 75]" in " ".join(shown.split())


def test_the_help_names_the_unit_of_an_age(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    assert "--max-age=SECONDS" in capsys.readouterr().out
