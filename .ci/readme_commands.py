"""
Print one of the two commands that README.md promises: ``readme_commands.py README.md serve``.

README.md has exactly two fenced ``sh`` blocks, each with one line, and above each a comment:
``<!-- command: serve -->`` and ``<!-- command: test -->``. Anything else is an error.
"""

import re
import sys
from pathlib import Path

NAMES = ("serve", "test")
MARKED = re.compile(r"<!-- command: (\w+) -->\n+```sh\n(.*?)\n```", re.DOTALL)


def commands(text: str) -> dict[str, str]:
    """
    The commands of a README by name.

    :raises ValueError: when there are not exactly the two, each on one line.
    """
    found = MARKED.findall(text)
    if sorted(name for name, _ in found) != sorted(NAMES) or text.count("```sh\n") != len(NAMES):
        raise ValueError("README.md must have exactly two sh blocks, marked serve and test")
    for name, command in found:
        if "\n" in command:
            raise ValueError(f"the command {name} of README.md must be one line")
    return dict(found)


if __name__ == "__main__":
    _, path, wanted = sys.argv
    try:
        print(commands(Path(path).read_text(encoding="utf-8"))[wanted])
    except (ValueError, KeyError) as error:
        sys.exit(f"readme_commands.py: {error}")
