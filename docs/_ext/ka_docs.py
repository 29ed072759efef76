"""
Directives that write from the code what would go stale if people wrote it.

``state-machine`` draws and lists a table of `ka_twisted.http1.states`; ``setting`` heads the description of one field
of `ka_twisted.config` with its default and its option; ``settings`` lists them; ``options``
lists those of the command; ``close-reasons`` and ``keep-reasons``
list `ka_twisted.core.reasons`; ``interface`` documents one of `ka_twisted.interfaces`; ``house`` draws the folders of
the package and lists what each may import, from the table of ``tests/test_layers.py``; ``way`` draws steps between
those that take part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from textwrap import indent
from typing import Any

import drawing
import figures
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from zope.interface.interface import Method

import ka_twisted
from ka_twisted import config
from ka_twisted.core.reasons import CloseReason, KeepReason
from ka_twisted.http1.states import MACHINES
from ka_twisted.service.configuration.commandline import groups
from ka_twisted.service.configuration.settings import SETTINGS

PACKAGE = Path(ka_twisted.__file__).parent
LAYERS = PACKAGE.parent / "tests" / "test_layers.py"
#: What the options of `twistd keepalive` set, by class and field.
OPTIONS = {(setting.owner.__name__, setting.field): f"--{setting.option}" for setting in SETTINGS}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("state-machine", StateMachine)
    app.add_directive("setting", Setting)
    app.add_directive("settings", Settings)
    app.add_directive("options", Options)
    app.add_directive("close-reasons", CloseReasons)
    app.add_directive("keep-reasons", KeepReasons)
    app.add_directive("interface", Interface)
    app.add_directive("house", House)
    app.add_directive("way", Way)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class StateMachine(SphinxDirective):
    """A drawing of one machine, and its table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        table: drawing.Table = MACHINES[name]
        frame = f'<div class="state-machine">{drawing.draw(name, table)}</div>'
        rows = [
            (_code(event.name), nodes.Text(str(event.value)), _code(source.name), _code(target.name))
            for event, row in table.items()
            for source, target in row.items()
        ]
        listed = _table(("event", "what happens", "in the state", "leads to"), rows, (20, 40, 20, 20))
        return [nodes.raw("", frame, format="html"), listed]


class House(SphinxDirective):
    """The floors of the package, and what each room may import."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(LAYERS))
        arrows = figures.read_arrows(LAYERS.read_text("utf-8"))
        found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
        rooms = figures.read_rooms(self.content)
        drawn = figures.draw_house({**arrows, "service": frozenset(arrows)}, rooms, frozenset(found))
        rows = [(_code(name), nodes.Text(", ".join(sorted(those)) or "nothing")) for name, those in arrows.items()]
        frame = nodes.raw("", f'<div class="state-machine">{drawn}</div>', format="html")
        return [frame, _table(("folder", "may import"), rows, (25, 75))]


class Way(SphinxDirective):
    """Steps between those that take part."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        drawn = figures.draw_way(*figures.read_steps(self.content))
        return [nodes.raw("", f'<div class="state-machine">{drawn}</div>', format="html")]


class Setting(SphinxDirective):
    """The description of one setting, under its facts."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        owner, _, name = self.arguments[0].partition(".")
        term = nodes.term("", "", _code(self.arguments[0]))
        facts = nodes.paragraph("", "", *_facts(owner, name), classes=["setting-facts"])
        text = nodes.definition("", facts)
        self.state.nested_parse(self.content, self.content_offset, text)
        target = nodes.make_id(self.arguments[0])
        labels = self.env.domains.standard_domain
        labels.note_hyperlink_target(target, self.env.docname, target, name)
        item = nodes.definition_list_item("", term, text, ids=[target])
        return [nodes.definition_list("", item, classes=["setting"])]


class Settings(SphinxDirective):
    """The settings of one class, each with its default and its option."""

    required_arguments = 1
    option_spec = {"unit": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        owner = self.arguments[0]
        rows = []
        for field in fields(getattr(config, owner)):
            target = nodes.make_id(f"{owner}.{field.name}")
            link = nodes.reference("", "", _code(field.name), refid=target, internal=True)
            option = OPTIONS.get((owner, field.name))
            rows.append((link, _default(owner, field.name), _code(option) if option else nodes.Text("none")))
        return [_table(("attribute", "default", "option"), rows, (30, 30, 40))]


class Options(SphinxDirective):
    """The options of the command, each with its variable, its key and its default, in the groups of its help."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for heading, options in groups():
            rows = [
                (
                    _code(option.written),
                    _code(option.variable) if option.variable else nodes.Text("none"),
                    _code(option.place) if option.place else nodes.Text("none"),
                    nodes.Text(option.help),
                )
                for option in options
            ]
            found.append(nodes.rubric("", heading))
            found.append(_table(("option", "variable", "key in the file", "what it sets"), rows, (25, 25, 15, 35)))
        return found


class Interface(SphinxDirective):
    """A zope interface, which autodoc knows nothing of."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        interface = getattr(import_module(module), name)
        lines = [f".. py:class:: {self.arguments[0]}", "", *_indented(interface.__doc__, 3)]
        for member in interface.names():
            described = interface[member]
            isMethod = isinstance(described, Method)
            signature = f"method:: {member}{described.getSignatureString()}" if isMethod else f"attribute:: {member}"
            lines += [f"   .. py:{signature}", "", *_indented(described.__doc__, 6)]
        return self.parse_text_to_nodes("\n".join(lines))


def _indented(docstring: str, columns: int) -> list[str]:
    return [*indent(cleandoc(docstring), " " * columns).splitlines(), ""]


class CloseReasons(SphinxDirective):
    """Every reason for the end of a connection."""

    def run(self) -> list[nodes.Node]:
        rows = [
            (_code(it.name), nodes.Text(it.text), nodes.Text(it.by), nodes.Text(it.state), nodes.Text(it.clause))
            for it in CloseReason.all()
        ]
        return [_table(("reason", "what happened", "by", "while it was", "clause"), rows, (28, 34, 8, 14, 16))]


class KeepReasons(SphinxDirective):
    """Every reason for keeping a connection."""

    def run(self) -> list[nodes.Node]:
        rows = [(_code(reason.name), nodes.Text(reason.value)) for reason in KeepReason]
        return [_table(("reason", "why the connection persists"), rows, (30, 70))]


def _facts(owner: str, name: str) -> Iterable[nodes.Node]:
    """Default and option, as running text."""
    option = OPTIONS.get((owner, name))
    yield nodes.Text("Default ")
    yield _default(owner, name)
    if option:
        yield nodes.Text("; option ")
        yield _code(option)
    else:
        yield nodes.Text("; no option, set it in code")
    yield nodes.Text(".")


def _default(owner: str, name: str) -> nodes.Node:
    (field,) = (field for field in fields(getattr(config, owner)) if field.name == name)
    value: Any = field.default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    unit = " s" if owner == "Timeouts" and value is not None else ""
    return _code(f"{value}{unit}")


def _code(text: str) -> nodes.Node:
    return nodes.literal("", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[nodes.Node]], widths: Sequence[int]) -> nodes.table:
    group = nodes.tgroup("", cols=len(heads))
    group += [nodes.colspec("", colwidth=width) for width in widths]
    group += nodes.thead("", _row([nodes.Text(head) for head in heads]))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group)


def _row(cells: Sequence[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))
