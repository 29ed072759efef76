"""The servers that are compared, as data: how each is started, and how what it needs is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: What every server is asked, and the body that it answers.
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
EXPECTED = b"hello world\n"

#: Makes the command line of a server for a port; a folder for its files goes with it.
Command = Callable[[int, Path], list[str]]


@dataclass(frozen=True)
class Peer:
    """
    A server that can be measured. No name has a comma: names are listed with commas.

    :ivar modules: have to be importable.
    :ivar programs: have to be found.
    :ivar install: how to get what it needs, in one line.
    :ivar reactor: has to be known to Twisted, by its short name.
    :ivar variables: of its environment, beside those of this process.
    """

    name: str
    command: Command
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    install: str = ""
    reactor: str = ""
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def missing(self) -> list[str]:
        """What it needs and is not there."""
        missing = [name for name in self.modules if find_spec(name) is None]
        missing += [name for name in self.programs if shutil.which(name) is None]
        if not missing and self.reactor and self.reactor not in _reactors():
            missing.append(f"Twisted's reactor {self.reactor!r}")
        return missing


def _reactors() -> set[str]:
    """The short names of the reactors that Twisted knows."""
    from twisted.application.reactors import getReactorTypes

    return {installer.shortName for installer in getReactorTypes()}


def module(name: str, *, folder: bool = False) -> Command:
    """A server of `benchmarks.servers`, which takes its port, and, where it serves files, the folder of them."""

    def command(port: int, place: Path) -> list[str]:
        line = [sys.executable, "-m", f"benchmarks.servers.{name}", str(port)]
        return [*line, str(place)] if folder else line

    return command


def on_twisted(name: str, application: str, *, reactor: str = "default", folder: bool = False) -> Peer:
    """
    A factory of `benchmarks.servers` on one of Twisted's reactors.

    :param application: ``MODULE:FUNCTION``.
    :param reactor: its short name, as ``twistd --reactor`` has it.
    :param folder: whether the function takes the folder of the server's files.
    """
    modules: tuple[str, ...]
    if reactor == "uvloop":
        modules, install = ("ka_twisted", "uvloop"), "pip install '.[uvloop]'"
    elif application.startswith("ours:"):
        modules, install = ("ka_twisted",), "pip install ."
    else:
        modules, install = ("twisted",), "pip install twisted"

    def command(port: int, place: Path) -> list[str]:
        line = [sys.executable, "-m", "benchmarks.servers.on_twisted", application, str(port), reactor]
        return [*line, str(place)] if folder else line

    return Peer(name, command, modules, (), install, reactor)


def twistd(name: str, *arguments: str) -> Command:
    """A plug-in of twistd, as its users start it; ``FOLDER`` in its arguments is the server's folder."""

    def command(port: int, folder: Path) -> list[str]:
        start = "from twisted.scripts.twistd import run; run()"
        options = ["--nodaemon", "--pidfile=", name, "--listen", f"tcp:{port}:interface=127.0.0.1:backlog=1024"]
        return [sys.executable, "-c", start, *options, *(text.replace("FOLDER", str(folder)) for text in arguments)]

    return command


def uvicorn(application: str) -> Command:
    """uvicorn with what makes it fastest."""

    def command(port: int, folder: Path) -> list[str]:
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        lifespan = ["--lifespan", "off", "--timeout-keep-alive", "75"]
        where = f"benchmarks.servers.applications:{application}"
        return [sys.executable, "-m", "uvicorn", where, "--port", str(port), *options, *lifespan]

    return command


def _granian(interface: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = f"benchmarks.servers.applications:{interface}"
        options = ["--interface", interface, "--http", "1", "--no-ws", "--no-access-log", "--loop", "uvloop"]
        quiet = ["--log-level", "error", "--backpressure", "16384"]
        return [sys.executable, "-m", "granian", application, "--port", str(port), *options, *quiet]

    return command


def nginx(locations: str) -> Command:
    """One worker of nginx with these locations, in its own language; ``FOLDER`` in them is the server's folder."""

    def command(port: int, folder: Path) -> list[str]:
        folder.chmod(0o755)  # what serves the files is another user, where this one is root
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75; client_max_body_size 0; sendfile on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; default_type text/plain;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    {locations.replace("FOLDER", str(folder))}
  }}
}}
"""
        )
        return ["nginx", "-p", str(folder), "-c", str(configuration)]

    return command


def _node(port: int, folder: Path) -> list[str]:
    return ["node", str(HERE / "servers" / "node_server.js"), str(port)]


UVICORN = (("uvicorn", "httptools", "uvloop"), (), "pip install 'uvicorn[standard]'")
AIOHTTP = (("aiohttp", "uvloop"), (), "pip install aiohttp uvloop")
NGINX = ((), ("nginx",), "apt-get install nginx-light")
_TWISTED = (("twisted",), (), "pip install twisted")
_INSTALLED = (("ka_twisted",), (), "pip install .")
_APPLICATION = ("--app", "benchmarks.servers.ours:answer", "--max-connections", "20000")
_GRANIAN = (("granian", "uvloop"), (), "pip install granian uvloop")

OURS = "ka_twisted"
#: The servers that answer a request with the same twelve bytes.
PEERS = (
    on_twisted(OURS, "ours:hello"),
    on_twisted("ka_twisted on uvloop", "ours:hello", reactor="uvloop"),
    on_twisted("twisted.web", "twisted_web:hello"),
    on_twisted("twisted.web without log line", "twisted_web:silent"),
    Peer("twistd keepalive", twistd("keepalive", *_APPLICATION), *_INSTALLED),
    Peer("twistd keepalive with log", twistd("keepalive", *_APPLICATION, "--access-log", "FOLDER/access"), *_INSTALLED),
    Peer("twistd web", twistd("web", "--class", "benchmarks.servers.twisted_web.Hello"), *_TWISTED),
    Peer("uvicorn", uvicorn("asgi"), *UVICORN),
    Peer("granian ASGI", _granian("asgi"), *_GRANIAN),
    Peer("granian RSGI", _granian("rsgi"), *_GRANIAN),
    Peer("aiohttp", module("aiohttp_server"), *AIOHTTP),
    Peer("freastal WSGI", module("freastal_server"), ("freastal",), (), "pip install freastal"),
    Peer("Node http", _node, (), ("node",), "apt-get install nodejs"),
    Peer("nginx", nginx(r'location / { return 200 "hello world\n"; }'), *NGINX),
)
#: What a Twisted protocol could reach that did nothing but answer: these read no request.
CEILINGS = (
    on_twisted("constant answer", "constant:at_once"),
    on_twisted("constant answer on uvloop", "constant:written", reactor="uvloop"),
)


def names(text: str) -> frozenset[str]:
    """
    The names in a list with commas, as they are compared.

    :raises ValueError: for a name that no peer has.
    """
    wanted = frozenset(name.strip().lower() for name in text.split(","))
    known = [peer.name for peer in (*PEERS, *CEILINGS)]
    if unknown := wanted - {name.lower() for name in known}:
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return wanted


def chosen(peers: Iterable[Peer], wanted: frozenset[str] | None) -> list[Peer]:
    """Those of the peers that are wanted (see `names`), and ours in any case; None: all."""
    return [peer for peer in peers if wanted is None or peer.name == OURS or peer.name.lower() in wanted]


def present(peers: Iterable[Peer], tell: Callable[[str], None]) -> list[Peer]:
    """The peers that can be run; what the others lack is told."""
    found = []
    for peer in peers:
        if peer.missing:
            tell(f"skipping {peer.name}: {', '.join(peer.missing)} is missing ({peer.install})")
        else:
            found.append(peer)
    return found
