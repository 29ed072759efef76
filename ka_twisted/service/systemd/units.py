"""
The units of systemd that serve with ``twistd keepalive``: one template for all of them.

`deploy/systemd/` holds what it makes for an ordinary installation, ``install-service`` what it makes for this one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...config import Timeouts

__all__ = ["FIRST_NOTIFY_RELOAD", "Socket", "Unit", "listenTables", "quoted"]

#: The first version of systemd that knows Type=notify-reload. Debian 12 has 252.
FIRST_NOTIFY_RELOAD = 253
#: Seconds to stop in beyond the drain: connections that linger, and the interpreter's own end.
_STOP_MARGIN = 10
#: Descriptors: two for each of 10,000 connections, as with a file that is sent, and as many again.
_LIMIT_NOFILE = 65536

_Lines = Iterator[str]


@dataclass(frozen=True)
class Socket:
    """
    A socket that systemd listens on for the service.

    :ivar name: by which the service takes it: FileDescriptorName=.
    :ivar address: as ListenStream= has it: ``0.0.0.0:80``, ``[::]:80``, a port, or the path of a UNIX socket.
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The address family, as Twisted's ``systemd:`` endpoints have it."""
        if self.address.startswith(("/", "@")):
            return "UNIX"
        return "INET" if re.match(r"\d+\.\d+\.\d+\.\d+:", self.address) else "INET6"

    @property
    def endpoint(self) -> str:
        """The endpoint that listens on it."""
        return f"systemd:domain={self.domain}:name={self.name}"

    def text(self, unit: Unit) -> str:
        """The socket unit."""
        return "\n".join(self._lines(unit)) + "\n"

    def _lines(self, unit: Unit) -> _Lines:
        yield f"# systemd listens, before {unit.name}.service has started and while it is replaced: connections wait."
        yield f'# The configuration has [[listen]] with endpoint = "{self.endpoint}" for it.'
        yield "[Unit]"
        yield f"Description=Socket {self.name} of {unit.description}"
        yield ""
        yield "[Socket]"
        yield f"ListenStream={self.address}"
        if self.domain == "INET6" and self.address.startswith("["):
            yield "# A client of IPv4 would be seen by an address such as ::ffff:192.0.2.1; it has a socket of its own."
            yield "BindIPv6Only=ipv6-only"
        yield f"FileDescriptorName={self.name}"
        yield "# Connections that wait while no process accepts them; net.core.somaxconn is the kernel's bound."
        yield "Backlog=4096"
        if self.domain == "UNIX":
            yield "SocketMode=0666"
            yield "RemoveOnStop=yes"
        yield f"Service={unit.name}.service"
        yield ""
        yield "[Install]"
        yield "WantedBy=sockets.target"


