"""
Write the units of systemd and a commented configuration for this installation of ka_twisted: its interpreter, its
working directory, its reactor. Prints what it would write, and where, unless --write is given.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..configuration import addresses
from .units import FIRST_NOTIFY_RELOAD, Socket, Unit, listenTables

#: Names of units that are names of users as well, which DynamicUser= makes of them.
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
#: FileDescriptorName=, and still a word in an endpoint.
_SOCKET_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
#: What ListenStream= takes for a stream: a path, an abstract name, a port, an address with a port.
_ADDRESS = re.compile(r"[/@]\S+|(?:(?:\d+\.){3}\d+:|\[[0-9a-fA-F:.]+\]:)?\d{1,5}")
_LOW_PORT = re.compile(r"(?:tcp6?|ssl):(?:port=)?0*(\d+)")
#: Trees that are the homes of people: ProtectHome=.
_HOMES = ("/home", "/root", "/run/user")
#: Trees that PrivateTmp= replaces by empty ones.
_TEMPORARY = ("/tmp", "/var/tmp")


class InstallError(Exception):
    """The service cannot be installed so; the text is one sentence."""


@dataclass(frozen=True)
class Installation:
    """
    What the units are to start.

    :ivar command: twistd with its reactor.
    :ivar places: directories that the service has to see.
    :ivar tls: whether the packages for TLS are there.
    :ivar systemd: its version, as far as one can be asked.
    """

    command: tuple[str, ...]
    places: tuple[str, ...]
    tls: bool
    systemd: int

    @classmethod
    def here(cls) -> Installation:
        """That of the interpreter that runs this."""
        script = Path(sys.executable).with_name("twistd")
        program = (
            (str(script),)
            if script.is_file()
            else (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
        )
        reactor = ("--reactor=uvloop",) if importlib.util.find_spec("uvloop") else ()
        return cls(
            command=(*program, *reactor),
            places=tuple(dict.fromkeys((sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])))),
            tls=importlib.util.find_spec("OpenSSL") is not None,
            systemd=_systemdVersion(),
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what `run` understands."""
    add = parser.add_argument
    add("--name", default="ka_twisted", metavar="NAME", help="of the service and its files (default: %(default)s)")
    add("--app", metavar="MODULE:ATTRIBUTE", help="the application, as for twistd keepalive")
    add(
        "--listen",
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="where the service itself listens, as for twistd keepalive; may be given several times",
    )
    add(
        "--socket",
        action="append",
        default=[],
        metavar="[NAME=]ADDRESS",
        help="where systemd listens for the service, by a socket unit, such as 0.0.0.0:80 or local=/run/app.socket; "
        "may be given several times",
    )
    add(
        "--directory",
        default=".",
        metavar="DIRECTORY",
        help="where it runs, and applications are imported from (default: the present one)",
    )
    add("--config", metavar="FILE", help="the configuration file (default: /etc/NAME/NAME.toml, or ~/.config/...)")
    add("--run-as", metavar="ACCOUNT", help="an account to run it, instead of one that exists only while it runs")
    add("--user", action="store_true", help="for the service manager of this user, not that of the system")
    add("--root", default="", metavar="DIRECTORY", help="write below this directory, for a package or an image")
    add("--write", action="store_true", help="write the files; without it, they are printed only")
    add("--force", action="store_true", help="replace units that are there already; a configuration is never replaced")


