"""
From a request to its response: who is asked, what becomes of what they return, and of what they raise.

Functions of a connection and one of its requests; the state is theirs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import ProtocolError, RemoteProtocolError
from ..core.headers import encode_text, trailer_fields
from ..http1.encoding import field_lines
from ..http1.pipeline import Exchange
from ..http1.states import Body, Expectation
from ..net.bodies import BodySource
from . import flow
from . import upgrade as negotiation
from .request import Request
from .response import Response, Switch

if TYPE_CHECKING:
    from .protocol import KeepAliveProtocol

_log = Logger()


# What comes before the handler.


def begin(connection: KeepAliveProtocol, exchange: Exchange) -> None:
    """A request begins that has a body, or offers to switch, or may change something."""
    request = Request(connection, exchange)
    exchange.owner = request
    assert exchange.head.fields is not None
    if exchange.head.fields.expected.expects_continue:
        _consult(connection, request)
    else:
        _negotiate(connection, request)


def _receive(connection: KeepAliveProtocol, request: Request) -> None:
    try:
        connection.requestReceived(request)
    except Exception:
        fail(connection, request, Failure())


def _consult(connection: KeepAliveProtocol, request: Request) -> None:
    """Ask the application about a body that is withheld."""
    if request.exchange.handshake is Expectation.HELD:
        connection.watch.arm(Deadline.EXPECTATION, connection.factory.timeouts.expectation)
    try:
        answer = connection.continueExpected(request)
    except Exception:
        fail(connection, request, Failure())
        return
    if isinstance(answer, Awaitable):
        _await(connection, request, answer, _consulted)
    else:
        _consulted(connection, request, answer)


def _consulted(connection: KeepAliveProtocol, request: Request, answer: object) -> None:
    """The application has spoken about the body."""
    if isinstance(answer, Response):
        respond(connection, request, answer)
    elif answer is None:
        _negotiate(connection, request)
    elif answer:
        connection.core.accept(request.exchange)
        connection.watch.disarm(Deadline.EXPECTATION)
        _negotiate(connection, request)
    else:
        respond(connection, request, Response.text("the body is not wanted\n", 417))


def _negotiate(connection: KeepAliveProtocol, request: Request) -> None:
    """Let another protocol take over where one is offered and spoken here; else receive the request."""
    factory = connection.factory
    upgrade = negotiation.choose(request, factory.upgrades) if factory.upgrades else None
    if upgrade is None:
        _receive(connection, request)
        return
    offered, handler = upgrade

    def chosen(connection: KeepAliveProtocol, request: Request, switch: Switch | None) -> None:
        if switch is None:
            _receive(connection, request)
        else:
            connection.switch(request, offered, switch)

    _await(connection, request, negotiation.negotiate(request, handler, factory.limits.unread), chosen)


def _await(
    connection: KeepAliveProtocol,
    request: Request,
    result: Awaitable[Any],
    done: Callable[[KeepAliveProtocol, Request, Any], None],
) -> None:
    """Go on once there is a result, unless the request has been answered by then."""

    def fired(value: Any) -> None:
        request.pending = None
        if not request.exchange.answered:
            connection.refreshDate()
            done(connection, request, value)
        elif isinstance(value, Response) and not isinstance(value.body, bytes):
            flow.discard(value.body)  # nobody waits for it any more
        connection.turn()

    request.exchange.owner = request
    waiting = result if isinstance(result, Deferred) else Deferred.fromCoroutine(_coroutine(result))
    request.pending = waiting
    waiting.addCallback(fired)
    waiting.addErrback(lambda failure: fail(connection, request, failure))


def _coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    return awaitable if isinstance(awaitable, Coroutine) else _awaiting(awaitable)


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


# What comes behind it.


def answer(connection: KeepAliveProtocol, request: Request, result: Any) -> None:
    """Answer a request with what its handler returned: a value, a Deferred or a coroutine."""
    if result.__class__ is CoroutineType:
        _run(connection, request, result)
    elif isinstance(result, Awaitable):
        _await(connection, request, result, _answered)
    else:
        respond(connection, request, _response(result))


def _answered(connection: KeepAliveProtocol, request: Request, result: Any) -> None:
    respond(connection, request, _response(result))


def _run(connection: KeepAliveProtocol, request: Request, running: Coroutine[Any, Any, Any]) -> None:
    """Start a coroutine: one that does not wait is answered without a Deferred."""
    context = copy_context()
    try:
        waiting = context.run(running.send, None)
    except StopIteration as stop:
        respond(connection, request, _response(stop.value))
    else:
        resumed = context.run(Deferred.fromCoroutine, _resumed(running, waiting))
        _await(connection, request, resumed, _answered)


@coroutine
def _resumed(running: Coroutine[Any, Any, Any], waiting: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that has been started and waits for something."""
    resume: Callable[[Any], Any]
    while True:
        try:
            value = yield waiting
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            resume, value = running.throw, error
        else:
            resume = running.send
        try:
            waiting = resume(value)
        except StopIteration as stop:
            return stop.value


