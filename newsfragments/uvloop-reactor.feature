`twistd --reactor uvloop` runs any Twisted program on uvloop's event loop, and its TCP and UNIX streams on uvloop's own transports; `ka_twisted.reactors.uvloop.install()` does the same in code.
