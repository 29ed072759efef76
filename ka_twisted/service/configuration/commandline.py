"""
The options of ``twistd keepalive`` in groups, as the help, the completion of shells and the manual page show them: made
from the table of settings, and those few that are no settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .setting import Setting, SwitchSetting, variableOf
from .settings import ALL_SETTINGS

#: The headings, by the table in which the settings of a group stand in the file.
_GROUPS = {
    "": "Server",
    "listen": "Listening",
    "timeouts": "Timers, in seconds; 0 disables one",
    "limits": "Limits; 0 disables one",
    "policy": "Policy",
    "admin": "Administration",
}


@dataclass(frozen=True)
class CommandOption:
    """
    An option of the command line.

    :ivar name: without its dashes.
    :ivar help: one sentence or two.
    :ivar valueName: what its value is called; empty: it takes none.
    :ivar variable: the environment variable that sets the same; empty: none does.
    :ivar place: the key in the file that sets the same; empty: none does.
    :ivar repeatable: whether it may be given several times.
    """

    name: str
    help: str
    valueName: str = ""
    variable: str = ""
    place: str = ""
    repeatable: bool = False

    @classmethod
    def ofSetting(cls, setting: Setting) -> CommandOption:
        """The option of a setting."""
        more = " May be given several times." if setting.repeatable else ""
        switch = isinstance(setting, SwitchSetting)
        return cls(
            name=setting.option,
            help=f"{setting.help}{more}{'' if switch else setting.shownDefault}",
            valueName="" if switch else setting.valueName,
            variable=setting.variable,
            place=setting.place,
            repeatable=setting.repeatable,
        )

    @property
    def written(self) -> str:
        """``--name=VALUE``."""
        return f"--{self.name}={self.valueName}" if self.valueName else f"--{self.name}"

    @property
    def words(self) -> tuple[str, ...]:
        """The words that may be its value: those of the value's name in small letters stand for themselves."""
        return tuple(word for word in self.valueName.split("|") if word and word == word.lower())

    @property
    def isFile(self) -> bool:
        """Whether its value is the name of a file."""
        return self.valueName == "FILE"


CONFIG = CommandOption(
    "config",
    "Configuration file in TOML, also for several listeners and sites; options and variables override it.",
    "FILE",
    variable=variableOf("config"),
)
CHECK = CommandOption(
    "check",
    "Check the configuration, with its applications, certificates and endpoints, show timers and limits, and exit.",
)
SHOW = CommandOption("show", "With --check: show every setting, its value, and where that came from.")
VERSION = CommandOption("version", "Show the version and exit.")
HELP = CommandOption("help", "Show this help and exit.")


def groups() -> Iterator[tuple[str, list[CommandOption]]]:
    """The heading and the options of each group."""
    yield "General", [CONFIG, CHECK, SHOW, VERSION, HELP]
    for table, heading in _GROUPS.items():
        settings = [setting for setting in ALL_SETTINGS if setting.table == table and setting.option]
        yield heading, [CommandOption.ofSetting(setting) for setting in settings]


def options() -> list[CommandOption]:
    """All of them."""
    return [option for _, group in groups() for option in group]
