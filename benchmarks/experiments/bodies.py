"""Large bodies, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..figures import Case, Sample
from ..peers import AIOHTTP, NGINX, OURS, UVICORN, Peer, chosen, module, nginx, on_twisted, present, uvicorn
from ..processes import PeerFailed, Server, ask, measured, running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
Bytes of messages that go through each second (MB are 10^6 bytes): bodies of 64 KiB on 16 connections, of 64 MiB on 2.
`benchmarks/transfer.py` is the client; where "processor" says that the server was not busy all the time, the client or
the kernel was the limit, and the server could do more.

- *Download, from memory*: the application answers with one `bytes` object. nginx has no such thing.
- *Download, from a file*: `Response.file`, aiohttp's `FileResponse`, and nginx's static files with `sendfile`; the file
  is in the page cache. uvicorn and twisted.web's Request serve no files themselves.
- *Upload*: the application reads the body piece by piece as it arrives, counts its bytes, and answers with their
  number. twisted.web has the whole body (in a temporary file when it is large) before the application sees the request.
  nginx answers with `return 200` at once, and reads and discards the body before it looks at the next request."""


@dataclass(frozen=True)
class _Size:
    name: str
    data: int
    connections: int


_SIZES = (_Size("64 KiB", 1 << 16, 16), _Size("64 MiB", 1 << 26, 2))


@dataclass(frozen=True)
class _Way:
    """
    How a body goes.

    :ivar title: with a place for the size.
    :ivar path: of downloads, with a place for the number of bytes; empty: an upload.
    """

    title: str
    path: str


_MEMORY = _Way("download, {} from memory", "/memory/{}")
_FILE = _Way("download, {} from a file", "/file/{}")
_UPLOAD = _Way("upload, {}", "")
_ALL = (_MEMORY, _FILE, _UPLOAD)


_NGINX = r"""location = / { return 200 "hello world\n"; }
    location /file/ { alias FOLDER/; }
    location = /upload { return 200 "$content_length\n"; }"""


def _with_files(peer: Peer) -> Peer:
    """The same server, whose folder has a file of each size, named after its bytes."""

    def command(port: int, folder: Path) -> list[str]:
        for size in _SIZES:
            (folder / str(size.data)).write_bytes(b"x" * size.data)
        return peer.command(port, folder)

    return replace(peer, command=command)


#: The servers, and what they can do.
PEERS: tuple[tuple[Peer, tuple[_Way, ...]], ...] = (
    (_with_files(on_twisted(OURS, "ours:bodies", folder=True)), _ALL),
    (_with_files(on_twisted("ka_twisted on uvloop", "ours:bodies", reactor="uvloop", folder=True)), _ALL),
    (on_twisted("twisted.web without log line", "twisted_web:bodies"), (_MEMORY, _UPLOAD)),
    (Peer("uvicorn", uvicorn("bodies"), *UVICORN), (_MEMORY, _UPLOAD)),
    (_with_files(Peer("aiohttp", module("aiohttp_server", folder=True), *AIOHTTP)), _ALL),
    (_with_files(Peer("nginx", nginx(_NGINX), *NGINX)), (_FILE, _UPLOAD)),
)


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every way, every size, every server that can do it."""
    peers = present(chosen((peer for peer, _ in PEERS), settings.peers), tell)
    able = {peer.name: ways for peer, ways in PEERS}
    cases = {(way, size): Case(way.title.format(size.name), "MB/s") for way in _ALL for size in _SIZES}

    def task(way: _Way, size: _Size, peer: Peer) -> Task:
        case = cases[way, size]

        def measure() -> Mapping[str, Sample]:
            with running(peer) as server:
                return {case.name: _transferred(server, way, size, settings.seconds)}

        return Task(case.name, peer.name, (case,), measure)

    return Experiment(
        "bodies",
        "Large bodies",
        ABOUT,
        tuple(Chart(case.name, Kind.RANKING, (case,)) for case in cases.values()),
        tuple(task(way, size, peer) for way, size in cases for peer in peers if way in able[peer.name]),
    )


def _transferred(server: Server, way: _Way, size: _Size, seconds: int) -> Sample:
    """
    How fast bodies go, after one of them was looked at.

    :raises PeerFailed, LoadFailed: when there is no figure to be had.
    """
    path = way.path.format(size.data) or "/upload"
    if way.path:
        _, body = ask(server.port, "GET", path)
        if len(body) != size.data:
            raise PeerFailed(f"{len(body)} bytes came of {size.data}")
        options = []
    else:
        _, body = ask(server.port, "POST", path, b"x" * size.data)
        if body.strip() != b"%d" % size.data:
            raise PeerFailed(f"says {body[:40]!r} of {size.data} bytes")
        options = ["--upload", str(size.data)]
    options += ["--connections", str(size.connections), "--seconds", str(seconds)]
    found = measured("transfer", str(server.port), str(server.pid), path, *options, seconds=seconds)
    return Sample(found["rate"], busy=found["busy"])
