"""
Print the manual page of "twistd keepalive", twistd-keepalive(1), made from the table of its options. The distribution
installs it below share/man, so that "man twistd-keepalive" shows it.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator

from .commandline import CommandOption, groups
from .help import ABOUT

_WIDTH = 72
_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}

_SYNOPSIS = r"""
.B twistd
.RI [ "options of twistd" ]
.B keepalive
.RI [ options ]
.br
.B python \-m ka_twisted
.BR explain | install\-service | completion | man
.RI [ arguments ]
"""

_VALUES = """
What is set on the command line wins over the environment, that over the configuration file, and that over the default.
With --check --show the command says of each value where it came from.

Each option below is followed by its environment variable and its key in the configuration file. A variable holds what
the option takes; several values of an option that may be given several times are separated by spaces. An empty variable
is as one that is not set, an unknown one is warned about.
"""

_SIGNALS = (
    ("SIGHUP", "Read the configuration file anew. Where it is wrong, the old configuration stays."),
    ("SIGUSR1", "Open the access log anew, after it was moved away."),
    ("SIGTERM, SIGINT", "Finish open requests, within --drain-timeout, and stop; a second signal stops at once."),
)

_STATUS = (
    ("0", "The server has ended as it was asked to, or the configuration is valid."),
    ("1", "The configuration is wrong, or the server cannot start; standard error says why in one sentence."),
)

_EXAMPLES = (
    ("twistd -n keepalive", "Serve the playground on 127.0.0.1:8080, in the foreground."),
    (
        "twistd -n keepalive --app shop.web:handler --listen :80 --workers auto",
        "Serve an application on all addresses.",
    ),
    ("twistd -n keepalive --config /etc/shop.toml --check --show", "Show what would hold, and where it came from."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell argparse that `run` needs none."""


def run(namespace: argparse.Namespace) -> int:
    """Print the page."""
    sys.stdout.write(page())
    return 0


def page() -> str:
    """The page, for man(7)."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.\\" Made by: python -m ka_twisted man'
    yield '.TH TWISTD\\-KEEPALIVE 1 "" ka_twisted "ka_twisted manual"'
    yield ".SH NAME"
    yield "twistd\\-keepalive \\- HTTP server for Python applications, on Twisted"
    yield ".SH SYNOPSIS"
    yield _SYNOPSIS.strip()
    yield ".SH DESCRIPTION"
    yield from _paragraphs(f"{ABOUT}\n{_VALUES}")
    yield ".SH OPTIONS"
    for heading, options in groups():
        yield f".SS {_quoted(heading)}"
        for option in options:
            yield from _option(option)
    yield from _entries("SIGNALS", _SIGNALS)
    yield from _entries("EXIT STATUS", _STATUS)
    yield from _entries("EXAMPLES", _EXAMPLES)
    yield ".SH SEE ALSO"
    yield ".BR twistd (1)"


def _option(option: CommandOption) -> Iterator[str]:
    yield ".TP"
    value = f"=\\fI{_text(option.valueName)}\\fR" if option.valueName else ""
    yield f"\\fB{_text(f'--{option.name}')}\\fR{value}"
    yield from _prose(option.help)
    names = [f"\\fB{_text(name)}\\fR" for name in (option.variable, option.place) if name]
    if names:
        yield ".br"
        yield ", ".join(names)


def _entries(heading: str, entries: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {heading}"
    for term, text in entries:
        yield from (".TP", f"\\fB{_text(term)}\\fR", *_prose(text))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        yield from _prose(paragraph)


def _prose(text: str) -> Iterator[str]:
    """A text on lines of a width that editors show; roff fills them anew."""
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield _text(line)


def _text(text: str) -> str:
    """A text in which nothing has a meaning to roff, and dashes stay those that are typed."""
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _quoted(text: str) -> str:
    return f'"{_text(text)}"'
