"""``--check --show``: every setting, its value, and where that came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from ka_twisted.service.configuration import environment, files
from ka_twisted.service.configuration.builder import ConfigurationBuilder
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.configuration.settings import ALL_SETTINGS, ARRAYS, SETTINGS
from ka_twisted.service.configuration.show import sources

FILE = """\
behind = "nginx"
tcp-keepalive = "60:10"

[timeouts]
header = 5
body = 90

[[listen]]
endpoint = "localhost:8443"
proxy-protocol = ["10.0.0.0/8"]

[[listen]]
endpoint = "./shop.socket"

[[site]]
host = "shop.example"
app = "ka_twisted.playground:application"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the file."""
    (tmp_path / "k.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> dict[str, tuple[str, str]]:
    """The value and the origin of each setting, by its name."""
    with pytest.raises(SystemExit) as caught:
        Options(MemoryReactorClock(), environ).parseOptions(["--check", "--show", *arguments])
    assert caught.value.code == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "configuration is valid"
    rows = [re.split(r"  +", line) for line in lines]
    shown = {name: (value, origin) for name, value, origin in rows}
    assert len(shown) == len(rows), "each once"
    return shown


def test_each_value_is_shown_with_where_it_came_from(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    environ = {"KA_TWISTED_CONFIG": "k.toml", "KA_TWISTED_DRAIN_TIMEOUT": "4", "KA_TWISTED_HEADER_TIMEOUT": "6"}
    shown = show(capsys, "--max-requests", "7", "--header-timeout", "8", **environ)
    assert {name: row for name, row in shown.items() if row[1] != "default"} == {
        "behind": ('"nginx"', "k.toml:1"),
        "tcp-keepalive": ('"60:10:9"', "k.toml:2"),
        "timeouts.idle": ("75", "behind nginx, k.toml:1"),
        "timeouts.write": ("75", "behind nginx, k.toml:1"),
        "timeouts.header": ("8", "--header-timeout"),
        "timeouts.body": ("90", "k.toml:6"),
        "timeouts.drain": ("4", "KA_TWISTED_DRAIN_TIMEOUT"),
        "limits.max-requests": ("7", "--max-requests"),
        "listen[1].endpoint": ('"tcp:8443:interface=127.0.0.1"', "k.toml:9"),
        "listen[1].proxy-protocol": ('["10.0.0.0/8"]', "k.toml:10"),
        "listen[2].endpoint": (f'"unix:{folder}/shop.socket"', "k.toml:13"),
        "site[1].host": ('"shop.example"', "k.toml:16"),
        "site[1].app": ('"ka_twisted.playground:application"', "k.toml:17"),
    }


def test_what_takes_the_place_of_the_file_is_shown_and_the_rest_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    app = "ka_twisted.playground:application"
    environ = {"KA_TWISTED_LISTEN": "8001 8002", "KA_TWISTED_PROXY_PROTOCOL": "fd00::/8"}
    shown = show(capsys, "--config", "k.toml", "--app", app, **environ)
    assert shown["app"] == (f'"{app}"', "--app")
    assert shown["listen.proxy-protocol"] == ('["fd00::/8"]', "KA_TWISTED_PROXY_PROTOCOL")
    assert {name: row for name, row in shown.items() if "[" in name} == {
        "listen[1].endpoint": ('"tcp:8001"', "KA_TWISTED_LISTEN"),
        "listen[2].endpoint": ('"tcp:8002"', "KA_TWISTED_LISTEN"),
    }


def test_without_anything_all_are_defaults_and_all_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(capsys)
    assert {origin for _, origin in shown.values()} == {"default"}
    assert shown["listen[1].endpoint"] == ('"tcp:8080:interface=127.0.0.1"', "default")
    assert shown["admin.endpoint"] == ("not set", "default")
    several = tuple(ARRAYS)
    assert set(shown) - {"listen[1].endpoint"} == {
        setting.place for setting in ALL_SETTINGS if not setting.table.startswith(several)
    }


def test_a_token_is_not_shown(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "token").write_text("secret")
    shown = show(capsys, "--admin", "9090", "--admin-token-file", "token")
    assert shown["admin.token-file"] == (f'"{folder}/token"', "--admin-token-file")
    assert "secret" not in str(shown)


def test_the_documentation_shows_what_is_shown(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    (text,) = re.findall(r"^```toml\n(# What.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (said,) = re.findall(r"--check --show\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (folder / "shop.toml").write_text(text)
    environ = environment.read({"KA_TWISTED_DRAIN_TIMEOUT": "4"}, str(folder))
    option = next(setting for setting in SETTINGS if setting.option == "max-requests")
    values = {**environ.values, option: option.fromText("7", str(folder), "--max-requests")}
    shown = sources(ConfigurationBuilder.of(files.read("shop.toml"), values, []))
    rows = [re.split(r"  +", line) for line in shown.replace(str(folder), "/etc/shop").splitlines()]
    for line in said.splitlines():
        assert line in ("...", "configuration is valid") or re.split(r"  +", line) in rows
