"""What hypothesis sends to a connection: whole requests, pieces of requests, broken requests, and cuts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from tests.http1.driving import chunked

#: In bodies: what must never be taken for a request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Sent:
    """
    A valid request.

    :ivar head: with its empty line.
    :ivar framed: the body as it goes over the wire.
    :ivar keeps: an ordinary response leaves the connection open.
    """

    method: str
    target: str
    head: bytes
    body: bytes
    framed: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    keeps: bool

    @property
    def data(self) -> bytes:
        return self.head + self.framed


TOKENS = st.text("abcXYZ09-_!", min_size=1, max_size=8)
VALUES = st.text("abc XYZ,;=\"'\\\t\xe4\xff:/", max_size=20)
BODIES = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"", SMUGGLED, b"0\r\n\r\n" + SMUGGLED, b"\r\n" + SMUGGLED, b"x" * 300])
)
TARGETS = st.one_of(
    st.sampled_from(["/", "/a?b=c", "/%20", "//a", "http://b.example/c", "http://b.example"]),
    st.text("abc/?&=%~", max_size=12).map(lambda text: "/" + text),
)
TRAILERS = st.lists(st.tuples(TOKENS.map(lambda name: "X-" + name), TOKENS), max_size=2)


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The body in chunks of some sizes, perhaps with extensions and trailers."""
    pieces = []
    while body:
        size = draw(st.integers(1, len(body)))
        pieces.append(body[:size])
        body = body[size:]
    trailers = tuple((name.encode(), value.encode()) for name, value in draw(TRAILERS))
    data = chunked(*pieces, trailers=b"".join(b"%b: %b\r\n" % pair for pair in trailers))
    if draw(st.booleans()) and pieces:
        data = data.replace(b"\r\n", draw(st.sampled_from([b";a\r\n", b' ; a = "b;\\"c"\r\n'])), 1)
    return data, trailers


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A valid request, of the kinds that matter to the connection."""
    minor = draw(st.sampled_from([1, 1, 1, 0, 9]))
    method = draw(st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FROB"]))
    target = draw(TARGETS)
    options = draw(st.sampled_from([[], [], [], ["keep-alive"], ["x-a", "TE"], ["close"], ["Keep-Alive", "cLose"]]))
    lines = [] if not minor and draw(st.booleans()) else ["Host: a"]
    lines += [f"X-{name}: {value}" for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=3))]
    lines += [f"Connection: {option}" for option in options]
    body, framed = b"", b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    coding = draw(st.sampled_from(["none", "none", "length", "chunked"]))
    if coding == "length":
        body = framed = draw(BODIES)
        lines.append(f"Content-Length: {len(body)}")
    elif coding == "chunked" and minor:
        body = draw(BODIES)
        framed, trailers = draw(chunks(body))
        lines.append("Transfer-Encoding: chunked")
    if draw(st.integers(0, 3)) == 0:
        lines.append("Expect: 100-continue")
    blanks = "\r\n" * draw(st.sampled_from([0, 0, 0, 1, 2]))
    lowered = {option.lower() for option in options}
    return Sent(
        method,
        target,
        (blanks + "\r\n".join([f"{method} {target} HTTP/1.{minor}", *lines, "", ""])).encode("latin-1"),
        body,
        framed,
        trailers,
        "close" not in lowered and (minor > 0 or "keep-alive" in lowered),
    )


#: What heads, bodies and faults are made of.
FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: a\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Expect: tea\r\n",
            b"Connection: close\r\n",
            b"Connection: keep-alive\r\n", b"\r\n", b"\r\n", b"\r\n", b"hello", b"5\r\nhello\r\n", b"0\r\n",
            b"0\r\n\r\n", b"5;a=b\r\n",
            b"X: y\r\n", b"\r", b"\n", b" ", b":", b"\x00", b"HTTP/1.1", b"GET ", b"A" * 50, b"http://",
            b"CONNECT a:80 HTTP/1.1\r\n",
            b"OPTIONS * HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n",
            b"TE: trailers\r\n",
        ]
    ),
    st.binary(max_size=8),
)  # fmt: skip
NOISE = st.one_of(st.lists(FRAGMENTS, max_size=16).map(b"".join), st.binary(max_size=60))


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few of them changed, lost, doubled or new."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        width = draw(st.integers(0, 4))
        new = draw(st.one_of(FRAGMENTS, st.just(b""), st.just(data[place : place + 10])))
        data = data[:place] + new + data[place + width :]
    return data


@st.composite
def broken_pipelines(draw: st.DrawFn) -> bytes:
    """A few valid requests, with faults in them."""
    return draw(mutated(b"".join(sent.data for sent in draw(st.lists(requests(), min_size=1, max_size=4)))))


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The bytes in segments."""
    places = sorted(draw(st.sets(st.integers(0, len(data)), max_size=12)) | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]
