"""Whatever a client and an application do with one request, every carrier makes the same of it."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ka_twisted import Request, Response
from ka_twisted.server.writer import ResponseWriter
from tests.logs import Logged
from tests.streams.exchanges import ExchangeService
from tests.streams.providers import Asked, Provider, Service

Step = tuple[str, Any]


class Walk:
    """
    One request, whose client and whose application do as they are told.

    :ivar seen: what either has seen of it.
    """

    def __init__(self, service: Service, request: Request, answer: Deferred[Any], asked: Asked, length: int) -> None:
        self.seen: list[Any] = []
        self._service = service
        self._request = request
        self._answer = answer
        self._asked = asked
        self._writer: ResponseWriter | None = None
        self._left = length
        self._gone = self._broken = False
        request.finished.addCallbacks(lambda _: self.seen.append("finished"), self._failed)

    def _failed(self, failure: Failure) -> None:
        self.seen.append(("failed", type(failure.value).__name__))

    def step(self, name: str, argument: Any) -> None:
        try:
            said = getattr(self, "_" + name)(argument)
        except (ValueError, RuntimeError) as error:
            said = type(error).__name__
        self._service.settle()
        self.seen.append((name, said, None if self._gone else self._view()))

    def _view(self) -> object:
        answer = self._asked.answer
        interims = [interim.status for interim in self._asked.interims]
        return interims, answer and (answer.status, answer.body, answer.complete)

    # The application.

    def _answers(self, size: int) -> None:
        if self._writer is None and not self._answer.called:
            self._answer.callback(Response(200, b"x" * size))

    def _streams(self, size: int) -> None:
        if self._writer is None and not self._answer.called:
            self._answer.callback(Response.stream([b"x" * size, b"y" * size]))

    def _fails(self, _: object) -> None:
        if not self._answer.called:
            self._answer.errback(KeyError("mine"))

    def _interim(self, _: object) -> None:
        self._request.interim(103)

    def _starts(self, length: int | None) -> None:
        if not self._answer.called:
            self._writer = self._request.start(length=length)

    def _writes(self, size: int) -> None:
        if self._writer is not None:
            self._writer.write(b"z" * size)

    def _finishes(self, _: object) -> None:
        if self._writer is not None:
            self._writer.finish()

    def _aborts(self, _: object) -> None:
        if self._writer is not None:
            self._writer.abort()

    def _reads(self, _: object) -> None:
        self._request.body.readChunk().addCallbacks(lambda data: self.seen.append(("read", data)), self._failed)

    # The client.

    def _sends(self, size: int) -> None:
        if self._left and not self._gone:
            data = b"abcdefghij"[: min(size, self._left)]
            self._left -= len(data)
            self._asked.send(data)

    def _breaks(self, _: object) -> None:
        if self._left and not self._gone:
            self._left = 0
            self._broken = True
            self._asked.breakOff()

    def _cancels(self, _: object) -> None:
        if not self._broken:  # a server that has seen the end of a connection does not see it reset
            self._left = 0
            self._gone = True
            self._asked.cancel()


def run(serve: Provider, method: str, length: int, expects: bool, steps: list[Step]) -> list[Any]:
    requests: list[Request] = []
    answer: Deferred[Any] = Deferred()

    def handler(request: Request) -> Deferred[Any]:
        requests.append(request)
        return answer

    service = serve(handler)
    asked: Asked | None = None
    try:
        client = service.connect()
        if length:
            asked = client.ask(method, "/", body=None, length=length, expects=expects)
        else:
            asked = client.ask(method, "/")
        walk = Walk(service, requests[0], answer, asked, length)
        if expects:  # what is withheld has not begun: each version says in its own way that it will not come
            steps = [step for step in steps if step[0] != "breaks"]
        for step in steps:
            walk.step(*step)
        return list(walk.seen)  # before all is let go of
    finally:
        if asked is not None:
            asked.cancel()
        service.close()


STEPS = st.one_of(
    st.tuples(st.sampled_from(["answers", "streams", "writes", "sends"]), st.sampled_from([1, 3, 7])),
    st.tuples(st.sampled_from(["starts"]), st.sampled_from([None, 6])),
    st.tuples(
        st.sampled_from(["fails", "interim", "finishes", "aborts", "reads", "reads", "breaks", "cancels"]), st.none()
    ),
)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    length=st.sampled_from([0, 9]),
    expects=st.booleans(),
    steps=st.lists(STEPS, max_size=8),
)
@example(method="GET", length=9, expects=False, steps=[("reads", None), ("starts", None), ("breaks", None)])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_walk_sees_the_same(
    carriers: list[Provider], method: str, length: int, expects: bool, steps: list[Step], logged: Logged
) -> None:
    first, *others = [run(serve, method, length, expects, steps) for serve in (ExchangeService, *carriers)]
    logged.failures(Exception)
    logged.messages()
    for other in others:
        assert other == first
