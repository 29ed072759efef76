"""
From a request to its response: what is asked of the application, and what becomes of what it returns and raises.

Written against `stream.ServerStream`; the state is that of the request and its stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from ..core.headers import encode_text, trailer_fields
from ..core.reasons import CloseReason
from ..net.bodies import BodySource, begun, discard, send, statedLength
from . import upgrade
from .awaiting import TaskResult, firstStep, resumed, runningLoop, waiting
from .hooks import Hooks
from .request import Request
from .response import Response, Switch
from .settings import ServerSettings
from .stream import ServerStream, apart
from .writer import logExcess

_log = Logger()


# -- what comes before the handler -------------------------------------------------------------------------------------


def begin(hooks: Hooks, request: Request, settings: ServerSettings) -> None:
    """A request begins that has a body, or offers to switch, or may change something."""
    stream = request._stream
    stream.user = request
    if stream.head.expected.expects_continue:
        _consult(hooks, request, settings)
    elif settings.upgrades:
        _negotiate(hooks, request, settings)
    else:
        _receive(hooks, request, settings)


def _receive(hooks: Hooks, request: Request, settings: ServerSettings) -> None:
    try:
        if settings.direct:
            answer(request, settings.handler(request))
        else:
            hooks.requestReceived(request)
    except BaseException:
        fail(request, Failure())


def _consult(hooks: Hooks, request: Request, settings: ServerSettings) -> None:
    """Ask the application about a body that is withheld."""
    stream = request._stream
    if stream.withheld:
        stream.arm(Deadline.EXPECTATION, settings.timeouts.expectation)

    def consulted(verdict: object) -> None:
        if isinstance(verdict, Response):
            respond(request, verdict)
        elif verdict is False:
            respond(request, Response.text("the body is not wanted\n", 417))
        elif verdict is True or verdict is None:
            if verdict:
                stream.accept()
                stream.disarm(Deadline.EXPECTATION)
            _negotiate(hooks, request, settings)
        else:
            raise TypeError(f"continueExpected returns True, False, None or a Response, not {verdict!r}")

    try:
        verdict = hooks.continueExpected(request)
        if isinstance(verdict, Awaitable):
            _wait(request, verdict, consulted)
        else:
            consulted(verdict)
    except BaseException:
        fail(request, Failure())


def _negotiate(hooks: Hooks, request: Request, settings: ServerSettings) -> None:
    """Let another protocol take over where one is offered and supported; else receive the request."""
    chosen = upgrade.choose(request, settings.upgrades)
    if chosen is None:
        _receive(hooks, request, settings)
        return

    def negotiated(answer: Switch | Response | None) -> None:
        if answer is None:
            _receive(hooks, request, settings)
        else:
            _reply(request, answer)

    _wait(request, upgrade.negotiate(request, *chosen, settings.limits.unread), negotiated)


def _wait(request: Request, result: Awaitable[Any], done: Callable[[Any], None]) -> None:
    """Go on once there is a result, unless the request has been answered by then."""
    stream = request._stream

    def fired(value: Any) -> None:
        request.pending = None
        if not stream.answered:
            done(value)
        else:
            _tooLate(request, value)
        stream.flush()

    stream.user = request
    request.pending = pending = waiting(result)
    pending.addCallback(fired)
    pending.addErrback(lambda failure: fail(request, failure))


def _tooLate(request: Request, value: object) -> None:
    """A handler returned something although the request was answered, or is not waited for any more."""
    if isinstance(value, Response) and not isinstance(value.body, bytes):
        discard(value.body, waiting)
    error = request._stream.error
    if value is not None and error is not None and error.reason is CloseReason.HANDLER_TIMEOUT:
        _logLate(request)
    if value is not None and request.started and not request._stream.over:
        raise LocalProtocolError("a handler that pushes its response returns None")


# -- what comes behind it ----------------------------------------------------------------------------------------------


def answer(request: Request, result: object) -> None:
    """Answer a request with what its handler returned: a value, a Deferred or a coroutine."""
    if result.__class__ is CoroutineType:
        _run(request, result)
    elif isinstance(result, Awaitable):
        _wait(request, result, lambda value: _reply(request, value))
    else:
        _reply(request, result)


def _run(request: Request, running: Coroutine[Any, Any, Any]) -> None:
    """Start a coroutine: one that does not wait is answered without a Deferred."""
    loop = runningLoop()
    if loop is not None:
        given = firstStep(running, loop)
        if given.__class__ is TaskResult:
            _wait(request, given, lambda value: _reply(request, value))
        else:
            _reply(request, given)
        return
    context = copy_context()
    try:
        awaited = context.run(running.send, None)
    except StopIteration as stop:
        _reply(request, stop.value)
    else:
        _wait(request, resumed(running, awaited, context), lambda value: _reply(request, value))


def _reply(request: Request, value: object) -> None:
    """Answer with what a handler returned, now that it is there."""
    if isinstance(value, Response):
        respond(request, value)
    elif isinstance(value, bytes):
        respond(request, Response(200, value))
    elif isinstance(value, str):
        respond(request, Response.text(value))
    elif isinstance(value, Switch):
        switch(request, value)
    elif value is not None or not request.started:
        raise TypeError(f"a handler returns a Response, a Switch, bytes or str, not {value!r}")


def respond(request: Request, response: Response) -> None:
    """
    Answer with a response.

    :raises ProtocolError: when the request has been answered.
    """
    stream = request._stream
    fields = response.fields
    body = response.body
    if fields.dropped:
        _log.warn("a response header has no effect: {dropped}", dropped="; ".join(fields.dropped))
    if (body.__class__ is not bytes and not isinstance(body, bytes)) or response.trailers:
        _stream(request, response)
        return
    if excess := stream.respond(response.status, fields, body):
        logExcess(excess)
    if stream.user is not None:
        stream.conclude()


def switch(request: Request, switched: Switch) -> None:
    """
    Leave HTTP.

    :raises ProtocolError: when the client did not offer it, or the request is not complete, or not alone.
    """
    offered = request._stream.head.upgrades
    name = offered[0] if switched.name is None and offered else (switched.name or "").encode("ascii", "replace")
    request._stream.switchTo(name, switched.fields, switched.protocol)


def _stream(request: Request, response: Response) -> None:
    """Answer with a body that is made while it is sent."""
    body = [response.body] if isinstance(response.body, bytes) else response.body
    if request._stream.unread and isinstance(body, AsyncIterable):
        # It may be made of the request's body: its first piece comes before the head, so that its first read invites.
        _wait(request, begun(body), lambda body: _start(request, response, body))
    else:
        _start(request, response, body)


def _start(request: Request, response: Response, body: BodySource) -> None:
    """Send the head, and the body as it is made."""
    stream = request._stream
    stream.user = request
    length = response.fields.length
    if length is None:
        length = statedLength(body)
    trailers = response.trailers or {}
    names: tuple[bytes, ...] = ()
    if response.optionalTrailers or stream.head.wants_trailers:
        names = tuple(encode_text(name) for name in trailers)
    stream.start(response.status, response.fields, length, names)
    stream.disarm(Deadline.EXPECTATION)

    def sent(_: None) -> None:
        request.pending = None
        if stream.over:
            return
        pairs: tuple[tuple[bytes, bytes], ...] = ()
        if names:
            values = ((name, value() if callable(value) else value) for name, value in trailers.items())
            pairs = trailer_fields(values, trailers)
        if stream.excess:
            logExcess(stream.excess)
        stream.finish(pairs)
        stream.conclude()

    assert stream.response_framing is not None
    if stream.response_framing.bodiless:
        if stream.method != b"HEAD":
            _log.error("the body of a response that has none, a {status}, was dropped", status=stream.status)
        sending = discard(body, waiting)
    else:
        sending = send(stream, body, waiting)
    request.pending = sending
    sending.addCallback(sent)
    sending.addErrback(lambda failure: fail(request, failure))


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def fail(request: Request, failure: Failure) -> None:
    """The application failed: 500 while that can still be said, else the response ends unfinished (ledger D4)."""
    request.pending = None
    stream = request._stream
    error = failure.value
    if stream.over:
        if not failure.check(CancelledError, asyncio.CancelledError, ConnectionLost, ConnectionDone, ProtocolError):
            _logFailure(request, failure)
        return
    if isinstance(error, RemoteProtocolError):  # the peer's error, which the application lets pass
        status, text = error.status, f"{error.status} {error}\n"
    else:
        status, text = 500, "500 Internal Server Error\n"
        _logFailure(request, failure)
    if stream.answered:
        stream.abort()
        stream.conclude()
    else:
        respond(request, Response.text(text, status))
    stream.flush()


def cancel(stream: ServerStream, reason: Failure) -> None:
    """The client does not wait for this response any more: tell the application."""
    request = stream.user
    if request is not None:
        try:
            request.streamCancelled(apart(reason))
        except BaseException:
            assert isinstance(request, Request)
            _logFailure(request, Failure())


def _logLate(request: Request) -> None:
    connection = request.connection
    _log.warn(
        "the handler answered {method} {target} after its time, and the answer is dropped"
        " (connection {id}, request {number})",
        method=request.method,
        target=request.target,
        id=connection.id,
        peer=connection.peer,
        number=request.number,
    )


def _logFailure(request: Request, failure: Failure) -> None:
    connection = request.connection
    _log.failure(
        "the handler failed on {method} {target} (connection {id}, request {number})",
        failure,
        method=request.method,
        target=request.target,
        id=connection.id,
        peer=connection.peer,
        number=request.number,
    )
