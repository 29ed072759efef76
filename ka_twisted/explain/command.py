"""
Read the raw requests of one connection, and print what each does to it and by which rule: where its
body ends, whether 100 Continue is expected, whether the connection is kept, and what the response
says about that. What a server refuses is shown with the status that it would answer.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from ..config import Limits, Policy, Timeouts
from ..core.framing import Delimiter
from ..http1.caches import ServerCaches
from .document import BodyJson, ExpectationJson, ExplanationJson, FramingJson, PersistenceJson, RequestJson
from .explanation import ORDINARY, explain, readReply

#: Options that are fields of `Limits`, named as `twistd keepalive` has them.
_LIMITS = (
    ("max-requests", "maxRequests", "requests on one connection; 0: any number"),
    ("max-line", "maxLine", "bytes of a request line"),
    ("max-header-bytes", "maxHeaderBytes", "bytes of a header section"),
    ("max-header-fields", "maxHeaderFields", "fields of a header section"),
    ("max-body-bytes", "maxBodyBytes", "bytes of a request body; 0: any number"),
    ("unread-bytes", "unread", "bytes of an unread body that are read away to keep a connection"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what `run` understands."""
    add = parser.add_argument
    add(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="the requests, as they are sent, one after the other; - is standard input (default)",
    )
    add(
        "--response",
        metavar="FILE",
        help="the head of the response to each of them; without it, an ordinary one is assumed",
    )
    add("--crlf", action="store_true", help="take lines that end in LF alone, as editors write them, for lines of HTTP")
    add("--json", action="store_true", help="print one JSON document")
    add(
        "--idle-timeout",
        type=float,
        default=Timeouts().idle,
        metavar="SECONDS",
        help="as for twistd keepalive: what clients are promised depends on it (default: %(default)g)",
    )
    for option, field, purpose in _LIMITS:
        add(
            f"--{option}",
            dest=field,
            type=int,
            default=getattr(Limits(), field),
            metavar="N",
            help=f"{purpose} (default: %(default)s)",
        )
    add("--no-keep-alive-10", action="store_true", help="do not keep connections for HTTP/1.0 clients that ask for it")


