"""
What one server is asked to be: a value, wherever it was written down.

The command line (`options`) and the configuration file make a `Configuration`; the service, the workers and the checks
read it. Two equal configurations mean the same server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from ...config import Limits, Policy, TcpKeepAlive, Timeouts, Tls
from ..applications.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """
    A place where connections are accepted.

    :ivar endpoint: the description of a Twisted endpoint, without TLS: ``tcp:80``, ``unix:/run/app.socket``.
    :ivar tls: how it speaks TLS; None: it does not.
    :ivar proxies: the networks whose connections begin with a PROXY header that is believed.
    """

    endpoint: str
    tls: Tls | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """
    The operator's listener.

    :ivar endpoint: the description of a Twisted endpoint.
    :ivar token: what a request has to present; empty: nothing, which is for loopback and UNIX sockets alone.
    """

    endpoint: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """
    A server.

    :ivar accessLog: a path, or ``-`` for standard output; None: no log.
    :ivar logFormat: ``combined``, ``json`` or a text with directives.
    :ivar trustedProxies: the networks of proxies that are believed about the client of a request.
    :ivar workers: processes that share the listeners; 0: this process serves by itself.
    :ivar workerTimeout: seconds within which the reactor of each has to turn; 0: it need not.
    :ivar workerStartTimeout: seconds within which each has to become ready; 0: as long as it takes.
    :ivar workerMaxRequests: after so many requests each is replaced; 0: never for that.
    :ivar workerMaxAge: after so many seconds each is replaced; 0: never for that.
    :ivar workerMaxMemory: past so many bytes of resident memory each is replaced; 0: never for that.
    """

    listeners: tuple[Listener, ...]
    timeouts: Timeouts
    limits: Limits
    policy: Policy = field(default_factory=Policy)
    sites: tuple[Site, ...] = (Site(),)
    tcpKeepAlive: TcpKeepAlive | None = None
    accessLog: str | None = None
    logFormat: str = "combined"
    trustedProxies: tuple[IPv4Network | IPv6Network, ...] = ()
    admin: Admin | None = None
    workers: int = 0
    workerTimeout: float = 30.0
    workerStartTimeout: float = 60.0
    workerMaxRequests: int = 0
    workerMaxAge: float = 0.0
    workerMaxMemory: int = 0
