"""What is said in several places about the project itself is the same everywhere."""

from __future__ import annotations

import configparser
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

_toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
PROJECT = Path(__file__).parents[1]
CONFIGURATION = _toml.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
CLASSIFIER = "Programming Language :: Python :: 3."


def text(name: str) -> str:
    return (PROJECT / name).read_text("utf-8")


@pytest.fixture(scope="module")
def versions() -> list[str]:
    """The minor versions of Python 3 that are supported, by the classifiers."""
    return [each.removeprefix(CLASSIFIER) for each in CONFIGURATION["project"]["classifiers"] if CLASSIFIER in each]


@pytest.fixture(scope="module")
def tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text("tox.ini"))
    return parser


def test_every_supported_python_is_tested(versions: list[str], tox: configparser.ConfigParser) -> None:
    assert CONFIGURATION["project"]["requires-python"] == f">=3.{versions[0]}"
    listed = tox["tox"]["env_list"].replace(" ", "").split(",")
    assert [name for name in listed if re.fullmatch(r"py\d+", name)] == [f"py3{minor}" for minor in versions]
    assert f"for minor in {' '.join(versions)}; do" in text(".ci/run")
    workflow = text(".github/workflows/ci.yml")
    assert ", ".join(f'"3.{minor}"' for minor in versions) in workflow
    installed = re.findall(r"^ +3\.(\d+)$", workflow, re.MULTILINE)
    assert sorted(installed, key=int) == versions


def test_the_workflow_runs_environments_that_there_are(tox: configparser.ConfigParser) -> None:
    (listed,) = re.findall(r"environment: \[(.*)\]", text(".github/workflows/ci.yml"))
    for name in listed.split(", "):
        assert f"testenv:{name}" in tox


def test_the_quick_part_is_made_of_what_there_is() -> None:
    paths = text("tests/quick.txt").split()
    assert paths == sorted(set(paths))
    assert [path for path in paths if not (PROJECT / path).exists()] == []


def test_commands_that_contributors_are_told_name_what_there_is(tox: configparser.ConfigParser) -> None:
    told = text("CONTRIBUTING.md")
    for name in re.findall(r"tox -e (\w+)", told):
        assert f"testenv:{name}" in tox
    extras = CONFIGURATION["project"]["optional-dependencies"]
    for name in re.findall(r"\.\[(\w+)\]", told):
        assert name in extras
    for target in re.findall(r"\]\(([^)#:]+)\)", told + text("SECURITY.md") + text("README.md")):
        assert (PROJECT / target).exists(), target


def test_settings_that_the_threat_model_names_exist() -> None:
    from ka_twisted.config import Limits, Timeouts

    known = {*Timeouts.__dataclass_fields__, *Limits.__dataclass_fields__}
    for row in re.findall(r"^\|.*\| (.*) \|$", text("SECURITY.md"), re.MULTILINE):
        for name in re.findall(r"`(?:Timeouts\.|Limits\.)?(\w+)`", row):
            assert name in known, name
