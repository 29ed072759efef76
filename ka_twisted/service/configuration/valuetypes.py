"""
The types that values of settings have: how a word of the command line and a value of TOML become one, and the rest of
the sentence that says why one cannot. Which settings there are is in `settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from .addresses import description
from .endpoints import resolvePaths

#: As many workers as there are cores that we may use.
AUTO = "auto"


@dataclass(frozen=True, eq=False)
class ValueType:
    """
    What values of a setting look like.

    :ivar noun: what a sentence calls them.
    :ivar types: the types of TOML that are accepted.
    :ivar parse: makes one from a word of the command line; raises ValueError.
    :ivar convert: makes of it what the server works with; raises ValueError with the rest of a sentence.
    :ivar resolve: makes relative paths in it begin at a folder.
    :ivar name: what the help calls a value.
    :ivar textNoun: what a sentence calls them on the command line; empty: the same as in TOML.
    """

    noun: str
    types: tuple[type, ...]
    parse: Callable[[str], Any] = str
    convert: Callable[[Any], Any] = lambda value: value
    resolve: Callable[[Any, str], Any] = lambda value, folder: value
    name: str = "VALUE"
    textNoun: str = ""

    def accept(self, value: Any, folder: str) -> Any:
        """
        Take a value of the configuration file.

        :param folder: where relative paths begin.
        :raises ValueError: with the rest of a sentence that begins with the name of the setting.
        """
        if type(value) not in self.types:  # True is no whole number
            raise ValueError(f" wants {self.noun}, not {asText(value)}")
        if isinstance(value, str) and "\0" in value:  # neither a path nor a name has one, and few functions say so well
            raise ValueError(f" holds a NUL character: {value!r}")
        return self.resolve(self.convert(value), folder)

    def acceptText(self, text: str, folder: str) -> Any:
        """
        Take a word of the command line.

        :raises ValueError: as above.
        """
        try:
            value = self.parse(text)
        except ValueError:
            raise ValueError(f" wants {self.textNoun or self.noun}, not {text!r}") from None
        return self.accept(value, folder)


def asText(value: object) -> str:
    """A value of TOML in a sentence."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    return repr(value) if isinstance(value, (str, int, float)) else "a date or time"


def listed(words: tuple[str, ...]) -> str:
    """Words as a sentence has them: ``a, b or c``."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _workers(text: str) -> int | str:
    return text if text == AUTO else int(text)


_FLAGS = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _networks(texts: list[object]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        # ip_network() takes numbers for addresses.
        return tuple(ip_network(text.strip() if isinstance(text, str) else repr(text)) for text in texts)
    except ValueError as error:
        raise ValueError(f" wants networks such as 10.0.0.0/8: {error}") from None


def _path(text: str, folder: str) -> str:
    return text if text == "-" else os.path.abspath(os.path.join(folder, text))


NUMBER = ValueType("a number", (int, float), _number, name="NUMBER")
SECONDS = ValueType("a number", (int, float), _number, name="SECONDS")
WHOLE = ValueType("a whole number", (int,), int, name="NUMBER")
WORKERS_COUNT = ValueType("a whole number or 'auto'", (int, str), _workers, name="N|auto")
TEXT = ValueType("a text", (str,))
APPLICATION = ValueType("a text", (str,), name="MODULE:ATTRIBUTE")
PATH = ValueType("a text", (str,), resolve=_path, name="FILE")
ENDPOINT_TEXT = ValueType("a text", (str,), convert=description, resolve=resolvePaths, name="ENDPOINT")
FLAG = ValueType("true or false", (bool,), _flag, name="on|off", textNoun="on or off")
NETWORKS = ValueType("an array of texts", (list,), lambda text: text.split(","), _networks, name="NETWORK,...")
