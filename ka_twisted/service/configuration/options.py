"""
The options of ``twistd keepalive``, read and checked before anything listens.

twistd answers a wrong option with the whole usage text on standard output. Here it is one sentence
on standard error, and status 1: `Options.parseOptions` ends the process itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from twisted.logger import Logger
from twisted.python import usage

from ..applications.afresh import sourcesAlone
from ..applications.sites import LoadedSite, loadSites
from ..errors import oneLine
from ..jsonlog import choose
from ..leftovers import removePidFile
from . import environment, files, help, show
from .builder import ConfigurationBuilder
from .commandline import CHECK, CONFIG, SHOW, CommandOption
from .completion import completions
from .setting import SourcedValue, SwitchSetting
from .settings import ALL_SETTINGS, ENDPOINT, LOG_JSON, SETTINGS, VERBOSE
from .values import Configuration

__all__ = ["SETTINGS", "Options", "refuse"]

#: Those of the command line that may be given once.
_OPTIONS = tuple(
    setting
    for setting in ALL_SETTINGS
    if setting.option and setting is not ENDPOINT and not isinstance(setting, SwitchSetting)
)
#: Those that are given without a value.
_SWITCHES = tuple(setting for setting in ALL_SETTINGS if isinstance(setting, SwitchSetting))

_log = Logger()


def refuse(sentence: str) -> NoReturn:
    """End the process with one sentence on standard error, and status 1."""
    raise SystemExit(f"keepalive: {sentence}")


def _say(text: str) -> None:
    """Print a text, whatever the terminal can show, and whether or not its reader wants all of it."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # The interpreter must not flush to it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Options(usage.Options):
    """
    What ``twistd keepalive`` was asked for.

    :ivar configuration: all of it, after `parseOptions`.
    :ivar applications: those of its sites, loaded and not started; none where workers serve them.
    """

    synopsis = "[options]"
    optFlags = [
        *([option.name, None, option.help] for option in (CHECK, SHOW)),
        *([setting.option, None, setting.help] for setting in _SWITCHES),
    ]
    optParameters = [
        [CONFIG.name, None, None, CONFIG.help],
        *(setting.parameter() for setting in _OPTIONS),
    ]

    compData = completions()

    configuration: Configuration
    applications: tuple[LoadedSite, ...]

    def __init__(self, reactor: Any = None, environ: Mapping[str, str] = os.environ) -> None:
        """
        :param reactor: where endpoints listen; that of the process by default.
        :param environ: the environment; what it says now is what it says at every reload.
        """
        super().__init__()
        self["listen"] = []
        self._reactor = reactor
        self._folder = os.getcwd()
        self._variables = environment.variables(environ)
        self._shown = ""
        #: Whether the log is JSON, which it is or is not from the start.
        self._logsJson: bool | None = None

    def opt_listen(self, endpoint: str) -> None:
        self["listen"].append(ENDPOINT.fromText(endpoint, os.getcwd(), f"--{ENDPOINT.option}"))

    opt_listen.__doc__ = CommandOption.ofSetting(ENDPOINT).help

    def getUsage(self, width: int | None = None) -> str:
        """See `usage.Options`; the options are in groups."""
        return help.usage(width or int(os.environ.get("COLUMNS", "80")))

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        try:
            print(f"ka_twisted {version('ka_twisted')}")
        except PackageNotFoundError:
            print("ka_twisted (not installed)")
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        if args:
            raise usage.UsageError(f"there is no use for the argument {args[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line and the configuration file; end the process when something is wrong with them, or when
        only a check was asked for.

        :raises SystemExit: with one sentence (status 1); with status 0 after ``--check``.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            refuse(oneLine(error))
        if self["check"]:
            _say(f"configuration is valid\n{self._shown}")
            raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Check all options together.

        :raises usage.UsageError: with one sentence, for the first thing that is wrong.
        """
        if self["show"] and not self["check"]:
            raise usage.UsageError("--show has no use without --check")
        if self.parent is not None and not self["check"] and self.parent.get("pidfile"):
            removePidFile(self.parent["pidfile"])  # twistd looks at it next
        # twistd may change the working directory before they are read anew.
        self._folder = os.getcwd()
        with sourcesAlone() if self["check"] else nullcontext():
            self.configuration = self.read()
            self.applications = () if self.configuration.workers else loadSites(self.configuration.sites)

    def read(self) -> Configuration:
        """
        Read the configuration file anew, and check it together with the command line and the environment, applications
        and certificates included. What is not wise about it is logged; with ``--check``, it is said on standard error.

        :raises usage.UsageError: with one sentence, for the first thing that is wrong.
        """
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        environ = environment.read(self._variables, self._folder)
        values = {
            setting: SourcedValue(self[setting.option], f"--{setting.option}")
            for setting in _OPTIONS
            if self[setting.option] is not None
        }
        values |= {setting: SourcedValue(True, f"--{setting.option}") for setting in _SWITCHES if self[setting.option]}
        builder = ConfigurationBuilder.of(
            self._file(), {**environ.values, **values}, self["listen"] or environ.repeated.get(ENDPOINT, [])
        )
        daemon = self.parent is not None and not self.parent.get("nodaemon", True)
        configuration = builder.configuration(self._reactor, daemon=daemon, checking=bool(self["check"]))
        self._chooseLog(builder)
        for warning in [*environ.warnings, *builder.warnings()]:
            if self["check"]:
                print(f"keepalive: warning: {warning}", file=sys.stderr)
            else:
                _log.warn("{warning}", warning=warning)
        if self["check"]:
            self._shown = show.sources(builder) if self["show"] else show.timersAndLimits(configuration)
        elif builder.value(VERBOSE):
            _log.info("timers and limits:\n{table}", table=show.timersAndLimits(configuration))
        return configuration

    def _chooseLog(self, builder: ConfigurationBuilder) -> None:
        """Have twistd write its log as it is to be, before it begins to."""
        wanted = bool(builder.value(LOG_JSON))
        if self._logsJson is None:
            self._logsJson = wanted
            if wanted and self.parent is not None:
                try:
                    choose(self.parent)
                except ValueError as error:
                    raise builder.values[LOG_JSON].error(str(error)) from None
        elif wanted != self._logsJson:
            _log.warn("to change log-json takes a restart")

    def _file(self) -> files.Table:
        """The configuration file; an empty one, where there is none."""
        if self["config"] is not None:
            return files.read(self["config"], self._folder)
        if name := self._variables.get(CONFIG.variable):
            return files.read(name, self._folder, CONFIG.variable)
        return files.Table("")
