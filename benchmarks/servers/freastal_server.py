"""freastal, serving WSGI."""

import sys

import freastal

from benchmarks.servers.applications import wsgi

if __name__ == "__main__":
    freastal.serve(wsgi, host="127.0.0.1", port=int(sys.argv[1]), workers=1)
