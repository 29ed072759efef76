"""
The import rule of the house, which imports for type checkers obey as well. Arrows run one way:

``config <- core <- {http1, http2}``; ``config, core <- interfaces <- net``; ``server`` and ``client`` stand on
``http1``, ``http2`` and ``net``; ``hosting`` on ``server``; ``proxy`` on ``server`` and ``client``; ``observe`` knows
``core`` and ``interfaces`` alone; ``admin`` stands on ``server`` and ``observe``; ``service`` on top. No two modules
import each other, not by way of others either. Nothing imports the global reactor at module level.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ka_twisted

PACKAGE = Path(ka_twisted.__file__).parent
NAME = PACKAGE.name
PLUGINS = PACKAGE.parent / "twisted" / "plugins"

#: What the modules of a layer may import of the package, itself apart. The service and the package stand at the top.
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "core": {"config"},
    "http1": {"config", "core"},
    "http2": {"config", "core"},
    "interfaces": {"config", "core"},
    "net": {"config", "core", "interfaces"},
    "server": {"config", "core", "interfaces", "http1", "http2", "net"},
    "client": {"config", "core", "interfaces", "http1", "http2", "net"},
    "hosting": {"config", "core", "interfaces", "server"},
    "proxy": {"config", "core", "interfaces", "server", "client"},
    "observe": {"config", "core", "interfaces"},
    "admin": {"config", "core", "interfaces", "server", "observe"},
    "explain": {"config", "core", "http1"},
    "reactors": {"config", "net"},
    "testing": {"config", "core", "interfaces", "http1", "net", "server"},
    "playground": {"config", "core", "interfaces", "server"},
}
#: Layers that import the standard library alone.
PURE = {"config", "core", "http1"}
#: Layers that may import anything of the package.
TOP = {"service", "__init__", "__main__"}


@dataclass(frozen=True)
class Import:
    """
    An import statement.

    :ivar module: absolute; for ``from x import y`` it is ``x.y`` where ``y`` may be a module, too.
    :ivar late: inside a function: made when that is called.
    :ivar typing: made for a type checker only.
    """

    module: str
    line: int
    late: bool = False
    typing: bool = False


class _Imports(ast.NodeVisitor):
    def __init__(self, path: Path) -> None:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        self._package = parts[:-1]
        self.found: list[Import] = []
        self._late = self._typing = False

    def _add(self, module: str, node: ast.AST) -> None:
        self.found.append(Import(module, getattr(node, "lineno", 0), self._late, self._typing))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self._package[: len(self._package) - node.level + 1]
            base = ".".join((*above, base) if base else above)
        for alias in node.names:
            self._add(f"{base}.{alias.name}", node)

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        checking = isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
        before, self._typing = self._typing, self._typing or checking
        for child in node.body:
            self.visit(child)
        self._typing = before
        for child in node.orelse:
            self.visit(child)

    def _inside(self, node: ast.AST) -> None:
        before, self._late = self._late, True
        self.generic_visit(node)
        self._late = before

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _inside


def imports(path: Path) -> list[Import]:
    """Everything that a module imports."""
    visitor = _Imports(path)
    visitor.visit(ast.parse(path.read_text("utf-8"), str(path)))
    return visitor.found


def layer(module: str) -> str:
    """The layer that a module of the package belongs to; empty for the package itself."""
    parts = module.split(".")
    inside = parts[1] if len(parts) > 1 else ""
    return inside if (PACKAGE / inside).is_dir() or (PACKAGE / f"{inside}.py").is_file() else ""


MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def own_layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def of_the_package(path: Path) -> Iterator[Import]:
    return (found for found in imports(path) if found.module.split(".")[0] == NAME)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_arrows_run_one_way(path: Path) -> None:
    own = own_layer(path)
    if own in TOP:
        return
    assert own in MAY_IMPORT, f"a layer without a rule: {own}"
    wrong = [found for found in of_the_package(path) if layer(found.module) not in MAY_IMPORT[own] | {own}]
    assert not wrong, wrong


@pytest.mark.parametrize("path", [path for path in MODULES if own_layer(path) in PURE], ids=str)
def test_the_core_is_standard_library_only(path: Path) -> None:
    wrong = [
        found for found in imports(path)
        if found.module.split(".")[0] not in sys.stdlib_module_names | {NAME}
    ]  # fmt: skip
    assert not wrong, wrong


@pytest.mark.parametrize("path", [path for path in MODULES if own_layer(path) in {"core", "http1"}], ids=str)
def test_the_core_has_no_clock_no_log_and_no_network(path: Path) -> None:
    banned = {"time", "datetime", "logging", "socket", "asyncio", "threading", "select", "ssl", "random", "os"}
    wrong = [found for found in imports(path) if found.module.split(".")[0] in banned]
    assert not wrong, wrong


def known_module(name: str) -> str | None:
    """The module of the package that an import names, or that what it names is from."""
    while name:
        path = PACKAGE.parent / name.replace(".", "/")
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return name
        name = name.rpartition(".")[0]
    return None


def graph() -> dict[str, set[str]]:
    """For each module, those of the package that it imports: also within functions, also for type checkers."""
    found = {}
    for path in MODULES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = {known for item in of_the_package(path) if (known := known_module(item.module))} - {name}
    return found


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other (strongly connected, by Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(arrows):
        if name not in order:
            visit(name)
    return groups


def test_no_two_modules_reach_each_other() -> None:
    assert circles(graph()) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 450


#: The rooms of the service from the bottom up, and what each may import of the others; beside them it may import
#: anything of the package. What is in no room (the command line, the plug-in's module) may import every room.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "jsonlog": set(),
    "leftovers": set(),
    "applications": {"errors"},
    "configuration": {"errors", "jsonlog", "leftovers", "applications"},
    "listening": {"errors", "leftovers", "configuration"},
    "systemd": {"jsonlog", "configuration"},
    "running": {"errors", "applications", "configuration", "listening", "systemd"},
    "workers": {"errors", "jsonlog", "applications", "configuration", "listening", "systemd", "running"},
}
#: Those that are one module.
SMALL = {"errors", "jsonlog", "leftovers"}
SERVICE = PACKAGE / "service"


def room(module: str) -> str:
    """The room of a module of the service; empty where it is in none."""
    parts = module.split(".")
    inside = parts[2] if parts[:2] == [NAME, "service"] and len(parts) > 2 else ""
    return inside if inside in ROOMS else ""


def test_every_room_of_the_service_has_its_rule() -> None:
    assert {path.name for path in SERVICE.iterdir() if (path / "__init__.py").is_file()} == ROOMS.keys() - SMALL


def test_the_rooms_of_the_service_have_an_order() -> None:
    names = list(ROOMS)
    assert all(names.index(below) < names.index(name) for name in names for below in ROOMS[name])


@pytest.mark.parametrize("path", sorted(SERVICE.rglob("*.py")), ids=lambda path: str(path.relative_to(SERVICE)))
def test_no_room_of_the_service_imports_one_above_it(path: Path) -> None:
    own = path.relative_to(SERVICE).with_suffix("").parts[0]
    if own not in ROOMS:
        return
    inside = (found for found in of_the_package(path) if found.module.startswith(f"{NAME}.service."))
    wrong = [found for found in inside if room(found.module) not in ROOMS[own] | {own}]
    assert not wrong, wrong


def is_reactor(found: Import) -> bool:
    return found.module == "twisted.internet.reactor" or found.module.startswith("twisted.internet.reactor.")


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_imports_the_global_reactor_at_module_level(path: Path) -> None:
    wrong = [found for found in imports(path) if is_reactor(found) and not (found.late or found.typing)]
    assert not wrong, wrong


def test_importing_everything_installs_no_reactor() -> None:
    import subprocess

    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in MODULES
        if path.name != "__main__.py" and own_layer(path) not in {"reactors", "service"}
    ]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {names!r}]; "
        "print('twisted.internet.reactor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_plugins_belong_to_twisted() -> None:
    assert not (PLUGINS / "__init__.py").exists()
    assert not (PLUGINS.parent / "__init__.py").exists()


def test_the_package_re_exports_and_does_nothing_else() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    kinds = {type(node) for node in tree.body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", [("a.b", False, False)]),
        ("from a import b, c", [("a.b", False, False), ("a.c", False, False)]),
        ("from . import x", [(f"{NAME}.core.x", False, False)]),
        ("from ..server.protocol import P", [(f"{NAME}.server.protocol.P", False, False)]),
        ("def f():\n    import a", [("a", True, False)]),
        ("async def f():\n    from a import b", [("a.b", True, False)]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", [("a", False, True), ("b", False, False)]),
        ("class C:\n    import a", [("a", False, False)]),
    ],
)
def test_imports_are_read_right(source: str, expected: list[tuple[str, bool, bool]]) -> None:
    visitor = _Imports(PACKAGE / "core" / "module.py")
    visitor.visit(ast.parse(source))
    assert [(found.module, found.late, found.typing) for found in visitor.found] == expected
