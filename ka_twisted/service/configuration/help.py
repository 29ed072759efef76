"""The help of ``twistd keepalive``: its options in the order of the table of settings, each group under its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from .setting import Setting, SwitchSetting
from .settings import ALL_SETTINGS

#: The headings, by the table in which the settings of a group stand in the file.
GROUPS = {
    "": "Server",
    "listen": "Listening",
    "timeouts": "Timers, in seconds; 0 disables one",
    "limits": "Limits; 0 disables one",
    "policy": "Policy",
    "admin": "Administration",
}
_ABOUT = """\
Serve HTTP with a Python application. Times are in seconds and may be fractions. SIGHUP reloads the configuration,
SIGUSR1 reopens the access log, SIGTERM finishes open requests and stops; a second signal stops at once.
"""
#: Columns of an option; a longer one has its help on the next line.
_COLUMNS = 34


def usage(general: Iterable[tuple[str, str]], repeatable: Setting, width: int) -> str:
    """
    The help, but for the synopsis.

    :param general: options that are no settings, and their help.
    :param repeatable: the option that may be given several times.
    :param width: columns of the terminal.
    """
    width = max(width, 2 * _COLUMNS)
    parts = [textwrap.fill(" ".join(_ABOUT.split()), width), "", "General:"]
    for name, text in general:
        parts += _entry(name, text, width)
    for table, heading in GROUPS.items():
        parts += ["", f"{heading}:"]
        for setting in ALL_SETTINGS:
            if setting.table == table and setting.option:
                more = " May be given several times." if setting is repeatable else ""
                if isinstance(setting, SwitchSetting):
                    parts += _entry(f"--{setting.option}", setting.help, width)
                    continue
                name = f"--{setting.option}={setting.valueName}"
                parts += _entry(name, f"{setting.help}{more}{setting.shownDefault}", width)
    return "\n".join(parts) + "\n"


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    begin = f"  {name}".ljust(_COLUMNS)
    if not begin.endswith(" "):
        yield begin
        begin = " " * _COLUMNS
    yield textwrap.fill(text, width, initial_indent=begin, subsequent_indent=" " * _COLUMNS, break_on_hyphens=False)
