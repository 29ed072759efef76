"""
Uploads that go to a file as they come, none of them larger than allowed, and never more than a piece of
one in memory.

    python examples/upload.py /tmp
    curl -T notes.txt -H 'Expect: 100-continue' http://127.0.0.1:8080/notes.txt
    curl http://127.0.0.1:8080/notes.txt
"""

import re
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from ka_twisted import Request, Response, serve

LIMIT = 100_000_000


class Shelf:
    """A folder of files that can be put and got: a handler is anything that can be called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __call__(self, request: Request) -> Response:
        name = re.fullmatch(r"/([A-Za-z0-9_-][A-Za-z0-9._-]*)", request.path)
        if name is None:
            return Response.text("a name is made of letters, digits, dots, - and _\n", 404)
        file = self.folder / name[1]
        if request.method == "PUT":
            return await self.put(request, file)
        if request.method in ("GET", "HEAD"):
            return Response.file(file) if file.is_file() else Response.text("not here\n", 404)
        return Response.text("PUT it or GET it\n", 405, {"Allow": "GET, HEAD, PUT"})

    async def put(self, request: Request, file: Path) -> Response:
        """Until the whole body is there, the file is what it was."""
        announced = request.contentLength
        if announced is not None and announced > LIMIT:
            return Response.text(f"at most {LIMIT} bytes\n", 413)  # instead of 100 Continue
        count = 0
        with NamedTemporaryFile(dir=self.folder, delete=False) as temporary:
            try:
                async for data in request.body:  # the first turn invites a withheld body
                    count += len(data)
                    if count > LIMIT:
                        return Response.text(f"at most {LIMIT} bytes\n", 413)
                    temporary.write(data)
                temporary.flush()
                Path(temporary.name).replace(file)
            finally:  # also when the client has gone: then the loop raises
                Path(temporary.name).unlink(missing_ok=True)
        return Response.text(f"{count} bytes\n", 201, {"Location": request.path})


async def main(reactor: Any, folder: str, *endpoints: str) -> None:
    serving = await serve(Shelf(Path(folder)), *endpoints, reactor=reactor)
    for port in serving.ports:
        print(f"listening on {port.getHost()}", flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", serving.stop)
    await Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:] or ["."])
