"""
The options of ``twistd keepalive``, read and checked before anything listens.

twistd answers a wrong option with the whole usage text on standard output. Here it is one sentence
on standard error, and status 1: `Options.parseOptions` ends the process itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any, NoReturn

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python import usage

from ..config import Limits, TcpKeepAlive, Timeouts
from .loading import ApplicationError, Handler, loadHandler, oneLine

DEFAULT_APPLICATION = "ka_twisted.playground:application"
DEFAULT_ENDPOINT = "tcp:8080:interface=127.0.0.1"
LOG_FORMATS = ("combined", "json")


def refuse(sentence: str) -> NoReturn:
    """End the process with one sentence on standard error, and status 1."""
    raise SystemExit(f"keepalive: {sentence}")


@dataclass(frozen=True)
class _Setting:
    """One number on the command line, and the field of `Timeouts` or `Limits` that it becomes."""

    option: str
    owner: type[Timeouts] | type[Limits]
    field: str
    doc: str
    convert: type[int] | type[float]

    def read(self, text: str) -> float:
        kind = "a number" if self.convert is float else "a whole number"
        try:
            value = self.convert(text)
        except ValueError:
            raise usage.UsageError(f"--{self.option} wants {kind}, not {text!r}") from None
        if not isfinite(value) or value < 0:
            raise usage.UsageError(f"--{self.option} must not be negative or infinite: {text}")
        return value

    def parameter(self) -> list[Any]:
        default = getattr(self.owner(), self.field)
        if isinstance(default, float) and default.is_integer():
            default = int(default)
        return [self.option, None, default, self.doc, self.read]


def _seconds(option: str, field: str, doc: str) -> _Setting:
    return _Setting(option, Timeouts, field, doc, float)


def _bound(option: str, field: str, doc: str, convert: type[int] | type[float] = int) -> _Setting:
    return _Setting(option, Limits, field, doc, convert)


SETTINGS = (
    _seconds("first-request-timeout", "firstRequest",
             "Seconds for the first request to begin; as --idle-timeout unless given."),
    _seconds("idle-timeout", "idle", "Seconds between two requests."),
    _seconds("header-timeout", "header", "Seconds for a whole header section."),
    _seconds("body-timeout", "body", "Seconds of silence within a request body."),
    _seconds("write-timeout", "write", "Seconds without progress while a response is sent."),
    _seconds("continue-timeout", "expectation",
             "Seconds the application may ponder before 100 Continue is sent for it."),
    _seconds("linger-timeout", "linger", "Seconds a peer is listened to after our side closed."),
    _seconds("drain-timeout", "drain", "Seconds for requests in service when the server stops."),
    _seconds("unread-timeout", "unread",
             "Seconds for reading away the unread rest of a body in order to keep the connection."),
    _bound("max-requests", "maxRequests", "Requests on one connection."),
    _bound("max-age", "maxAge",
           "Seconds after which the next response closes its connection.", float),
    _bound("max-connections", "maxConnections", "Connections at once."),
    _bound("max-connections-per-peer", "maxConnectionsPerPeer",
           "Connections at once from one address."),
    _bound("pipeline-depth", "pipelineDepth", "Requests in service at once on one connection."),
    _bound("max-header-bytes", "maxHeaderBytes", "Octets of a header section."),
    _bound("max-header-fields", "maxHeaderFields", "Fields of a header section."),
    _bound("max-line", "maxLine", "Octets of a request line."),
    _bound("max-body-bytes", "maxBodyBytes", "Octets of a request body."),
    _bound("min-body-rate", "minBodyRate",
           "Octets per second that a request body has to average.", float),
    _bound("read-ahead", "readAhead",
           "Octets received but not yet wanted, past which reading pauses."),
    _bound("unread-bytes", "unread",
           "Octets of an unread body that are read away to keep the connection."),
)  # fmt: skip


class Options(usage.Options):
    """
    What ``twistd keepalive`` was asked for.

    After `parseOptions`: `handler`, `timeouts`, `limits`, `tcpKeepAlive` and `endpoints` (pairs of
    the text and what it stands for) are set; the rest is under its name, as in any `usage.Options`.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves HTTP with a Python callable that gets a request and returns a response. "
        "Times are in seconds and may be fractions. 0 switches a timer off and lifts a limit. "
        "SIGTERM ends the server gracefully, a second signal at once."
    )
    optFlags = [
        ["check", None, "Check the options, the application and the endpoints; do not listen."],
    ]
    optParameters = [
        ["app", None, DEFAULT_APPLICATION,
         "The application, a callable handler(request), as module:attribute."],
        *(setting.parameter() for setting in SETTINGS),
        ["tcp-keepalive", None, None,
         "Switch the kernel's probes on: IDLE[:INTERVAL[:COUNT]], in seconds and probes."],
        ["access-log", None, None,
         "Write a line for each request to this file, or - for standard output."],
        ["log-format", None, "combined", "The form of these lines: combined or json."],
    ]  # fmt: skip

    handler: Handler
    timeouts: Timeouts
    limits: Limits
    tcpKeepAlive: TcpKeepAlive | None = None
    endpoints: list[tuple[str, IStreamServerEndpoint]]

    def __init__(self, reactor: Any = None) -> None:
        super().__init__()
        self["listen"] = []
        self._reactor = reactor

    def opt_listen(self, endpoint: str) -> None:
        """
        A Twisted endpoint to serve on, such as tcp:80, ssl:443 or unix:/run/app.socket;
        may be given several times. [default: tcp:8080:interface=127.0.0.1]
        """
        self["listen"].append(endpoint)

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        try:
            print(f"ka_twisted {version('ka_twisted')}")
        except PackageNotFoundError:
            print("ka_twisted (not installed)")
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        if args:
            raise usage.UsageError(f"there is no use for the argument {args[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line; end the process when it is wrong, or when only a check was asked for.

        :raises SystemExit: with one sentence (status 1); with status 0 after ``--check``.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            refuse(oneLine(error))
        if self["check"]:
            print("configuration is valid")
            raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Check all options together.

        :raises usage.UsageError: with one sentence, for the first thing that is wrong.
        """
        self.timeouts = self._settings(Timeouts)
        self.limits = self._settings(Limits)
        if self["tcp-keepalive"] is not None:
            try:
                self.tcpKeepAlive = TcpKeepAlive.fromString(self["tcp-keepalive"])
            except ValueError as error:
                raise usage.UsageError(f"--tcp-keepalive: {error}") from error
        self._checkLog()
        if not self["listen"]:
            self["listen"].append(DEFAULT_ENDPOINT)
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self.endpoints = [(text, self.endpoint(text)) for text in self["listen"]]
        try:
            self.handler = loadHandler(self["app"])
        except ApplicationError as error:
            raise usage.UsageError(f"--app: {error}") from error

    def endpoint(self, text: str) -> IStreamServerEndpoint:
        """
        Make the endpoint that a description stands for.

        :raises usage.UsageError: when it stands for none.
        """
        port = re.match(r"(?:tcp6?|ssl):(?:port=)?(-?\d+)(?::|$)", text)
        try:
            if port and not 0 <= int(port[1]) <= 65535:
                raise ValueError("a port is between 0 and 65535")
            if text.rstrip(":") == "unix":
                raise ValueError("the path of the socket is missing")
            endpoint: IStreamServerEndpoint = serverFromString(self._reactor, text)
        except Exception as error:  # an endpoint's parser may be anybody's and raise anything
            trouble = _endpointTrouble(text, error)
            raise usage.UsageError(f"--listen {text} is not an endpoint: {trouble}") from error
        return endpoint

    def _settings(self, owner: Callable[..., Any]) -> Any:
        values = {s.field: self[s.option] for s in SETTINGS if s.owner is owner}
        try:
            return owner(**values)
        except ValueError as error:
            raise usage.UsageError(_inOptions(str(error))) from error

    def _checkLog(self) -> None:
        if self["log-format"] not in LOG_FORMATS:
            raise usage.UsageError(
                f"--log-format is {' or '.join(LOG_FORMATS)}, not {self['log-format']!r}"
            )
        path = self["access-log"]
        if path == "-":
            if self.parent is not None and not self.parent.get("nodaemon", True):
                raise usage.UsageError("--access-log - needs twistd -n: a daemon has no output")
        elif path is not None:
            # twistd may change the working directory before the file is opened.
            self["access-log"] = os.path.abspath(path)
            trouble = _unwritable(path)
            if trouble:
                raise usage.UsageError(f"--access-log {path} cannot be written: {trouble}")


def _inOptions(sentence: str) -> str:
    """Name the options in a sentence about the fields of `Timeouts` and `Limits`."""
    for setting in SETTINGS:
        name = re.escape(f"{setting.owner.__name__}.{setting.field}")
        sentence = re.sub(rf"{name}\b", f"--{setting.option}", sentence)
    return sentence


def _unwritable(path: str) -> str | None:
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not path:
        return "it is a directory"
    if os.path.exists(path):
        return None if os.access(path, os.W_OK) else "permission denied"
    if not os.path.isdir(folder):
        return f"there is no directory {folder}"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"permission denied in {folder}"


def _endpointTrouble(text: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "OpenSSL":
        return "TLS needs the extra ka_twisted[tls]"
    if isinstance(error, LookupError) and text.startswith("systemd:"):
        return "systemd has not handed over such a socket"
    if isinstance(error, TypeError):  # a parser was called with arguments that it does not take
        return re.sub(r"^\S+\(\) ", "", oneLine(error))
    number = re.match(r"invalid literal for int\(\) with base \d+: (.*)", oneLine(error))
    return f"{number[1]} is not a number" if number else oneLine(error)