def _response(result: object) -> Response:
    """What a handler returned, as a response."""
    if isinstance(result, Response):
        return result
    if isinstance(result, bytes):
        return Response(200, result)
    if isinstance(result, str):
        return Response.text(result)
    raise TypeError(f"a handler returns a Response, bytes or str, not {result!r}")


def respond(connection: KeepAliveProtocol, request: Request, response: Response) -> None:
    """
    Answer with a response.

    :raises ProtocolError: when the request has been answered.
    """
    exchange = request._exchange
    fields = response.fields
    body = response.body
    if fields.dropped:
        _log.warn("a response header has no effect: {dropped}", dropped="; ".join(fields.dropped))
    if not isinstance(body, bytes) or response.trailers:
        _stream(connection, request, response)
        return
    if connection.factory.reviews:
        exchange.owner = request
        connection.core.respond(exchange, response.status, fields, body, connection.review)
    else:
        connection.core.respond(exchange, response.status, fields, body)
    if exchange.bytes_sent < len(body) and exchange.method != b"HEAD":
        _logExcess(len(body) - exchange.bytes_sent)
    if exchange.owner is not None:
        connection.over(exchange)
    elif connection.factory.observers:
        connection.factory.finished(connection, exchange)


def _stream(connection: KeepAliveProtocol, request: Request, response: Response) -> None:
    """Answer with a body that is made while it is sent."""
    body = [response.body] if isinstance(response.body, bytes) else response.body
    if request.exchange.body is Body.HELD and isinstance(body, AsyncIterable):
        # It may be made of the request's body: its first piece comes before the head, so that its first read invites.

        def made(connection: KeepAliveProtocol, request: Request, body: AsyncIterable[bytes]) -> None:
            _start(connection, request, response, body)

        _await(connection, request, flow.begun(body), made)
    else:
        _start(connection, request, response, body)


def _start(connection: KeepAliveProtocol, request: Request, response: Response, body: BodySource) -> None:
    """Send the head, and the body as it is made."""
    exchange = request.exchange
    exchange.owner = request
    length = response.fields.length
    if length is None:
        length = flow.statedLength(body)
    trailers = response.trailers or {}
    announced = b""
    if response.optionalTrailers or (exchange.fields is not None and exchange.fields.wants_trailers):
        announced = b", ".join(encode_text(name) for name in trailers)
    review = connection.review if connection.factory.reviews else None
    connection.core.start(exchange, response.status, response.fields, length, review, announced)
    exchange.responded = connection.factory.now()
    connection.watch.disarm(Deadline.EXPECTATION)

    def sent(_: None) -> None:
        request.pending = None
        if exchange.over:
            return
        encoded = b""
        if announced:
            values = ((name, value() if callable(value) else value) for name, value in trailers.items())
            encoded = field_lines(trailer_fields(values, trailers))
        if exchange.writer is not None and exchange.writer.excess:
            _logExcess(exchange.writer.excess)
        connection.core.finish(exchange, encoded)
        connection.over(exchange)
        connection.turn()

    assert exchange.response_framing is not None
    if exchange.response_framing.bodiless:
        if exchange.method != b"HEAD":
            _log.error("the body of a response that has none, a {status}, was dropped", status=exchange.status)
        sending = flow.discard(body)
    else:
        sending = flow.send(connection, exchange, body)
    request.pending = sending
    sending.addCallback(sent)
    sending.addErrback(lambda failure: fail(connection, request, failure))


def _logExcess(size: int) -> None:
    _log.error("{size} bytes of a response that has no room for them were dropped", size=size)


# What goes wrong.


def fail(connection: KeepAliveProtocol, request: Request, failure: Failure) -> None:
    """The application failed: 500 while that can still be said, else the response ends unfinished (ledger D4)."""
    request.pending = None
    exchange = request.exchange
    error = failure.value
    if exchange.over:
        if not failure.check(CancelledError, ConnectionLost, ConnectionDone, ProtocolError):
            _logFailure(connection, request, failure)
        return
    if isinstance(error, RemoteProtocolError):  # the peer's error, which the application lets pass
        status, text = error.status, f"{error.status} {error}\n"
    else:
        status, text = 500, "500 Internal Server Error\n"
        _logFailure(connection, request, failure)
    if exchange.answered:
        connection.core.abort(exchange)
        connection.over(exchange)
    else:
        connection.refreshDate()
        respond(connection, request, Response.text(text, status))
    connection.turn()


def _logFailure(connection: KeepAliveProtocol, request: Request, failure: Failure) -> None:
    _log.failure(
        "the handler failed on {method} {target} (connection {id}, request {number})",
        failure,
        method=request.method,
        target=request.target,
        id=connection.id,
        peer=connection.peer,
        number=request.number,
    )


def cancel(exchange: Exchange, reason: Failure) -> None:
    """Nobody waits for this response any more: tell those who make it."""
    request: Request | None = exchange.owner
    if request is None:
        return
    request.body.failed(reason.value or ConnectionDone())
    if request.pending is not None:
        pending, request.pending = request.pending, None
        try:
            pending.cancel()
        except Exception:
            _logFailure(request._protocol, request, Failure())
