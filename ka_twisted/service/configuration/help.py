"""The help of ``twistd keepalive``: its options in the order of the table of settings, each group under its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from .commandline import groups

ABOUT = """\
Serve HTTP with a Python application. Times are in seconds and may be fractions. SIGHUP reloads the configuration,
SIGUSR1 reopens the access log, SIGTERM finishes open requests and stops; a second signal stops at once.
Every option that sets something has an environment variable: KA_TWISTED_IDLE_TIMEOUT for --idle-timeout.
"""
#: Columns of an option; a longer one has its help on the next line.
_COLUMNS = 34


def usage(width: int) -> str:
    """
    The help, but for the synopsis.

    :param width: columns of the terminal.
    """
    width = max(width, 2 * _COLUMNS)
    parts = [textwrap.fill(" ".join(ABOUT.split()), width)]
    for heading, options in groups():
        parts += ["", f"{heading}:"]
        for option in options:
            parts += _entry(option.written, option.help, width)
    return "\n".join(parts) + "\n"


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    begin = f"  {name}".ljust(_COLUMNS)
    if not begin.endswith(" "):
        yield begin
        begin = " " * _COLUMNS
    yield textwrap.fill(text, width, initial_indent=begin, subsequent_indent=" " * _COLUMNS, break_on_hyphens=False)
