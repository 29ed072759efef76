"""
The command line: ``twistd keepalive`` and ``python -m ka_twisted``.

`options` reads what was asked for, `loading` finds the application, `tap` makes the service that
twistd runs, `cli` leads to the tools. Nothing here is imported by the other packages.
"""
