"""
Print a completion of options for a shell. bash: source it in ~/.bashrc, or write it to
~/.local/share/bash-completion/completions/twistd. zsh: write it to a file _twistd in a folder of $fpath. fish: write it
to ~/.config/fish/completions/twistd.fish.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from twisted.python import usage

from .commandline import CommandOption, options

#: The command of which ours is a part.
_TWISTD = "twistd"
_OURS = "keepalive"

_BASH = """\
# Completion of "twistd keepalive" for bash. Made by: python -m ka_twisted completion bash
_ka_twisted_twistd() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD-1]}} ours= index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        [[ ${{COMP_WORDS[index]}} == {ours} ]] && ours=yes
    done
    # bash takes the = of --option=value for a word.
    if [[ $word == = ]]; then
        word=
    elif [[ $option == = ]]; then
        option=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if [[ ! $ours ]]; then
        case $option in
{twistd}
        esac
    else
        case $option in
{keepalive}
        esac
    fi
}}
complete -F _ka_twisted_twistd twistd
"""

_ZSH = """\
#compdef twistd
# Completion of twistd for zsh; "twistd keepalive" included. Made by: python -m ka_twisted completion zsh
# Twisted makes the completion of what is on the line: zsh's own _twistd does the same, where it has one.
local command output
command=("$words[@]" --_shell-completion zsh:$CURRENT)
output=$("$command[@]" 2>/dev/null)
[[ $output == "#compdef "* ]] || return 1
eval $output
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what `run` understands."""
    parser.add_argument("shell", choices=sorted(SHELLS), help="the shell")


def run(namespace: argparse.Namespace) -> int:
    """Print the completion for one shell."""
    sys.stdout.write(SHELLS[namespace.shell]())
    return 0


def completions() -> usage.Completions:
    """What Twisted's completion for zsh has to know of the options."""
    return usage.Completions(
        multiUse=[option.name for option in options() if option.repeatable],
        optActions={option.name: _completer(option) for option in options() if option.valueName},
    )


def _completer(option: CommandOption) -> Any:
    if option.isFile:
        return usage.CompleteFiles(descr="file")
    if option.words:
        return usage.CompleteList(list(option.words))
    return usage.Completer(descr=option.valueName)


def bash() -> str:
    """The completion for bash."""
    own = _bashCases(options(), [f"--{option.name}" for option in options()])
    names = [f"--{option.name}" for option in _twistdOptions()]
    return _BASH.format(ours=_OURS, twistd=_bashCases(_twistdOptions(), [*names, _OURS]), keepalive=own)


def _bashCases(known: Iterable[CommandOption], otherwise: Iterable[str]) -> str:
    """What is offered behind each option that takes a value, and elsewhere."""
    files = [option for option in known if option.isFile]
    free = [option for option in known if option.valueName and not option.words and not option.isFile]
    cases = [
        (files, 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")'),
        *(([option], _bashWords(option.words)) for option in known if option.words),
        (free, ":"),
    ]
    lines = [
        f"            {'|'.join(f'--{option.name}' for option in those)}) {action} ;;"
        for those, action in cases
        if those
    ]
    return "\n".join([*lines, f"            *) {_bashWords(otherwise)} ;;"])


def _bashWords(words: Iterable[str]) -> str:
    return f'mapfile -t COMPREPLY < <(compgen -W {shlex.quote(" ".join(words))} -- "$word")'


def fish() -> str:
    """The completion for fish."""
    lines = [
        '# Completion of "twistd keepalive" for fish. Made by: python -m ka_twisted completion fish',
        "function __ka_twisted_keepalive",
        f"    contains -- {_OURS} (commandline -opc)",
        "end",
        f"complete -c {_TWISTD} -n 'not __ka_twisted_keepalive' -f -a {_OURS} -d 'Serve HTTP with an application'",
    ]
    lines += [_fishLine("not __ka_twisted_keepalive", option) for option in _twistdOptions()]
    lines += [_fishLine("__ka_twisted_keepalive", option) for option in options()]
    return "\n".join(lines) + "\n"


def _fishLine(condition: str, option: CommandOption) -> str:
    values = "-f"
    if option.isFile:
        values = "-r -F"
    elif option.words:
        values = f"-x -a {_fishQuoted(' '.join(option.words))}"
    elif option.valueName:
        values = "-x"
    about = _fishQuoted(option.help)
    return f"complete -c {_TWISTD} -n {_fishQuoted(condition)} -l {option.name} {values} -d {about}"


def _fishQuoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def zsh() -> str:
    """The completion for zsh, which Twisted makes of `completions`."""
    return _ZSH


def _twistdOptions() -> list[CommandOption]:
    """Those of twistd itself, which stand before our command."""
    twistd: Any = import_module("twisted.scripts.twistd")
    known = twistd.ServerOptions()
    return [
        CommandOption(
            name.rstrip("="),
            " ".join(str(known.docs.get(name.rstrip("="), "")).split()),
            valueName=_twistdValue(name),
        )
        for name in sorted(known.longOpt)
    ]


def _twistdValue(name: str) -> str:
    if not name.endswith("="):
        return ""
    files = ("logfile=", "pidfile=", "python=", "file=", "source=", "rundir=", "chroot=", "profile=")
    return "FILE" if name in files else "VALUE"


SHELLS = {"bash": bash, "fish": fish, "zsh": zsh}
