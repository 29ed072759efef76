"""``python -m ka_twisted install-service``: what it prints, writes and refuses."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ka_twisted.service import cli
from ka_twisted.service.configuration import files
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.systemd import install
from ka_twisted.service.systemd.install import Installation

ORDINARY = Installation(("/opt/shop/bin/twistd",), ("/opt/shop",), tls=False, systemd=252)


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


def tryInstall(*arguments: str, installation: Installation = ORDINARY) -> Done:
    """Run the subcommand for an ordinary installation."""
    parser = argparse.ArgumentParser()
    install.add_arguments(parser)
    out, err = io.StringIO(), io.StringIO()
    if "--directory" not in arguments:
        arguments = ("--directory", "/opt/shop", *arguments)
    status = install.run(parser.parse_args(arguments), installation, out, err)
    return Done(status, out.getvalue(), err.getvalue())


def installService(*arguments: str, command: tuple[str, ...] = ORDINARY.command) -> str:
    """Likewise; it has to succeed without a note."""
    done = tryInstall(*arguments, installation=Installation(command, ("/opt/shop",), tls=False, systemd=252))
    assert (done.status, done.err) == (0, "")
    return done.out


def test_without_write_nothing_is_written(tmp_path: Path) -> None:
    out = installService("--root", str(tmp_path), "--socket", "0.0.0.0:80")
    assert list(tmp_path.iterdir()) == []
    assert re.findall("==> (.*) <==", out) == [
        f"{tmp_path}/etc/systemd/system/ka_twisted.service",
        f"{tmp_path}/etc/systemd/system/ka_twisted.socket",
        f"{tmp_path}/etc/ka_twisted/ka_twisted.toml",
    ]
    assert "Nothing was written" in out
    assert (
        "ExecStart=/opt/shop/bin/twistd -n --pidfile= --logger=ka_twisted.service.systemd.journal.observer keepalive"
        in out
    )


def test_written_is_what_was_shown(tmp_path: Path) -> None:
    arguments = ("--root", str(tmp_path), "--name", "shop", "--socket", "web=0.0.0.0:80", "--socket", "ops=/run/ops")
    shown = dict(re.findall(r"==> (\S+) <==\n(.*?\n)\n(?===>|Nothing)", installService(*arguments), re.DOTALL))
    out = installService(*arguments, "--write")
    assert {str(path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == shown
    assert re.findall("wrote (.*)", out) == list(shown)
    assert out.endswith(
        "Start it with: systemctl daemon-reload && "
        "systemctl enable --now shop-web.socket shop-ops.socket shop.service\n"
    )


def test_the_configuration_has_what_was_asked_for(tmp_path: Path) -> None:
    installService(
        "--root", str(tmp_path), "--write", "--app", "ka_twisted.playground:application",
        "--socket", "0.0.0.0:80", "--listen", "tcp:8081:interface=127.0.0.1",
    )  # fmt: skip
    config = tmp_path / "etc/ka_twisted/ka_twisted.toml"
    table = files.read(str(config))
    assert {setting.key: given.value for setting, given in table.values.items()} == {
        "app": "ka_twisted.playground:application"
    }
    assert [[value.value for value in listen.values.values()] for listen in table.arrays["listen"]] == [
        ["systemd:domain=INET:name=web"],
        ["tcp:8081:interface=127.0.0.1"],
    ]


def test_the_server_takes_the_configuration(tmp_path: Path) -> None:
    installService("--root", str(tmp_path), "--write", "--listen", "tcp:0:interface=127.0.0.1")
    options = Options()
    with pytest.raises(SystemExit) as ended:
        options.parseOptions(["--config", str(tmp_path / "etc/ka_twisted/ka_twisted.toml"), "--check"])
    assert ended.value.code == 0


def test_a_unit_that_differs_is_not_replaced(tmp_path: Path) -> None:
    arguments = ("--root", str(tmp_path), "--write")
    installService(*arguments)
    service = tmp_path / "etc/systemd/system/ka_twisted.service"
    mine = service.read_text() + "# mine\n"
    service.write_text(mine)
    before = sorted(tmp_path.rglob("*"))
    done = tryInstall(*arguments, "--socket", "0.0.0.0:80")
    assert done.status == 2
    assert done.err.endswith(f"install-service: {service} is there and differs; --force replaces it\n")
    assert sorted(tmp_path.rglob("*")) == before
    assert service.read_text() == mine
    installService(*arguments, "--force")
    assert "# mine" not in service.read_text()


def test_a_configuration_is_never_replaced(tmp_path: Path) -> None:
    arguments = ("--root", str(tmp_path), "--write")
    installService(*arguments)
    config = tmp_path / "etc/ka_twisted/ka_twisted.toml"
    config.write_text("workers = 2\n")
    assert f"kept {config}\n" in installService(*arguments, "--force")
    done = tryInstall(*arguments, "--app", "shop:handler")
    assert done.status == 0
    assert done.err == f"note: {config} is there and stays: see that it has what --app, --listen and --socket ask for\n"
    assert config.read_text() == "workers = 2\n"


REFUSED = {
    "name": (["--name", "../shop"], "--name is of at most 31 small letters, .*'../shop'"),
    "socket name": (["--socket", "a:b=80"], "--socket a:b=80 has no name of letters, .*"),
    "socket address": (["--socket", "web=http"], "--socket web=http has no address such as .*"),
    "same name twice": (["--socket", "1", "--socket", "2"], "two sockets are called web; --socket NAME=2 gives .*"),
    "account of a user": (["--user", "--run-as", "www"], "--run-as is for a service of the system, and .*"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_sentence(case: str) -> None:
    arguments, sentence = REFUSED[case]
    done = tryInstall(*arguments)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(f"install-service: {sentence}\n", done.err), done.err


def test_what_cannot_be_written_or_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("no directory")
    done = tryInstall("--root", str(tmp_path), "--write")
    assert done.status == 2
    assert re.fullmatch(r"install-service: .*ka_twisted\.service cannot be .*: Not a directory\n", done.err), done.err
    (tmp_path / "etc").unlink()
    service = tmp_path / "etc/systemd/system/ka_twisted.service"
    service.mkdir(parents=True)
    done = tryInstall("--root", str(tmp_path), "--write")
    assert done.err == f"install-service: {service} cannot be read: Is a directory\n"
    service.rmdir()
    service.write_bytes(b"\xff")
    done = tryInstall("--root", str(tmp_path), "--write")
    assert done.err == f"install-service: {service} cannot be read: it is not text\n"


def test_a_users_service_is_in_their_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    out = installService("--user", "--write")
    assert (tmp_path / ".config/systemd/user/ka_twisted.service").is_file()
    assert (tmp_path / ".config/ka_twisted/ka_twisted.toml").is_file()
    assert "systemctl --user daemon-reload" in out


def unitOf(*arguments: str, installation: Installation = ORDINARY) -> tuple[str, str]:
    done = tryInstall(*arguments, installation=installation)
    assert done.status == 0
    return done.out, done.err


def test_what_lies_in_a_home_can_be_read() -> None:
    assert "ProtectHome=yes" in unitOf()[0]
    assert "ProtectHome=read-only" in unitOf("--directory", "/home/ada/shop")[0]
    assert "ProtectHome=read-only" in unitOf("--config", "/home/ada/shop.toml")[0]
    away = Installation(("/usr/bin/twistd",), ("/home/ada/venv",), tls=True, systemd=255)
    out, _ = unitOf(installation=away)
    assert "ProtectHome=read-only" in out
    assert "MemoryDenyWriteExecute=no" in out
    assert "Type=notify-reload" in out


def test_what_the_service_could_not_see_is_noted(tmp_path: Path) -> None:
    _, err = unitOf("--directory", "/tmp/shop")
    assert err == "note: the service will not see /tmp/shop: its directories for temporary files are its own\n"
    assert unitOf("--directory", "/tmp/shop", "--user")[1] == ""


def test_a_directory_that_is_closed_to_others_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_TEMPORARY", ())
    (tmp_path / "closed").mkdir(mode=0o700)
    _, err = unitOf("--directory", str(tmp_path / "closed"))
    assert f"note: the service can see {tmp_path}/closed only when its account may enter it: see --run-as\n" in err


@pytest.mark.parametrize(("endpoint", "low"), [("tcp:80", True), ("tcp:port=443", True), ("tcp:8080", False),
                                               ("tcp:0", False), ("unix:/run/80", False), ("80", True),
                                               ("[::]:443", True), (":8080", False), ("/run/80", False)])  # fmt: skip
def test_a_low_port_takes_its_capability(endpoint: str, low: bool) -> None:
    assert ("AmbientCapabilities=CAP_NET_BIND_SERVICE" in unitOf("--listen", endpoint)[0]) is low


def test_where_to_listen_is_written_as_it_is_for_the_command() -> None:
    assert 'endpoint = "tcp:8080:interface=127.0.0.1"' in installService("--listen", "localhost:8080")
    done = tryInstall("--listen", "http://127.0.0.1:80")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "install-service: --listen http://127.0.0.1:80 is not an endpoint: it is a URL; write 127.0.0.1:80\n"
    )


def test_it_is_a_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["install-service", "--name", "shop"]) == 0
    out = capsys.readouterr().out
    assert f"WorkingDirectory={os.getcwd()}" in out
    assert os.path.dirname(sys.executable) in out


def test_without_systemctl_an_old_systemd_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert Installation.here().systemd == 252
