"""
A stand-in for systemd: starts a service with descriptors, hears its notifications, keeps what it stores, and starts
the next with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.service.twistd import PATIENCE, TWISTD, environment

#: The shell is replaced by the command, so that both have the id that LISTEN_PID tells.
_SHELL = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh")


class Manager:
    """
    The manager of one service.

    :param sockets: listening sockets of its own, by name, as from socket units.
    :param reactor: the one to run the service on, as twistd names it.
    :param keeps: whether it keeps what is stored, as systemd does where FileDescriptorStoreMax= is set, and says so.
    :ivar arguments: of ``twistd keepalive``, for the next start.
    :ivar stored: descriptors that the service has stored, by name, in the order in which they came.
    :ivar heard: all fields that were sent, except those of descriptors.
    """

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str],
        sockets: Mapping[str, socket.socket],
        *,
        reactor: str = "default",
        keeps: bool = True,
    ) -> None:
        self._keeps = keeps
        self._directory = directory
        self.arguments = arguments
        self._sockets = dict(sockets)
        self._reactor = reactor
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._notify.settimeout(PATIENCE)
        self.stored: list[tuple[str, int]] = []
        self.heard: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the service, and wait until it is ready."""
        handed = [(name, sock.fileno()) for name, sock in self._sockets.items()] + self.stored
        variables = {
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "LISTEN_FDS": str(len(handed)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in handed),
            **({"FDSTORE": "64"} if self._keeps else {}),
        }

        def handOver() -> None:
            # Away from the numbers that they shall have, first.
            copies = [os.dup2(fd, 1000 + number) for number, (_, fd) in enumerate(handed)]
            for number, fd in enumerate(copies, 3):
                os.dup2(fd, number, inheritable=True)
                os.close(fd)

        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*_SHELL, *TWISTD, f"--reactor={self._reactor}", "-n", "--pidfile=", "keepalive", *self.arguments],
                cwd=self._directory, env={**environment(), **variables}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=handOver, close_fds=False,
            )  # fmt: skip
        self.waitFor("READY=1")

    def waitFor(self, field: str) -> None:
        """Hear the service until it says this."""
        while field not in self._hear():
            pass

    def stop(self) -> int:
        """Send SIGTERM and wait for the end; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self.waitFor("STOPPING=1")
        status = self._process.wait(PATIENCE)
        self._notify.settimeout(0)
        try:
            while True:
                self._hear()
        except BlockingIOError:
            self._notify.settimeout(PATIENCE)
        return status

    def kill(self) -> None:
        """End the service as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill the service, and forget what was stored."""
        self.kill()
        for _, fd in self.stored:
            os.close(fd)
        self._notify.close()

    def said(self) -> str:
        """The log of all processes."""
        return (self._directory / "log").read_text()

    def _hear(self) -> list[str]:
        try:
            data, fds, _, _ = socket.recv_fds(self._notify, 4096, 4)
        except TimeoutError:
            raise AssertionError(f"the service is passive:\n{self.said()}") from None
        for fd in fds:
            os.set_inheritable(fd, False)  # what Python receives, children would get past `handOver`
        fields = data.decode().split("\n")
        values = dict(field.partition("=")[::2] for field in fields)
        if "FDSTORE" in values:
            for fd in fds:
                if self._keeps:
                    self._store(values["FDNAME"], fd)
                else:
                    os.close(fd)
        elif "FDSTOREREMOVE" in values:
            for kept in [kept for kept in self.stored if kept[0] == values["FDNAME"]]:
                self.stored.remove(kept)
                os.close(kept[1])
        else:
            self.heard += fields
        return fields

    def _store(self, name: str, fd: int) -> None:
        """Keep a descriptor, unless it is kept already: systemd compares what is behind the numbers."""
        if any(os.path.sameopenfile(fd, kept) for _, kept in self.stored):
            os.close(fd)
        else:
            self.stored.append((name, fd))
