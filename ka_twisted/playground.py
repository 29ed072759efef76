"""
The playground: a small application for looking at connections.

``twistd keepalive`` serves it when it is told nothing else. It is written like an example: a table
of routes, and for each a function from a request to a response.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from hashlib import sha256
from html import escape
from http import HTTPStatus
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import deferLater

from .core.expectation import Expected
from .core.framing import Framing
from .core.persistence import Persistence
from .core.reasons import CloseReason
from .core.targets import authority
from .server.query import BadQuery, decimal, whole
from .server.request import Request
from .server.response import Response

#: What a handler returns: a response, now or later.
Answer = Response | Deferred[Response] | Coroutine[Any, Any, Response]

#: Longest delay of /slow, in seconds.
MAX_DELAY = 300.0
#: Largest /stream: pieces, bytes of one piece, bytes of all.
MAX_CHUNKS, MAX_CHUNK, MAX_STREAM = 2**24, 2**24, 2**34
#: The limit of an /upload that states none.
MAX_UPLOAD = 10**18


def application(request: Request) -> Answer:
    """Answer any request."""
    path = request.path
    methods, route = ROUTES.get("/status/" if path.startswith("/status/") else path, NOWHERE)
    if methods and request.method not in methods:
        allowed = ", ".join(methods)
        sentence = f"{path} answers {allowed}, not {request.method}"
        return refusal(405, sentence, {"Allow": allowed})
    try:
        return route(request)
    except BadQuery as error:
        return refusal(400, str(error))


# -- routes ----------------------------------------------------------------------------------------


def page(request: Request) -> Response:
    """``/``: this very connection, for people."""
    return Response.html(filled(render(request)), headers=PAGE_HEADERS)


def whoami(request: Request) -> Response:
    """``/whoami``: this very connection, for programs."""
    connection = request.connection
    framing, expectation = request.framing, request.expectation
    last = connection.lastDecision
    text = json.dumps(
        {
            "connection": connection.id,
            "request": request.number,
            "requestCount": connection.requestCount,
            "age": round(connection.age, 3),
            "peer": place(connection.peer),
            "server": place(connection.host),
            "secure": connection.secure,
            "version": request.version,
            "host": request.host,
            "framing": {
                "delimiter": framing.delimiter.value,
                "length": framing.length,
                "clause": framing.clause,
                "row": framing.row,
            },
            "expectation": {
                "awaits": expectation.expects_continue,
                "clause": expectation.clause,
                "row": expectation.row,
            },
            "persistence": described(request.persistence),
            "lastDecision": None if last is None else described(last),
        }
    )
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(200, filled(text), headers)


async def echo(request: Request) -> Response:
    """``/echo``: the body comes back while it still arrives, no faster than it is taken."""
    first = await request.body.readChunk()  # invites a withheld body; answering without would refuse it

    async def again() -> AsyncIterator[bytes]:
        data = first
        while data:
            yield data
            data = await request.body.readChunk()

    contentType = request.headers.get("content-type") or "application/octet-stream"
    headers = {"Content-Type": contentType, "X-Content-Type-Options": "nosniff"}
    return Response.stream(again(), headers=headers, length=request.contentLength)


def slow(request: Request) -> Deferred[Response]:
    """``/slow?seconds=S``: the answer takes its time."""
    seconds = decimal(request, "seconds", 1.0, MAX_DELAY)
    sentence = f"this took {seconds:g} s\n"
    return deferLater(request.connection.clock, seconds, Response.text, sentence)


def stream(request: Request) -> Response:
    """``/stream?chunks=N&size=B``: a body whose length is not stated beforehand."""
    chunks = whole(request, "chunks", 10, MAX_CHUNKS)
    size = whole(request, "size", 1024, MAX_CHUNK)
    if chunks * size > MAX_STREAM:
        raise BadQuery(f"chunks times size is at most {MAX_STREAM} bytes")
    piece = (b"." * (size - 1) + b"\n")[:size]
    pieces: Iterator[bytes] = (piece for _ in range(chunks))
    return Response.stream(pieces, headers={"Content-Type": "text/plain; charset=utf-8"})


def status(request: Request) -> Response:
    """``/status/CODE``: a response with that status."""
    text = request.path.removeprefix("/status/")
    if not re.fullmatch("[2-5][0-9][0-9]", text):
        raise BadQuery(f"the status of a response is a number from 200 to 599, not {text!r}")
    code = int(text)
    headers = OBLIGATORY.get(code)
    if code in BODILESS:
        return Response(code, headers=headers)
    return Response.text(f"{code} {PHRASES.get(code, 'has no name')}\n", code, headers)


def upload(request: Request) -> Answer:
    """``/upload?limit=B``: what is announced as too large is never invited, and never read."""
    limit = whole(request, "limit", MAX_UPLOAD, MAX_UPLOAD)
    announced = request.contentLength
    if announced is not None and announced > limit:
        return refusal(413, f"{announced} bytes are more than the limit of {limit}")
    return digest(request, limit)


async def digest(request: Request, limit: int) -> Response:
    """How many bytes came, and their digest; none of them is kept."""
    count, sha = 0, sha256()
    async for data in request.body:
        count += len(data)
        if count > limit:
            return refusal(413, f"the body is larger than the limit of {limit} bytes")
        sha.update(data)
    return Response.json({"bytes": count, "sha256": sha.hexdigest()})


def nowhere(request: Request) -> Response:
    """Everything else."""
    return refusal(404, f"there is nothing at {request.path}")


Route = tuple[tuple[str, ...], Callable[[Request], Answer]]
#: The methods that a path answers (none: any method), and what answers them.
ROUTES: dict[str, Route] = {
    "/": (("GET", "HEAD"), page),
    "/echo": ((), echo),
    "/slow": (("GET", "HEAD"), slow),
    "/stream": (("GET", "HEAD"), stream),
    "/status/": ((), status),
    "/whoami": (("GET", "HEAD"), whoami),
    "/upload": (("POST", "PUT"), upload),
}
NOWHERE: Route = ((), nowhere)

PHRASES = {known.value: known.phrase for known in HTTPStatus}
#: Statuses whose responses have no body.
BODILESS = frozenset((204, 205, 304))
#: Fields without which a status makes no sense (RFC 9110 15).
OBLIGATORY = {
    **{code: {"Location": "/"} for code in (300, 301, 302, 303, 307, 308)},
    401: {"WWW-Authenticate": 'Basic realm="playground"'},
    405: {"Allow": "PLAY"},
    407: {"Proxy-Authenticate": 'Basic realm="playground"'},
    426: {"Upgrade": "websocket"},
}


# -- what they share -------------------------------------------------------------------------------


def refusal(code: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An error: one sentence."""
    return Response.text(f"{sentence}\n", code, headers)


