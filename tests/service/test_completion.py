"""The completion of options, asked of the shells themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ka_twisted.service import cli
from ka_twisted.service.configuration.commandline import options
from ka_twisted.service.configuration.settings import ALL_SETTINGS
from tests.programs import find
from tests.service.twistd import PATIENCE, PROJECT, environment

#: A line up to the cursor, and some of what has to be offered; and what must not be.
LINES = [
    ("twistd keepalive --idle", ["--idle-timeout"], ["--access-log"]),
    ("twistd -n keepalive --log-format j", ["json"], ["combined"]),
    ("twistd -n keepalive --persistent ", ["on", "off"], ["--persistent"]),
    ("twistd -n keepalive --idle-timeout ", [], ["--idle-timeout", "shop.toml"]),
    ("twistd -n keepalive --config sh", ["shop.toml"], ["--config"]),
    ("twistd keep", ["keepalive"], []),
    ("twistd --logf", ["--logfile"], ["--log-format"]),
    ("twistd keepalive --logf", [], ["--logfile"]),
]


def script(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.main(["completion", shell]) == 0
    file = folder / f"completion.{shell}"
    file.write_text(capsys.readouterr().out)
    (folder / "shop.toml").touch()
    return file


def ask(command: list[str], folder: Path) -> list[str]:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environ = {**environment(), "PATH": path, "PYTHONPATH": str(PROJECT), "HOME": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def assertOffered(offered: list[str], wanted: list[str], unwanted: list[str]) -> None:
    assert set(wanted) <= set(offered)
    assert not set(unwanted) & set(offered)
    assert bool(offered) == bool(wanted)


@pytest.mark.program("bash")
@pytest.mark.parametrize(("line", "wanted", "unwanted"), LINES)
def test_bash_offers(
    line: str, wanted: list[str], unwanted: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split(" ")
    asked = (
        f"source {script('bash', tmp_path, capsys)}; COMP_WORDS=({' '.join(repr(word) for word in words)});"
        f"COMP_CWORD={len(words) - 1}; compopt() {{ :; }}; _ka_twisted_twistd; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    offered = [word for word in ask([str(find("bash")), "--norc", "-c", asked], tmp_path) if word]
    assertOffered(offered, wanted, unwanted)


@pytest.mark.program("bash")
@pytest.mark.parametrize("words", ["--log-format = j", "--log-format ="])
def test_bash_offers_values_behind_an_equals_sign(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        f"source {script('bash', tmp_path, capsys)}; COMP_WORDS=(twistd keepalive {words});"
        f"COMP_CWORD={1 + len(words.split())}; _ka_twisted_twistd; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    assert "json" in ask([str(find("bash")), "--norc", "-c", asked], tmp_path)


@pytest.mark.program("fish")
@pytest.mark.parametrize(("line", "wanted", "unwanted"), LINES)
def test_fish_offers(
    line: str, wanted: list[str], unwanted: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = f"source {script('fish', tmp_path, capsys)}; complete -C '{line}'"
    offered = [each.partition("\t")[0] for each in ask([str(find("fish")), "--no-config", "-c", asked], tmp_path)]
    assert set(wanted) <= set(offered)
    assert not set(unwanted) & set(offered)


@pytest.mark.program("zsh")
def test_zsh_is_told_every_option_by_twisted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = script("zsh", tmp_path, capsys)
    # As zsh's own: it has more to say than the options of twistd.
    stub = '_arguments() { print -rl -- "$@"; false }'
    asked = f"words=(twistd keepalive --); CURRENT=3; {stub}; source {file}; true"
    said = ask([str(find("zsh")), "-f", "-c", asked], tmp_path)
    told = said[len(said) - said[::-1].index("-s") :]
    for option in options():
        (line,) = [each for each in told if re.match(rf"\*?--{option.name}=?\[", each)]
        if option.words:
            assert line.endswith(f"({' '.join(option.words)})")
        assert ("_files" in line) is option.isFile
        assert line.startswith("*") is option.repeatable


def test_every_setting_is_among_the_options() -> None:
    names = [option.name for option in options()]
    assert len(set(names)) == len(names)
    assert {setting.option for setting in ALL_SETTINGS if setting.option} <= set(names)


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["completion", "csh"])
    assert caught.value.code == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
