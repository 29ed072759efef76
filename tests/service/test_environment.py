"""Environment variables: each sets what its option sets, the command line wins over them, they win over the file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from ka_twisted.service.applications.sites import Site
from ka_twisted.service.configuration import environment
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.configuration.setting import ChoiceSetting, Setting, SwitchSetting
from ka_twisted.service.configuration.settings import ALL_SETTINGS, ENDPOINT, SETTINGS
from ka_twisted.service.configuration.values import Configuration
from ka_twisted.service.configuration.valuetypes import FLAG


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the application ``shop:handler``."""
    (tmp_path / "shop.py").write_text("def handler(request): return b'hello'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("shop", None)


def options(environ: Mapping[str, str], *arguments: str) -> Options:
    parsed = Options(MemoryReactorClock(), environ)
    parsed.parseOptions(list(arguments))
    return parsed


def load(environ: Mapping[str, str], *arguments: str) -> Configuration:
    return options(environ, *arguments).configuration


def refusal(environ: Mapping[str, str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        load(environ, *arguments)
    sentence = caught.value.code
    assert isinstance(sentence, str), "a text means status 1"
    assert "\n" not in sentence
    return sentence.removeprefix("keepalive: ")


def word(setting: Setting) -> str:
    """What the option may be given, other than its default."""
    if setting.valueType is FLAG:
        return "off" if setting.default else "on"
    if setting.option == "app":
        return "shop:handler"
    if isinstance(setting, ChoiceSetting):
        return next(each for each in setting.words if each != setting.default)
    if setting.option == "log-format":
        return "%h %(duration)s"
    if setting.example is not None:
        return ",".join(setting.example) if isinstance(setting.example, list) else str(setting.example)
    return "3" if isinstance(setting.default, (int, float)) else "tcp:8001"


# What needs another option beside it has a test of its own.
ALONE = [each for each in ALL_SETTINGS if each.option and each.option != "admin-token-file"]


@pytest.mark.parametrize("setting", ALONE, ids=lambda setting: setting.option)
def test_a_variable_sets_what_its_option_sets(setting: Setting) -> None:
    assert setting.variable == "KA_TWISTED_" + setting.option.upper().replace("-", "_")
    text = word(setting)
    arguments = [f"--{setting.option}"] if isinstance(setting, SwitchSetting) else [f"--{setting.option}", text]
    assert load({setting.variable: text}) == load({}, *arguments)
    assert setting in {**environment.read({setting.variable: text}, "/").values, ENDPOINT: None}
    if setting in SETTINGS:
        assert load({setting.variable: text}) != load({})


def test_several_endpoints_are_separated_by_spaces(shop: Path) -> None:
    loaded = load({"KA_TWISTED_LISTEN": " tcp:8001  unix:shop.socket\n"})
    assert [listener.endpoint for listener in loaded.listeners] == ["tcp:8001", f"unix:{shop}/shop.socket"]


def test_an_operator_s_token_may_come_from_a_variable(shop: Path) -> None:
    (shop / "token").write_text("secret\n")
    admin = load({"KA_TWISTED_ADMIN": "tcp:9090", "KA_TWISTED_ADMIN_TOKEN_FILE": "token"}).admin
    assert admin is not None
    assert (admin.endpoint, admin.token) == ("tcp:9090", "secret")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(shop: Path) -> None:
    (shop / "k.toml").write_text("[timeouts]\nidle = 1\nheader = 1\nbody = 1\n")
    environ = {"KA_TWISTED_CONFIG": "k.toml", "KA_TWISTED_IDLE_TIMEOUT": "2", "KA_TWISTED_HEADER_TIMEOUT": "2"}
    timeouts = load(environ, "--idle-timeout", "3").timeouts
    assert (timeouts.idle, timeouts.header, timeouts.body) == (3, 2, 1)


def test_what_takes_the_place_of_parts_of_the_file_does_so_from_the_environment_too(shop: Path) -> None:
    (shop / "k.toml").write_text(
        "[[listen]]\nendpoint = 'tcp:1'\n[[listen]]\nendpoint = 'tcp:2'\n[[site]]\nhost = 'a'\napp = 'nowhere:at_all'\n"
    )
    environ = {"KA_TWISTED_LISTEN": "tcp:3 tcp:4", "KA_TWISTED_APP": "shop:handler"}
    loaded = load(environ, "--config", "k.toml")
    assert [listener.endpoint for listener in loaded.listeners] == ["tcp:3", "tcp:4"]
    assert loaded.sites == (Site(app="shop:handler"),)
    loaded = load(environ, "--config", "k.toml", "--listen", "tcp:5")
    assert [listener.endpoint for listener in loaded.listeners] == ["tcp:5"]


@pytest.mark.parametrize(("word", "value"), [("1", True), ("yes", True), ("ON", True), ("0", False), ("no", False)])
def test_a_switch_is_set_as_it_is_elsewhere(word: str, value: bool) -> None:
    assert load({"KA_TWISTED_EMPTY_HOST": word}).policy.emptyHost is value


def test_an_empty_variable_is_as_one_that_is_not_there() -> None:
    assert load({"KA_TWISTED_IDLE_TIMEOUT": "", "KA_TWISTED_LISTEN": " ", "KA_TWISTED_CONFIG": ""}) == load({})


def test_the_environment_stays_what_it_was(shop: Path) -> None:
    environ = {"KA_TWISTED_IDLE_TIMEOUT": "2"}
    parsed = options(environ)
    environ["KA_TWISTED_IDLE_TIMEOUT"] = "3"
    assert parsed.read().timeouts.idle == 2


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("IDLE_TIMEOUT", "soon", " wants a number, not 'soon'"),
        ("IDLE_TIMEOUT", "-1", " must not be negative or infinite: -1"),
        ("MAX_LINE", "0", " must be at least 1: it bounds what a peer can make us hold"),
        ("PERSISTENT", "maybe", " wants on or off, not 'maybe'"),
        ("WORKERS", "-1", " must not be negative: -1"),
        ("BEHIND", "apache", " is nginx, haproxy, alb or envoy, not 'apache'"),
        ("PROXY_PROTOCOL", "10.0.0.1/8", " wants networks such as 10.0.0.0/8: 10.0.0.1/8 has host bits set"),
        ("LISTEN", "tcp:1 tcp:x", " tcp:x is not an endpoint: 'x' is not a number"),
        ("APP", "nowhere:handler", ": there is no module nowhere"),
        ("ACCESS_LOG", "/", " / cannot be written: it is a directory"),
        ("ADMIN_TOKEN_FILE", "/x", " has no use without an endpoint for the operator (--admin)"),
        ("CONFIG", "none.toml", " none.toml cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_about_the_variable(name: str, value: str, sentence: str) -> None:
    assert refusal({f"KA_TWISTED_{name}": value}) == f"KA_TWISTED_{name}{sentence}"


def test_a_wrong_variable_is_refused_though_an_option_wins_over_it() -> None:
    # As a wrong line of the file is.
    assert refusal({"KA_TWISTED_IDLE_TIMEOUT": "soon"}, "--idle-timeout", "3").startswith("KA_TWISTED_IDLE_TIMEOUT")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("KA_TWISTED_IDEL_TIMEOUT", "; did you mean KA_TWISTED_IDLE_TIMEOUT?"),
        ("KA_TWISTED_IDEL", "; did you mean KA_TWISTED_IDLE_TIMEOUT?"),
        ("KA_TWISTED_IDLE", "; did you mean KA_TWISTED_IDLE_TIMEOUT?"),
        ("KA_TWISTED_TIMEOUTS_IDLE", "; did you mean KA_TWISTED_IDLE_TIMEOUT?"),
        ("KA_TWISTED_workers", "; did you mean KA_TWISTED_WORKERS?"),
        ("KA_TWISTED_CONFIGURATION", "; did you mean KA_TWISTED_CONFIG?"),
        ("KA_TWISTED_ZZZ", ""),
    ],
)
def test_an_unknown_variable_is_warned_about(name: str, suggestion: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load({name: "3"}, "--check")
    assert caught.value.code == 0
    assert capsys.readouterr().err == f"keepalive: warning: {name} is unknown and has no effect{suggestion}\n"


def test_what_kubernetes_says_of_a_service_called_ka_twisted_is_not_for_us(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT"]
    names += [f"PORT_8080_TCP{part}" for part in ("", "_PROTO", "_PORT", "_ADDR")]
    environ = {f"KA_TWISTED_{name}": "tcp://10.96.0.7:8080" for name in names}
    with pytest.raises(SystemExit):
        load(environ, "--check")
    assert capsys.readouterr().err == ""
    assert not set(environ) & set(environment.NAMES)


def test_every_option_has_a_variable_of_its_own() -> None:
    assert len(set(environment.NAMES)) == len(environment.NAMES) == 1 + sum(bool(each.option) for each in ALL_SETTINGS)
    assert all(setting.variable for setting in SETTINGS)
