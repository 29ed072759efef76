"""What a setting is: its option, its variable and its key in the file, its type, its checks, its help."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import inf
from typing import Any

from twisted.python import usage

from ...config import Limits, Policy, TcpKeepAlive, Timeouts
from ...observe.directives import makeFormat
from .valuetypes import AUTO, FLAG, NUMBER, WHOLE, WORKERS_COUNT, ValueType, asText, listed

#: What the names of environment variables begin with.
PREFIX = "KA_TWISTED_"
#: The classes whose fields are set one by one.
Owner = type[Timeouts] | type[Limits] | type[Policy]


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """
    Something that can be set.

    :ivar table: where it stands in the file; empty: above all tables.
    :ivar key: its name there.
    :ivar option: its name on the command line; empty: it has none.
    :ivar help: what it sets, with its unit: the help of the option, and the comment in the example of the file.
    :ivar default: what holds unless it is set; None: that it is not set means something of its own.
    :ivar example: a value for those that have no default.
    :ivar repeatable: whether the option may be given several times; the variable then holds several words.
    """

    table: str = ""
    key: str
    valueType: ValueType
    help: str
    option: str = ""
    default: Any = None
    example: Any = None
    repeatable: bool = False

    @property
    def place(self) -> str:
        """Its name in the file, with the table: ``timeouts.idle``."""
        return f"{self.table}.{self.key}" if self.table else self.key

    @property
    def variable(self) -> str:
        """Its name in the environment; empty: it has none, because it has no option."""
        return variableOf(self.option) if self.option else ""

    @property
    def valueName(self) -> str:
        """What the help of the command line calls its value."""
        return self.valueType.name

    def accept(self, value: Any) -> Any:
        """
        Check a value of the right type.

        :raises ValueError: with the rest of a sentence, for one that is not allowed.
        """
        return value

    def parameter(self) -> list[Any]:
        """The option, as `usage.Options` wants it. None stands for all that is not set."""
        return [self.option, None, None, f"{self.help}{self.shownDefault}", self._fromText]

    @property
    def shownDefault(self) -> str:
        """The default, as the help has it."""
        if self.default is None:
            return ""
        shown = {True: "on", False: "off"}[self.default] if isinstance(self.default, bool) else self.default
        return f" [default: {shown}]"

    def fromText(self, text: str, folder: str, source: str) -> SourcedValue:
        """
        Take a word of the command line, or of the environment.

        :param folder: where relative paths begin.
        :param source: the option or the variable.
        :raises usage.UsageError: with one sentence, for one that is not allowed.
        """
        try:
            return SourcedValue(self.accept(self.valueType.acceptText(text, folder)), source)
        except ValueError as error:
            raise usage.UsageError(f"{source}{error}") from None

    def _fromText(self, text: str) -> Any:
        return self.fromText(text, os.getcwd(), f"--{self.option}").value


def variableOf(option: str) -> str:
    """The environment variable that sets the same as an option."""
    return PREFIX + option.upper().replace("-", "_")


@dataclass(frozen=True, eq=False, kw_only=True)
class FieldSetting(Setting):
    """Becomes a field of `Timeouts`, `Limits` or `Policy`, which checks it."""

    owner: Owner
    field: str

    @property
    def valueName(self) -> str:
        """See `Setting`."""
        return "SECONDS" if self.owner is Timeouts else super().valueName

    def accept(self, value: Any) -> Any:
        values: dict[str, Any] = {self.field: value}
        try:
            self.owner(**values)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{self.owner.__name__}.{self.field}")) from None
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class ChoiceSetting(Setting):
    """One of several words."""

    words: tuple[str, ...]

    @property
    def valueName(self) -> str:
        """See `Setting`."""
        return "|".join(self.words)

    def accept(self, value: Any) -> Any:
        if value not in self.words:
            raise ValueError(f" is {listed(self.words)}, not {value!r}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class SwitchSetting(Setting):
    """Something that is off unless it is named: its option takes no value."""

    valueType: ValueType = field(default=FLAG)
    default: Any = False


@dataclass(frozen=True, eq=False, kw_only=True)
class LogFormatSetting(Setting):
    """A format of the access log."""

    @property
    def valueName(self) -> str:
        """See `Setting`."""
        return "combined|json|FORMAT"

    def accept(self, value: Any) -> Any:
        makeFormat(value)
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class CountSetting(Setting):
    """A number of things."""

    valueType: ValueType = field(default=WHOLE)

    def accept(self, value: Any) -> Any:
        if value < 0:
            raise ValueError(f" must not be negative: {value}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class WorkersSetting(CountSetting):
    """A number of processes, or the word for one for each core."""

    valueType: ValueType = field(default=WORKERS_COUNT)

    def accept(self, value: Any) -> Any:
        if isinstance(value, str):
            if value != AUTO:
                raise ValueError(f" wants {self.valueType.noun}, not {asText(value)}")
            return value
        return super().accept(value)


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondsSetting(Setting):
    """A time in seconds."""

    valueType: ValueType = field(default=NUMBER)

    @property
    def valueName(self) -> str:
        """See `Setting`."""
        return "SECONDS"

    def accept(self, value: Any) -> Any:
        if not 0 <= value < inf:
            raise ValueError(f" must not be negative or infinite: {value}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class TcpKeepAliveSetting(Setting):
    """The kernel's keep-alive probes."""

    @property
    def valueName(self) -> str:
        """See `Setting`."""
        return "IDLE[:INTERVAL[:COUNT]]"

    def accept(self, value: Any) -> Any:
        try:
            return TcpKeepAlive.fromString(value)
        except ValueError as error:
            raise ValueError(f": {error}") from None


@dataclass(frozen=True)
class SourcedValue:
    """
    A value that was set, and where.

    :ivar source: an option, a variable, or a line of a file: its text begins a sentence.
    """

    value: Any
    source: object

    @property
    def origin(self) -> str:
        """Where it was set, in short: the option, the variable, or ``FILE:LINE``."""
        return str(getattr(self.source, "origin", self.source))

    def error(self, rest: str) -> usage.UsageError:
        """The error about it: one sentence."""
        return usage.UsageError(f"{self.source}{rest}")


def timer(option: str, name: str, help: str, example: float | None = None) -> FieldSetting:
    """A field of `Timeouts`; its key in the file is the option without ``-timeout``."""
    return FieldSetting(
        table="timeouts",
        key=option.removesuffix("-timeout"),
        option=option,
        valueType=NUMBER,
        help=help,
        owner=Timeouts,
        field=name,
        default=_default(Timeouts, name),
        example=example,
    )


def limit(option: str, name: str, help: str, valueType: ValueType = WHOLE) -> FieldSetting:
    """A field of `Limits`."""
    return FieldSetting(
        table="limits",
        key=option,
        option=option,
        valueType=valueType,
        help=help,
        owner=Limits,
        field=name,
        default=_default(Limits, name),
    )


def policy(option: str, name: str, help: str) -> FieldSetting:
    """A field of `Policy`."""
    return FieldSetting(
        table="policy",
        key=option,
        option=option,
        valueType=FLAG,
        help=help,
        owner=Policy,
        field=name,
        default=_default(Policy, name),
    )


def _default(owner: Owner, name: str) -> Any:
    default = getattr(owner(), name)
    return int(default) if isinstance(default, float) and default.is_integer() else default
