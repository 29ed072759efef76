"""
What systemd and a service say to each other: readiness, status, watchdog, and descriptors that were
handed over or are to be kept.

The datagrams are those of sd_notify(3), the variables those of sd_listen_fds(3) and
sd_watchdog_enabled(3). Nothing here raises because systemd is not there: a server serves without.
"""

from __future__ import annotations

import os
import socket
import time
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notifier", "StatusReporter", "closeUnused", "listenFds", "sendDatagram", "startEnvironment"]

_log = Logger()

#: The first descriptor that is handed over: SD_LISTEN_FDS_START of sd_listen_fds(3).
_FIRST = 3
#: The name of descriptors whose names were not told, as sd_listen_fds_with_names(3) calls them.
_NAMELESS = "unknown"
#: Seconds that a datagram may wait for room in systemd's queue. Any longer, and requests would wait as well.
_PATIENCE = 0.25


def sendDatagram(address: str, data: bytes, fds: Sequence[int] = (), *, seconds: float) -> None:
    """
    Send one datagram to a UNIX socket, with duplicates of descriptors.

    :param seconds: to wait for room in the queue of the other side; 0: not to wait.
    :raises OSError: when it cannot be sent.
    """
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(seconds)
        sender.connect(address)  # only then does the wait see the other side's queue
        sender.sendmsg([data], ancillary)


class Notifier:
    """
    Tells the service manager about this process, by datagrams on its socket.

    A datagram that cannot be sent is logged, once until one gets through again.

    :param address: of the socket: a path, or ``@`` and an abstract name.
    :param watchdog: seconds after which systemd takes a passive service for dead; None: it does not watch.
    :ivar keeps: whether it says that it keeps descriptors that are stored (FDSTORE, from systemd 254 on).
    """

    def __init__(self, address: str, *, watchdog: float | None = None, keeps: bool = False) -> None:
        self.watchdog = watchdog
        self.keeps = keeps
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._lost = False

    @classmethod
    def fromEnvironment(cls, environ: Mapping[str, str]) -> Notifier | None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID and FDSTORE; None where there is no service manager."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        if address[0] not in "/@" or len(address) == 1:
            _log.warn("NOTIFY_SOCKET is neither a path nor an abstract name: {address}", address=address)
            return None
        return cls(address, watchdog=_watchdog(environ), keeps=environ.get("FDSTORE", "0") not in ("", "0"))

    def ready(self) -> None:
        """The service serves, after its start or after a reload; this process is its main one."""
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time lets systemd match the two (Type=notify-reload)."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``."""
        self._send(f"STATUS={' '.join(text.split())}")

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or stop: so many seconds from now, unless more are left anyway."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def beat(self) -> None:
        """Tell the watchdog that the service lives."""
        self._send("WATCHDOG=1")

    def store(self, name: str, fd: int) -> None:
        """
        Have a duplicate of a descriptor kept for the next process of this service.

        It comes back by `listenFds`, under its name. systemd ignores what it keeps already, and more
        than FileDescriptorStoreMax=.

        :param name: at most 255 printable ASCII characters without ``:``.
        :raises ValueError: when the name is none.
        """
        self._send("FDSTORE=1", f"FDNAME={_checked(name)}", fds=[fd])

    def remove(self, name: str) -> None:
        """
        Have the descriptors of this name kept no longer.

        :raises ValueError: when the name is none.
        """
        self._send("FDSTOREREMOVE=1", f"FDNAME={_checked(name)}")

    def _send(self, *fields: str, fds: Sequence[int] = ()) -> None:
        try:
            sendDatagram(self._address, "\n".join(fields).encode(), fds, seconds=_PATIENCE)
        except OSError as error:
            if not self._lost:
                _log.warn("systemd cannot be told {field}: {error}", field=fields[0], error=error)
            self._lost = True
        else:
            self._lost = False