def filled(text: str) -> str:
    """
    The text with blanks at its end, up to a multiple of 1024.

    ``ab`` and its like take an answer of another length for a failure, and numbers grow.
    """
    return text + " " * (-(len(text) + 1) % 1024) + "\n"


def place(address: IAddress) -> str:
    """An address, for people."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        return authority(address.host, address.port)
    return "a socket of this machine"


def described(decision: Persistence) -> dict[str, bool | str]:
    """A decision about the connection, for JSON."""
    return {
        "keep": decision.keep,
        "reason": decision.reason.name,
        "clause": decision.clause,
        "row": decision.row,
        "detail": decision.detail,
    }


# -- the page --------------------------------------------------------------------------------------


def render(request: Request) -> str:
    """The page as HTML; all that comes from outside is escaped."""
    connection = request.connection
    kept = request.persistence
    length = request.framing.length
    size = f", {length} bytes" if length else ""
    cards = [
        card("Framing", request.framing.delimiter.value + size, request.framing),
        card("Expectation", expected(request), request.expectation),
        card("Persistence", verdict(kept), kept),
    ]
    last = connection.lastDecision
    if last is not None:
        cards.append(card("The response before this one", verdict(last), last))
    return PAGE.format(
        id=connection.id,
        number=request.number,
        requests="1 request" if request.number == 1 else f"{request.number} requests",
        cards="".join(cards),
        facts=facts(request),
        host=escape(request.host or "127.0.0.1:8080"),
    )


def verdict(decision: Persistence) -> str:
    """Keep or close, and why."""
    reason = decision.reason
    why = reason.text if isinstance(reason, CloseReason) else reason.value
    return f"{'keep' if decision.keep else 'close'}: {decision.detail or why} ({reason.name})"


def expected(request: Request) -> str:
    """What the client expects before it sends its body."""
    return "waits for 100 Continue" if request.expectation.expects_continue else "nothing"


def card(title: str, text: str, decision: Framing | Expected | Persistence) -> str:
    """One decision, with the clause and the row of the ledger that it rests on."""
    rule = f"{decision.clause}; {decision.row}"
    return f"<article><h3>{escape(title)}</h3><p>{escape(text)}</p><p><small>{escape(rule)}</small></p></article>"


def facts(request: Request) -> str:
    """What else there is to know about the connection."""
    connection = request.connection
    rows = {
        "from": place(connection.peer),
        "to": place(connection.host),
        "version": f"HTTP/{request.version}{' over TLS' if connection.secure else ''}",
        "age": f"{connection.age:.3f} s",
    }
    return "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())


PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
}
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Connection {id}, request {number}</title>
<style>
:root {{ --text: #1c2330; --soft: #5b6472; --page: #f7f8fa; --card: #fff; --line: #d9dee6; --link: #0b5cad; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6e9ef; --soft: #9aa4b2; --page: #12161c; --card: #1b212a; --line: #323b48; --link: #7db8f7; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; }}
h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
h3 {{ font-size: .85rem; margin: 0; color: var(--soft); font-weight: 600; }}
a {{ color: var(--link); }}
small {{ color: var(--soft); font-size: .85rem; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .75rem; }}
article, pre {{ background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }}
article p {{ margin: .25rem 0 0; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }}
dt {{ color: var(--soft); }}
dd {{ margin: 0; }}
pre {{ overflow-x: auto; overflow-wrap: normal; font-size: .9rem; }}
li {{ margin: .35rem 0; }}
</style>
</head>
<body>
<h1>Connection {id}, request {number}</h1>
<p>This page came on connection number {id} of this server, which has carried {requests} so far.
<a href="/">Load it again</a>: as long as the connection is kept, only the number of the request goes up.</p>
<h2>What was decided for this request</h2>
<div class="cards">{cards}</div>
<h2>The connection</h2>
<dl>{facts}</dl>
<h2>What else is here</h2>
<ul>
<li><a href="/whoami">/whoami</a>: the connection as JSON</li>
<li><a href="/slow?seconds=2">/slow?seconds=2</a>: an answer that takes its time</li>
<li><a href="/stream?chunks=10&amp;size=1024">/stream?chunks=10&amp;size=1024</a>: a body
whose length is not stated beforehand</li>
<li><a href="/status/204">/status/204</a>, <a href="/status/404">/status/404</a>,
<a href="/status/503">/status/503</a>: a response with that status</li>
<li>/echo: the body comes back</li>
<li>/upload?limit=B: counts a body up to a limit, and invites none above it</li>
</ul>
<pre>curl -v http://{host}/whoami http://{host}/whoami
curl -v -d hello http://{host}/echo
curl -v -T big.file -H 'Expect: 100-continue' 'http://{host}/upload?limit=1000000'</pre>
</body>
</html>
"""
