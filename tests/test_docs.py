"""The documentation says what the code does: nothing is missing, and what it shows runs."""

from __future__ import annotations

import argparse
import importlib.util
import io
import re
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import ka_twisted
from ka_twisted import CloseReason, KeepAliveProtocol, config, interfaces, playground
from ka_twisted.explain import command as explain
from ka_twisted.http1.states import MACHINES
from ka_twisted.service.configuration.settings import SETTINGS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {page.stem: page.read_text("utf-8") for page in DOCS.glob("*.md")}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOOKS = ("requestReceived", "continueExpected", "persistenceDecided", "connectionClosed")


def blocks(page: str, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(PAGES[page]) if name == language]


# -- nothing is missing ------------------------------------------------------------------------------


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = re.findall(r"^[\w-]+$", "".join(re.findall(r"```{toctree}(.*?)```", PAGES["index"], re.DOTALL)), re.M)
    assert sorted(listed) == sorted(set(PAGES) - {"index"})


def test_every_link_between_pages_leads_somewhere() -> None:
    for page, text in PAGES.items():
        for name, anchor in re.findall(r"\]\(([\w-]+)\.md(#[^)]*)?\)", text):
            assert name in PAGES, f"{page}.md links to {name}.md"
            assert not anchor


@pytest.mark.parametrize("owner", [config.Timeouts, config.Limits, config.Policy, config.TcpKeepAlive])
def test_every_setting_is_described_once(owner: type) -> None:
    described = Counter(re.findall(rf"```{{setting}} {owner.__name__}\.(\w+)", PAGES["timers-and-limits"]))
    assert described == Counter(field.name for field in fields(owner))
    assert f"```{{settings}} {owner.__name__}\n" in PAGES["timers-and-limits"]


def test_the_options_are_made_from_their_table() -> None:
    assert "```{options}\n```" in PAGES["reference"]


def test_every_description_of_a_setting_says_something() -> None:
    for name, text in re.findall(r"```{setting} (\S+)\n(.*?)```", PAGES["timers-and-limits"], re.DOTALL):
        assert len(text.split()) >= 3, name


def test_no_option_sets_what_is_not_described() -> None:
    for setting in SETTINGS:
        assert f"```{{setting}} {setting.owner.__name__}.{setting.field}\n" in PAGES["timers-and-limits"]


def test_links_to_settings_lead_to_settings() -> None:
    known = {
        f"{owner.__name__}-{field.name}".lower()
        for owner in (config.Timeouts, config.Limits, config.Policy, config.TcpKeepAlive)
        for field in fields(owner)
    }
    for page, text in PAGES.items():
        assert set(re.findall(r"{ref}`[^`]*<([^>]*)>`", text)) <= known, page


def test_reasons_that_are_named_exist() -> None:
    known = {reason.name for reason in CloseReason.all()}
    for name in re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)`", PAGES["timers-and-limits"]):
        assert name in known, name


def test_reasons_and_states_are_made_from_the_code() -> None:
    for directive in ("close-reasons", "keep-reasons"):
        assert f"```{{{directive}}}\n" in PAGES["decisions"]
    assert re.findall(r"```{state-machine} (\w+)", PAGES["architecture"]) == list(MACHINES)


def test_files_that_the_architecture_names_exist() -> None:
    package = Path(ka_twisted.__file__).parent
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGES["architecture"])
    assert named
    assert [name for name in named if not (package / name).exists() and not (DOCS.parent / name).exists()] == []


def test_every_public_name_is_in_the_reference() -> None:
    named = set(re.findall(r"\.\. auto\w+:: (\w+)\n", PAGES["reference"]))
    assert named == set(ka_twisted.__all__)
    for name in vars(interfaces):
        if re.fullmatch("I[A-Z].*", name) and getattr(interfaces, name).__module__ == interfaces.__name__:
            assert f".. interface:: ka_twisted.interfaces.{name}\n" in PAGES["reference"]


def test_what_the_reference_names_exists() -> None:
    entry = r"\.\. autoclass:: (\S+)\n(?:   :members: ((?:.+\n)(?:      .+\n)*))?"
    for name, members in re.findall(entry, PAGES["reference"]):
        path, _, last = name.rpartition(".")
        module = importlib.import_module(path) if path else ka_twisted
        documented = getattr(module, last)
        for member in re.findall(r"\w+", members):
            source = Path(sys.modules[documented.__module__].__file__ or "").read_text("utf-8")
            assert hasattr(documented, member) or f"self.{member}" in source, f"{name}.{member}"


