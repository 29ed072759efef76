"""
The environment variables that set what an option sets: ``KA_TWISTED_IDLE_TIMEOUT`` for ``--idle-timeout``.

A variable of ours that means nothing is warned about, not refused as an unknown option or key is: the environment is
written by others too. Kubernetes gives every container the addresses of all services of its namespace, as variables
that begin with the name of the service; one file of variables serves several versions of a server. To refuse to start
because of a variable that was not written for this server would be worse than to say that it has no effect.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .setting import PREFIX, Setting, SourcedValue, variableOf
from .settings import ALL_SETTINGS

#: What stands for options that are no settings.
CONFIG = variableOf("config")
#: What Kubernetes, and links of containers, make of a service or a container called ka-twisted.
_FOREIGN = re.compile(
    rf"{PREFIX}(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|NAME|ENV_\w+|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True)
class Environment:
    """
    What the environment sets.

    :ivar values: those of settings that are set once.
    :ivar repeated: those of settings that may be given several times.
    :ivar warnings: a sentence for each variable that means nothing.
    """

    values: Mapping[Setting, SourcedValue]
    repeated: Mapping[Setting, list[SourcedValue]]
    warnings: list[str]


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are ours. An empty one is as one that is not there: so files of variables say that nothing is set."""
    return {name: value for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}


def read(variables: Mapping[str, str], folder: str) -> Environment:
    """
    Take the values of variables.

    :param folder: where relative paths begin.
    :raises usage.UsageError: with one sentence that begins with the variable, for a value that is not allowed.
    """
    values: dict[Setting, SourcedValue] = {}
    repeated: dict[Setting, list[SourcedValue]] = {}
    for name, text in variables.items():
        setting = _SETTINGS.get(name)
        if setting is None:
            continue
        if setting.repeatable:
            repeated[setting] = [setting.fromText(word, folder, name) for word in text.split()]
        else:
            values[setting] = setting.fromText(text.strip(), folder, name)
    return Environment(values, repeated, list(_warnings(variables)))


def _warnings(variables: Mapping[str, str]) -> Iterator[str]:
    for name in variables:
        if name not in NAMES and not _FOREIGN.fullmatch(name):
            yield f"{name} is unknown and has no effect{_suggestion(name)}"


def _suggestion(name: str) -> str:
    """What may have been meant: also by the name in the file."""
    keys = {f"{PREFIX}{key.upper().replace('-', '_').replace('.', '_')}": name for key, name in _KEYS.items()}
    upper = name.upper()
    if upper in keys:
        return f"; did you mean {keys[upper]}?"
    close = difflib.get_close_matches(upper, NAMES, 1, 0.8)
    return f"; did you mean {close[0]}?" if close else ""


_SETTINGS = {setting.variable: setting for setting in ALL_SETTINGS if setting.option}
_KEYS = {
    key: setting.variable
    for setting in reversed(ALL_SETTINGS)
    if setting.option
    for key in (setting.key, f"{setting.table}.{setting.key}")
}
#: All variables that mean something.
NAMES = (CONFIG, *_SETTINGS)
