"""An example of the configuration file that shows every setting, made from the table of settings."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from .settings import ALL_SETTINGS, ARRAYS
from .valuetypes import asText

_HEAD = """\
# Configuration of "twistd keepalive --config FILE". Lines that begin with "# " are comments and examples; lines that
# begin with "#" alone hold the defaults: remove the "#" to change one. Times are in seconds and may be fractions;
# 0 disables a timer or a limit. Relative paths are relative to the folder of this file. Options of the command line
# and environment variables (KA_TWISTED_IDLE_TIMEOUT for --idle-timeout) override it. SIGHUP reloads it;
# "twistd keepalive --config FILE --check" checks it, and with --show says where each value came from.
"""

_ABOUT = {
    "timeouts": "Timers of a connection, in seconds; 0 disables one.",
    "limits": "Limits on what clients can make the server hold; 0 disables one.",
    "policy": "Behaviour that the standards leave to the server.",
    "listen": "An endpoint to listen on; repeat the table for each.",
    "listen.tls": "TLS on this endpoint; without the table it speaks plain HTTP.",
    "listen.tls.certificates": "A certificate; repeat the table for each. SNI selects one, the first is the default.",
    "site": "An application for a host and a path prefix; repeat the table for each. The app above gets the rest.",
    "admin": "The admin page, metrics and health checks, on an endpoint of their own.",
}


def example() -> str:
    """
    A configuration file that sets nothing, and shows everything.

    Its lines that begin with ``#`` and no blank hold the defaults, as TOML.
    """
    return _HEAD + "".join(_section(table) for table in dict.fromkeys(setting.table for setting in ALL_SETTINGS))


def _section(table: str) -> str:
    settings = [setting for setting in ALL_SETTINGS if setting.table == table]
    # Where no such table means something else than an empty one, there are only examples.
    defaults = table in ("", "timeouts", "limits", "policy", "listen")
    lines = [""]
    if table:
        header = f"[[{table}]]" if table in ARRAYS else f"[{table}]"
        lines += [f"# {_ABOUT[table]}", f"#{header}" if defaults else f"# {header}"]
    for setting in settings:
        lines += ["", *textwrap.wrap(setting.help, 118, initial_indent="# ", subsequent_indent="# ")]
        shows = defaults and setting.default is not None
        value = setting.default if setting.example is None else setting.example
        lines.append(f"{'#' if shows else '# '}{setting.key} = {literal(setting.default if shows else value)}")
    return "\n".join(lines) + "\n"


def literal(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, str):
        # JSON's texts are TOML's but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return asText(value)
