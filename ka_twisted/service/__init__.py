"""
The command line, ``twistd keepalive`` and ``python -m ka_twisted``, in six rooms above one module of errors.

From the bottom up: `errors`, `applications`, `configuration`, `listening`, `systemd`, `running`, `workers`; a room
imports only those below it (``tests/test_layers.py``). Above them `tap` makes the service that twistd runs, and `cli`
leads to the tools; `embedded` is the service for those who have an application of their own, and imports the rest when
that is started. Nothing here is imported by the other packages.
"""
