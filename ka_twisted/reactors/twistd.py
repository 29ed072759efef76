"""What ``--reactor uvloop`` of Twisted's commands calls."""

from __future__ import annotations


def install() -> None:
    """
    Install the reactor on uvloop.

    :raises SystemExit: with one sentence, when uvloop is not there.
    """
    try:
        import uvloop  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"The uvloop reactor needs the package uvloop (pip install uvloop): {error}.") from None
    from .uvloop import install

    install()
