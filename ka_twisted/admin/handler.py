"""The handler of the operator's listener: access first (`guard`), then the route."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import NamedTuple

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..core.errors import RemoteProtocolError
from ..observe.exposition import expose
from ..server.query import BadQuery, argument, whole
from ..server.request import Request
from ..server.response import Response
from .guard import FORM_LIMIT, Guard
from .interfaces import IServerView
from .page import HEADERS, NOTHING, Page
from .sampling import Sampler, Watcher

#: Connections that ``/connections.json`` shows of each kind unless it is asked otherwise, and at most.
CONNECTIONS, MOST_CONNECTIONS = 100, 10_000
#: Requests of each, at most.
REQUESTS = 1000

_READ, _DO = ("GET", "HEAD"), ("POST",)


class Route(NamedTuple):
    """
    What is at a path.

    :ivar methods: that it answers.
    :ivar free: whether it is answered without a token and for any Host: health checks have neither. The answer is one
        word.
    """

    methods: tuple[str, ...]
    answer: Callable[[Request], Response | Awaitable[Response]]
    free: bool = False


class AdminHandler:
    """
    Answers an operator: the handler of a `KeepAliveFactory`.

    :param view: what is shown.
    :param token: what has to be presented; empty: nothing, for an endpoint that only this machine can reach.
    :param reactor: the clock.
    :param wallClock: gives the seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self, view: IServerView, token: str, reactor: IReactorTime, wallClock: Callable[[], float] = time.time
    ) -> None:
        self._view = view
        self._guard = Guard(token)
        self._sampler = Sampler(view, reactor, wallClock)
        self._page = Page("operator", ["elements", "charts", "lists", "operator"])
        self._loginPage = Page("login")
        self._routes = {
            "/": Route(_READ, self._show),
            "/events": Route(_READ, self._events),
            "/metrics": Route(_READ, self._metrics),
            "/healthz": Route(_READ, lambda request: _word("alive"), free=True),
            "/readyz": Route(_READ, self._readiness, free=True),
            "/connections.json": Route(_READ, self._connections),
            "/drain": Route(_DO, self._drain),
        }
        if self._guard.hasToken:
            self._routes["/login"] = Route(_DO, self._logIn, free=True)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            return await self._answer(request)
        except BadQuery as error:
            return _word(str(error), 400)
        except (CancelledError, ConnectionDone, ConnectionLost, RemoteProtocolError):
            raise  # by the client: it is gone, or has sent too much
        except Exception:
            self._log.failure("operator's page: {method} {path} failed", method=request.method, path=request.path)
            return _word("internal error; see the log of the server", 500)

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get(request.path)
        if (route is None or not route.free) and (refused := self._refused(request)) is not None:
            return refused
        if route is None:
            return _word(f"{request.path} does not exist", 404)
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            return _word(f"{request.path} allows {allowed}, not {request.method}", 405, {"Allow": allowed})
        answer = route.answer(request)
        return await answer if isawaitable(answer) else answer

    def _refused(self, request: Request) -> Response | None:
        """The response to a request that may not be answered; None where it may."""
        sentence = self._guard.refusal(request)
        if sentence is not None:
            return _word(sentence, 403)
        if self._guard.admits(request):
            return None
        if request.path == "/" and request.method in _READ:
            return self._login("", 401)
        return _word("the operator's token is required", 401, _CHALLENGE)

    # -- routes -------------------------------------------------------------------------------------------------------

    def _show(self, request: Request) -> Response:
        return _html(self._page, self._page.html())

    def _events(self, request: Request) -> Response:
        unbuffered = {"X-Accel-Buffering": "no"}  # for a proxy in between
        return Response.stream(Watcher(self._sampler), headers=_fields("text/event-stream", unbuffered))

    async def _metrics(self, request: Request) -> Response:
        counts = await self._view.counts()
        data, kind = expose(counts, self._view.state, self._view.ready)
        return Response(200, data, _fields(kind))

    def _readiness(self, request: Request) -> Response:
        if self._view.ready:
            return _word("ready")
        state = self._view.state
        return _word("not ready" if state == "serving" else state, 503)

    async def _connections(self, request: Request) -> Response:
        if argument(request, "connection") is None:
            limit = whole(request, "limit", CONNECTIONS, MOST_CONNECTIONS)
            return _json(await self._view.connections(limit, whole(request, "requests", REQUESTS, REQUESTS)))
        number, pid = whole(request, "connection", 0, 1 << 62), whole(request, "pid", 0, 1 << 62)
        record = await self._view.connection(number, pid)
        return _word("this connection is not remembered", 404) if record is None else _json(record)

    def _drain(self, request: Request) -> Response:
        self._log.info("drain requested by the operator at {peer}", peer=request.connection.peer)
        self._view.drain()
        return _json({"state": self._view.state, "ready": self._view.ready}, 202)

    async def _logIn(self, request: Request) -> Response:
        refused = self._guard.refusal(request)
        if refused is not None:
            return _word(refused, 403)
        form = await request.read(FORM_LIMIT)
        if not self._guard.isTokenForm(form):
            self._log.warn("login with a wrong token from {peer}", peer=request.connection.peer)
            return self._login("Wrong token.", 403)
        headers = {"Location": "/", "Set-Cookie": self._guard.cookie(request)}
        return Response(303, b"", _fields("text/plain", headers))

    def _login(self, text: str, status: int) -> Response:
        return _html(self._loginPage, self._loginPage.html(text), status, _CHALLENGE if status == 401 else {})


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="operator"'}


def _fields(kind: str, more: dict[str, str] | None = None, policy: str = NOTHING) -> dict[str, str]:
    return {"Content-Type": kind, "Content-Security-Policy": policy, **HEADERS, **(more or {})}


def _html(page: Page, text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, text, _fields("text/html; charset=utf-8", headers, page.policy))


def _word(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """One word, or one sentence."""
    return Response(status, f"{text}\n", _fields("text/plain; charset=utf-8", headers))


def _json(value: object, status: int = 200) -> Response:
    return Response.json(value, status, _fields("application/json"))