def _watchdog(environ: Mapping[str, str]) -> float | None:
    try:
        if int(environ.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return None  # it is another process that is watched, whose environment came here
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None


def _checked(name: str) -> str:
    if not (0 < len(name) <= 255 and name.isascii() and name.isprintable()) or ":" in name:
        raise ValueError(f"not the name of a stored descriptor: {name!r}")
    return name


def startEnvironment() -> Mapping[str, str]:
    """
    The environment that this process was started with.

    Twisted's endpoints take LISTEN_PID and LISTEN_FDS out of `os.environ` when they are imported.
    """
    try:
        data = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    variables = (os.fsdecode(variable).partition("=") for variable in data.split(b"\0"))
    return {name: value for name, _, value in variables}


def listenFds(environ: Mapping[str, str]) -> dict[str, list[int]]:
    """
    The descriptors that systemd has handed over to this process, from now on closed when it executes another.

    Their numbers are valid until they are closed or adopted: ask once.

    :param environ: best what `startEnvironment` tells.
    :return: by their names (FileDescriptorName=, FDNAME=), those of one name in systemd's order.
    """
    try:
        if int(environ["LISTEN_PID"]) != os.getpid():
            return {}
        count = int(environ["LISTEN_FDS"])
    except (KeyError, ValueError):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if len(names) != count:
        names = [_NAMELESS] * count
    found: dict[str, list[int]] = {}
    for fd, name in enumerate(names, _FIRST):
        try:
            os.set_inheritable(fd, False)
        except OSError:
            continue  # closed meanwhile
        found.setdefault(name, []).append(fd)
    return found


def closeUnused(fds: dict[str, list[int]], used: Collection[int], notifier: Notifier | None) -> None:
    """
    Close sockets that were handed over and that nothing listens on: clients would wait on them forever.

    :param fds: what is left of what `listenFds` has told; nothing is left after this.
    :param used: descriptors that are listened on: one of them may have the number of another that was closed.
    """
    for name, descriptors in fds.items():
        unused = [fd for fd in descriptors if fd not in used and _listens(fd)]
        for fd in unused:
            os.close(fd)
        if unused:
            _log.warn("systemd has handed over sockets that nothing listens on: {name}", name=name)
            if notifier is not None:
                notifier.remove(name)
    fds.clear()


def _listens(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # closed, or no socket
        return False


class StatusReporter:
    """
    Goes with a running service: renews its status, beats the watchdog, asks for time while it drains.

    All of it happens in turns of the reactor, so that one that is stuck is found dead.

    :param status: tells the line to show; one that has not changed is not sent again.
    """

    #: Seconds between two looks at the status.
    STATUS = 5.0
    #: Seconds between two requests for more time.
    EXTEND = 5.0
    #: Seconds that are asked for: two requests may be late before systemd loses patience.
    MARGIN = 15.0

    def __init__(self, notifier: Notifier, reactor: IReactorTime, *, status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._reactor = reactor
        self._status = status
        self._shown: str | None = None
        self._deadline = 0.0
        self._loops: list[LoopingCall] = []

    def start(self) -> None:
        """Show the status and beat the watchdog, now and from now on."""
        self._repeat(self._renew, self.STATUS)
        if self._notifier.watchdog is not None:
            # Half of the time, as sd_watchdog_enabled(3) recommends.
            self._repeat(self._notifier.beat, self._notifier.watchdog / 2)

    def draining(self, deadline: float) -> None:
        """
        Ask for the time that a drain takes, again and again, so that a stuck one is noticed.

        :param deadline: by the reactor's clock.
        """
        self._deadline = deadline
        self._renew()
        self._repeat(self._extend, self.EXTEND)

    def stop(self) -> None:
        """Fall passive."""
        loops, self._loops = self._loops, []
        for loop in loops:
            if loop.running:
                loop.stop()

    def _repeat(self, call: Callable[[], object], seconds: float) -> None:
        loop = LoopingCall(call)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(seconds)

    def _renew(self) -> None:
        try:
            text = self._status()
        except Exception:
            _log.failure("the status for systemd cannot be told")
            return
        if text != self._shown:
            self._shown = text
            self._notifier.status(text)

    def _extend(self) -> None:
        left = self._deadline - self._reactor.seconds()
        self._notifier.extend(min(max(left, 0.0) + self.EXTEND, self.MARGIN))