def test_every_hook_is_explained() -> None:
    for hook in HOOKS:
        assert hasattr(KeepAliveProtocol, hook)
        assert f"## {hook}(" in PAGES["subclassing"]


def test_every_route_of_the_playground_is_shown() -> None:
    for path in playground.ROUTES:
        assert path in PAGES["quickstart"]


# -- what is shown runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_programs_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page}
    for number, text in enumerate(blocks(page, "python"), 1):
        code = compile(text, f"{page}.md, program {number}", "exec")
        if "import reactor" not in text:
            exec(code, names)


@pytest.mark.parametrize("transcript", [text for text in blocks("quickstart", "console") if "explain" in text])
def test_what_explain_is_shown_to_say_it_says(transcript: str) -> None:
    command, _, printed = transcript.partition("\n")
    found = re.fullmatch(r"\$ printf '(.*)' \| python -m ka_twisted explain", command)
    assert found is not None
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    out = io.StringIO()
    explain.run(parser.parse_args([]), io.BytesIO(found[1].encode().decode("unicode_escape").encode()), out)
    assert out.getvalue() == printed


# -- drawings ----------------------------------------------------------------------------------------


def loaded(name: str) -> ModuleType:
    """A module that draws, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    del sys.modules[name]
    return module


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    return loaded("drawing")


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return loaded("figures")


def test_the_house_has_every_room_above_those_that_it_imports(figures: ModuleType) -> None:
    arrows = figures.read_arrows((DOCS.parent / "tests" / "test_layers.py").read_text("utf-8"))
    level = {name: number for number, floor in enumerate(figures.floors(arrows)) for name in floor}
    assert set(level) == set(arrows)
    for name, those in arrows.items():
        assert all(level[other] < level[name] for other in those), name
    (text,) = re.findall(r"```{house}\n(.*?)```", PAGES["architecture"], re.DOTALL)
    rooms = figures.read_rooms(text.splitlines())
    assert set(rooms) == {*arrows, "service"}
    svg = ElementTree.fromstring(figures.draw_house(arrows, rooms, frozenset({"core"})))
    boxes = [box.get("class") for box in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert boxes.count("state") == 1
    assert boxes.count("state planned") == len(arrows) - 1


def test_a_way_has_every_step(figures: ModuleType) -> None:
    for text in re.findall(r"```{way}\n(.*?)```", PAGES["architecture"], re.DOTALL):
        columns, steps = figures.read_steps(text.splitlines())
        svg = ElementTree.fromstring(figures.draw_way(columns, steps))
        shown = " ".join(element.text or "" for element in svg.iter("{http://www.w3.org/2000/svg}text"))
        assert all(step.text in shown for step in steps)
    with pytest.raises(ValueError, match="no such column"):
        figures.read_steps(["columns: a, b", "a -> c: bytes"])


@pytest.mark.parametrize("name", MACHINES)
def test_a_drawing_has_every_state_and_every_transition(drawing: ModuleType, name: str) -> None:
    table = MACHINES[name]
    svg = ElementTree.fromstring(drawing.draw(name, table))
    labels = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    shown = Counter(labels)
    for state in drawing.states_of(table):
        assert shown[state.name] >= 1
    events = Counter(event.name for event, row in table.items() for _ in row)
    for event, count in events.items():
        assert shown[event] - (event in {state.name for state in drawing.states_of(table)}) == count
    boxes = [box for box in svg.iter("{http://www.w3.org/2000/svg}rect") if box.get("class") == "state"]
    assert len(boxes) == len(drawing.states_of(table))


@pytest.mark.parametrize("name", MACHINES)
def test_no_line_of_a_drawing_lies_on_another(drawing: ModuleType, name: str) -> None:
    it = drawing._Drawing(name, MACHINES[name])
    lanes = list(it._lanes.values())
    for lane in lanes:
        for other in lanes:
            if other is not lane and other.index == lane.index:
                (top, bottom), (low, high) = it._span(lane), it._span(other)
                assert bottom < low or top > high
    ports = [(state, y) for (state, _, _), y in it._ports.items()]
    assert len(ports) == len(set(ports))