@dataclass(frozen=True)
class Unit:
    """
    The service.

    :ivar name: of the unit, without ``.service``; the dynamic user has it as well.
    :ivar command: what runs it: twistd, as a list of words.
    :ivar config: the path of the configuration file.
    :ivar directory: where it runs, and where applications are imported from.
    :ivar user: a service of a user, whose manager may not do all that the system's may.
    :ivar account: runs under this account; None: under one that exists only while it runs.
    :ivar readsHome: whether parts of it lie in a home directory.
    :ivar tls: whether it may have to speak TLS.
    :ivar lowPorts: whether it binds ports below 1024 itself.
    :ivar version: of systemd.
    """

    name: str
    command: Sequence[str]
    config: str
    directory: str
    sockets: Sequence[Socket] = ()
    user: bool = False
    account: str | None = None
    readsHome: bool = False
    tls: bool = False
    lowPorts: bool = False
    version: int = FIRST_NOTIFY_RELOAD - 1
    timeouts: Timeouts = field(default_factory=Timeouts)

    @property
    def description(self) -> str:
        """What the journal calls it."""
        return f"HTTP server {self.name}"

    @property
    def stopSeconds(self) -> int:
        """What systemd waits for the end, from SIGTERM on."""
        return round(self.timeouts.drainDelay + self.timeouts.drain + self.timeouts.linger) + _STOP_MARGIN

    def files(self) -> dict[str, str]:
        """All units, by their file names."""
        sockets = {f"{self.socketUnit(place)}.socket": place.text(self) for place in self.sockets}
        return {f"{self.name}.service": "\n".join(self._lines()) + "\n", **sockets}

    def socketUnit(self, place: Socket) -> str:
        """The name of a socket's unit, without ``.socket``."""
        return self.name if len(self.sockets) == 1 else f"{self.name}-{place.name}"

    def words(self) -> list[str]:
        """The command and its arguments."""
        logger = "--logger=ka_twisted.service.systemd.journal.observer"
        return [*self.command, "-n", "--pidfile=", logger, "keepalive", "--config", self.config]

    def _lines(self) -> _Lines:
        yield "[Unit]"
        yield f"Description={self.description}"
        if not self.user:
            yield "# An address that is bound by its name or number has to be there."
            yield "Wants=network-online.target"
            yield "After=network-online.target"
        yield "# Five failures within a minute, and it stays down."
        yield "StartLimitIntervalSec=60"
        yield "StartLimitBurst=5"
        yield ""
        yield "[Service]"
        yield from self._run()
        yield ""
        yield from self._stop()
        yield ""
        if not self.user:
            yield from self._account()
            yield ""
            yield from self._files()
            yield ""
            yield from self._kernel()
            yield ""
        yield from self._seccomp()
        yield ""
        yield "[Install]"
        yield f"WantedBy={'default' if self.user else 'multi-user'}.target"

    def _run(self) -> _Lines:
        if self.version >= FIRST_NOTIFY_RELOAD:
            yield "# READY, STOPPING and STATUS are told; systemctl reload sends SIGHUP and waits for its end."
            yield "Type=notify-reload"
        else:
            yield "# READY, STOPPING and STATUS are told. Type=notify-reload without ExecReload= lets systemctl reload"
            yield f"# wait for its end, from systemd {FIRST_NOTIFY_RELOAD} on."
            yield "Type=notify"
            yield "ExecReload=kill -HUP $MAINPID"
        yield "NotifyAccess=main"
        if self.sockets:
            names = " ".join(f"{self.socketUnit(place)}.socket" for place in self.sockets)
            yield f"Sockets={names}"
        yield f"WorkingDirectory={self.directory.replace('%', '%%')}"
        yield f"ExecStart={' '.join(map(quoted, self.words()))}"
        yield "# Where it was when it crashed, or when the watchdog killed it, is in the journal."
        yield "Environment=PYTHONFAULTHANDLER=1"
        yield "# Every option has a variable, which wins over the configuration: Environment=KA_TWISTED_IDLE_TIMEOUT=20"
        yield f"LimitNOFILE={_LIMIT_NOFILE}"

    def _stop(self) -> _Lines:
        yield "# A crash, or an event loop that is blocked for so long, is followed by a new process on the old"
        yield "# sockets: they are stored with systemd, and connections wait in them."
        yield "Restart=on-failure"
        yield "RestartSec=100ms"
        yield "WatchdogSec=20s"
        yield "FileDescriptorStoreMax=64"
        yield "TimeoutStartSec=60s"
        yield "# --drain-delay, --drain-timeout and --linger-timeout, as they are by default, and some more. A drain"
        yield "# that is set to last longer asks for its time while it goes on."
        yield f"TimeoutStopSec={self.stopSeconds}s"
        yield "# The main process ends its workers itself, each when it is drained."
        yield "KillMode=mixed"

    def _account(self) -> _Lines:
        if self.account is None:
            yield "# An account that exists only while the service runs."
            yield "DynamicUser=yes"
        else:
            yield f"User={self.account}"
        yield "UMask=0077"
        if self.lowPorts:
            yield "# It may bind ports below 1024, and nothing else that is root's."
            yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
            yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
        else:
            yield "# Nothing that is root's. A port below 1024 takes a socket unit; or CAP_NET_BIND_SERVICE here and in"
            yield "# AmbientCapabilities=, and no PrivateUsers=."
            yield "CapabilityBoundingSet="
            yield "PrivateUsers=yes"
        yield "NoNewPrivileges=yes"

    def _files(self) -> _Lines:
        yield "# Everything is read-only but two directories: for UNIX sockets below /run, for logs below /var/log."
        yield "ProtectSystem=strict"
        yield f"RuntimeDirectory={self.name}"
        yield "# It outlives a restart: so do UNIX sockets in it, which are stored."
        yield "RuntimeDirectoryPreserve=restart"
        yield f"LogsDirectory={self.name}"
        yield f"ProtectHome={'read-only' if self.readsHome else 'yes'}"
        yield "PrivateTmp=yes"
        yield "PrivateDevices=yes"
        yield "DevicePolicy=closed"
        yield "ProtectProc=invisible"
        yield "ProcSubset=pid"

    def _kernel(self) -> _Lines:
        yield "ProtectClock=yes"
        yield "ProtectControlGroups=yes"
        yield "ProtectHostname=yes"
        yield "ProtectKernelLogs=yes"
        yield "ProtectKernelModules=yes"
        yield "ProtectKernelTunables=yes"
        yield "PrivateIPC=yes"
        yield "RemoveIPC=yes"
        yield "KeyringMode=private"

    def _seccomp(self) -> _Lines:
        if self.user:
            yield "NoNewPrivileges=yes"
        yield "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"
        yield "RestrictNamespaces=yes"
        yield "RestrictRealtime=yes"
        yield "RestrictSUIDSGID=yes"
        yield "LockPersonality=yes"
        yield "# pyOpenSSL makes its callbacks in memory that is written and executed: TLS in this process takes =no."
        yield f"MemoryDenyWriteExecute={'no' if self.tls else 'yes'}"
        yield "SystemCallArchitectures=native"
        yield "SystemCallFilter=@system-service"
        yield "SystemCallFilter=~@privileged @resources"
        yield "SystemCallErrorNumber=EPERM"


def listenTables(endpoints: Sequence[str]) -> str:
    """The part of a configuration file that listens on these."""
    # The texts of JSON are those of TOML, as long as they have no DEL.
    return "".join(f"\n[[listen]]\nendpoint = {json.dumps(endpoint)}\n" for endpoint in endpoints)


def quoted(word: str) -> str:
    """
    A word for ExecStart=, where ``%`` and ``$`` mean something and quotes and backslashes as well.

    >>> quoted("tcp:80"), quoted("50% off")
    ('tcp:80', '"50%% off"')
    """
    text = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w%$+=:,./@-]+", word, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