def run(
    namespace: argparse.Namespace,
    installation: Installation | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """
    Print or write the files.

    :param installation: instead of this one.
    :return: 0; 2, with a sentence on standard error, when that cannot be done; then nothing was written.
    """
    out, err = stdout or sys.stdout, stderr or sys.stderr
    try:
        plan = Plan(namespace, installation or Installation.here())
        for note in plan.notes():
            print(f"note: {note}", file=err)
        if namespace.write:
            plan.write(namespace.force, out)
        else:
            plan.show(out)
    except InstallError as error:
        print(f"install-service: {error}", file=err)
        return 2
    return 0


def _endpoint(text: str) -> str:
    """The endpoint that ``--listen`` means."""
    try:
        return addresses.description(text)
    except ValueError as error:
        raise InstallError(f"--listen{error}") from None


class Plan:
    """
    The files of one service, and where they belong.

    :raises InstallError: when the arguments do not describe a service.
    """

    def __init__(self, arguments: argparse.Namespace, installation: Installation) -> None:
        if not _NAME.fullmatch(arguments.name):
            raise InstallError(
                f"--name is of at most 31 small letters, digits, - and _, and begins with a letter: {arguments.name!r}"
            )
        if arguments.user and arguments.run_as:
            raise InstallError("--run-as is for a service of the system, and --user asks for one of this user")
        self._arguments = arguments
        self._listen = list(map(_endpoint, arguments.listen))
        self._installation = installation
        self._root = arguments.root
        self._directory = os.path.abspath(arguments.directory)
        self.config = os.path.abspath(arguments.config or os.path.join(self._configHome(), f"{arguments.name}.toml"))
        self._places = tuple(dict.fromkeys((*installation.places, self._directory)))
        self.unit = self._unit()

    def units(self) -> dict[str, str]:
        """The texts of the units by their paths."""
        folder = os.path.expanduser("~/.config/systemd/user") if self._arguments.user else "/etc/systemd/system"
        return {self._below(os.path.join(folder, name)): text for name, text in self.unit.files().items()}

    def configuration(self) -> str:
        """The text of the configuration file."""
        from ..configuration.example import example

        text = example()
        if self._arguments.app:
            text = _with(text, f"app = {json.dumps(self._arguments.app)}")
        return text + listenTables([*(place.endpoint for place in self.unit.sockets), *self._listen])

    def notes(self) -> Iterator[str]:
        """What the administrator should know."""
        if not self._arguments.user:
            for path in self._places:
                if _isBelow(path, _TEMPORARY):
                    yield f"the service will not see {path}: its directories for temporary files are its own"
                elif not _isOpen(path):
                    yield f"the service can see {path} only when its account may enter it: see --run-as"
        path, asked = self._below(self.config), self._arguments
        if os.path.lexists(path) and (asked.app or asked.listen or asked.socket):
            yield f"{path} is there and stays: see that it has what --app, --listen and --socket ask for"

    def show(self, out: TextIO) -> None:
        """Print everything."""
        for path, text in {**self.units(), self._below(self.config): self.configuration()}.items():
            print(f"==> {path} <==\n{text}", file=out)
        print("Nothing was written; --write writes these files.", file=out)

    def write(self, force: bool, out: TextIO) -> None:
        """
        Write everything, or nothing.

        :raises InstallError: when a unit is there and differs, or a file cannot be written.
        """
        units, config = self.units(), self._below(self.config)
        for path, text in units.items():
            if not force and _read(path) not in (None, text):
                raise InstallError(f"{path} is there and differs; --force replaces it")
        files = dict(units) if os.path.lexists(config) else {**units, config: self.configuration()}
        for path, text in files.items():
            _write(path, text)
            print(f"wrote {path}", file=out)
        if config not in files:
            print(f"kept {config}", file=out)
        control = "systemctl --user" if self._arguments.user else "systemctl"
        start = f"{control} daemon-reload && {control} enable --now {' '.join(self._toEnable())}"
        print(f"Start it with: {start}", file=out)

    def _toEnable(self) -> list[str]:
        return [name for name in self.unit.files() if name.endswith(".socket")] + [f"{self.unit.name}.service"]

    def _configHome(self) -> str:
        return os.path.join(os.path.expanduser("~/.config") if self._arguments.user else "/etc", self._arguments.name)

    def _below(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/")) if self._root else path

    def _unit(self) -> Unit:
        arguments, installation = self._arguments, self._installation
        ports = [int(found[1]) for found in map(_LOW_PORT.match, self._listen) if found]
        return Unit(
            arguments.name,
            installation.command,
            self.config,
            self._directory,
            sockets=_sockets(arguments.socket),
            user=arguments.user,
            account=arguments.run_as,
            readsHome=any(_isBelow(path, _HOMES) for path in (*self._places, self.config)),
            tls=installation.tls,
            lowPorts=any(0 < port < 1024 for port in ports),
            version=installation.systemd,
        )


def _sockets(descriptions: Sequence[str]) -> tuple[Socket, ...]:
    found: dict[str, Socket] = {}
    for description in descriptions:
        name, equals, address = description.rpartition("=")
        name = name if equals else "web"
        if not _SOCKET_NAME.fullmatch(name):
            raise InstallError(f"--socket {description} has no name of letters, digits, '.', '-' and '_' before the =")
        if not _ADDRESS.fullmatch(address):
            raise InstallError(f"--socket {description} has no address such as 0.0.0.0:80, [::]:80, 80 or a path")
        if name in found:
            raise InstallError(f"two sockets are called {name}; --socket NAME={address} gives this one another name")
        found[name] = Socket(name, address)
    return tuple(found.values())


def _with(text: str, line: str) -> str:
    """An example with a line that sets something, instead of the one with the default."""
    key = re.escape(line.partition(" = ")[0])
    return re.sub(rf"(?m)^#{key}(?: = .*)?$", lambda _: line, text, count=1)


def _isBelow(path: str, folders: Sequence[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _isOpen(path: str) -> bool:
    """Whether anybody may enter a directory."""
    try:
        return all(place.stat().st_mode & stat.S_IXOTH for place in (Path(path), *Path(path).parents))
    except OSError:
        return True  # it is not there yet


def _systemdVersion() -> int:
    """As systemctl tells it; where there is none, the last that does not know Type=notify-reload."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return FIRST_NOTIFY_RELOAD - 1
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else FIRST_NOTIFY_RELOAD - 1


def _read(path: str) -> str | None:
    """The text of a file; None where there is none."""
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InstallError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from error


def _write(path: str, text: str) -> None:
    """Replace a file as a whole, so that no reader sees a part of it."""
    beside = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(beside).write_text(text, "utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise InstallError(f"{path} cannot be written: {error.strerror}") from error