def run(namespace: argparse.Namespace, stdin: BinaryIO | None = None, stdout: TextIO | None = None) -> int:
    """
    Explain what the arguments name.

    :param stdin: instead of standard input.
    :param stdout: instead of standard output.
    :return: 0; 2, with a sentence on standard error, when a file cannot be read, the response is none, or a
        setting has no such value. Refused requests are no failure: they are explained.
    """
    try:
        terms = _caches(namespace)
        data = _read(namespace.file, stdin, namespace.crlf)
        reply = ORDINARY
        if namespace.response is not None:
            reply = readReply(_read(namespace.response, stdin, namespace.crlf))
    except OSError as error:
        print(f"explain: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
    told = explain(data, terms, reply)
    out = stdout or sys.stdout
    if namespace.json:
        out.write(json.dumps(told, indent=2) + "\n")
    else:
        out.writelines(f"{line}\n" for line in _document(told))
    return 0


def _caches(namespace: argparse.Namespace) -> ServerCaches:
    return ServerCaches(
        Limits(**{field: getattr(namespace, field) for _, field, _ in _LIMITS}),
        Policy(keepAlive10=not namespace.no_keep_alive_10),
        Timeouts(idle=namespace.idle_timeout),
    )


def _read(name: str, stdin: BinaryIO | None, crlf: bool) -> bytes:
    data = (stdin or sys.stdin.buffer).read() if name == "-" else Path(name).read_bytes()
    return re.sub(rb"\r?\n", b"\r\n", data) if crlf else data


# -- as text -----------------------------------------------------------------------------------------

_LABEL = 13
_WIDTH = 110
_NO_EXPECTATION = {
    "D3-02": "ignored: no interim response goes to HTTP/1.0",
    "D3-03": "ignored: no interim response goes to HTTP/1.0",
    "D3-07": "100-continue, in vain: no body follows",
}


def _document(told: ExplanationJson) -> Iterator[str]:
    """The whole explanation, line by line."""
    for request in told["requests"]:
        yield from _request(request)
        yield ""
    if not told["requests"]:
        yield "There is no request in the input."
    elif told["unread"]:
        yield f"Here the connection ends; what remains is not looked at: {_bytes(told['unread'])}."


def _request(request: RequestJson) -> Iterator[str]:
    line = request["line"] or f"no request line: {request['bytes']!r}"
    yield f"request {request['number']}: {line}"
    if "framing" in request:
        yield from _head(request)
    if "body" in request:
        yield from _item("body", _body(request["body"]), request["body"].get("ifThisIsAll"))
    if "refused" in request:
        refused = request["refused"]
        yield from _item("refused", f"{refused['status']}, {refused['sentence']}", refused)
        if refused.get("hint"):
            yield from _item("hint", refused["hint"])
    if "response" in request:
        response = request["response"]
        whose = " (assumed)" if response["assumed"] else ""
        text = f"{response['status']}{whose}: {_framed(response['framing'])}"
        yield from _item("response", text, response["framing"])
    yield from _item("persistence", _verdict(request["persistence"]), request["persistence"])
    if "ifLeftUnread" in request:
        unread = request["ifLeftUnread"]
        yield from _item("", f"if the body is not read, {_verdict(unread)}", unread)
    first, *others = request["carries"] or ["nothing about the connection or the length"]
    yield from _item("carries", first)
    for line in others:
        yield from _item("", line)


def _head(request: RequestJson) -> Iterator[str]:
    yield from _item("host", request["host"] or "none")
    yield from _item("connection", ", ".join(request["connection"]) or "no options")
    if request["upgrades"]:
        yield from _item("upgrades", ", ".join(request["upgrades"]))
    yield from _item("framing", _framed(request["framing"]), request["framing"])
    expectation = request["expectation"]
    yield from _item("expectation", _expected(expectation), expectation)
    if "answer" in expectation:
        yield from _item("", expectation["answer"]["text"], expectation["answer"])
    overlap = request["overlap"]
    order = "may be in service beside its neighbours" if overlap["allowed"] else "is served alone"
    yield from _item("overlap", f"{order}: {overlap['why']}", overlap)


def _item(label: str, text: str, rule: Mapping[str, object] | None = None) -> Iterator[str]:
    """One line, and the rule behind it where there is room, else below."""
    line = f"  {label:{_LABEL}}{text}"
    if rule is None:
        yield line
        return
    cited = "; ".join(str(part) for part in (rule.get("clause"), rule["row"]) if part)
    if len(line) + len(cited) + 3 <= _WIDTH:
        yield f"{line} [{cited}]"
    else:
        yield line
        yield f"  {'':{_LABEL}}[{cited}]"


def _verdict(persistence: PersistenceJson) -> str:
    return f"{'keep' if persistence['keep'] else 'close'}: {persistence['reason']}, {persistence['text']}"


def _framed(framing: FramingJson) -> str:
    if framing["delimiter"] == Delimiter.LENGTH.value:
        return f"Content-Length, {_bytes(framing['length'] or 0)}"
    return {
        Delimiter.NONE.value: "no body",
        Delimiter.CHUNKED.value: "chunked",
        Delimiter.CLOSE.value: "ended by the close of the connection",
    }[framing["delimiter"]]


def _expected(expectation: ExpectationJson) -> str:
    if not expectation["met"]:
        return "something that this server does not know"
    if expectation["awaits"]:
        return "100-continue"
    return _NO_EXPECTATION.get(expectation["row"], "none")


def _body(body: BodyJson) -> str:
    here = f"{_bytes(body['bytes'])} of the input"
    if body["complete"]:
        return f"complete, {here}"
    cut = body.get("ifThisIsAll")
    if cut is None:
        return here
    return f"{here}, not all of it; if nothing more came: {cut['status']}, {cut['sentence']}"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"
