"""
The pages as they are sent: whole, with their style and their script inside.

Nothing else is loaded, and their policy lets nothing else run: what a client has sent and the page shows cannot become
a part of it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

_HERE = Path(__file__).parent
#: For every response: not stored, not framed, not taken for another type.
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
#: The policy of a response that is not a page.
NOTHING = "default-src 'none'; frame-ancestors 'none'"


class Page:
    """
    A page with its style and scripts.

    :param name: of its file.
    :param scripts: the names of those that it runs, joined into one function.
    :ivar policy: its Content-Security-Policy.
    """

    def __init__(self, name: str, scripts: Sequence[str] = ()) -> None:
        style = _read("style.css")
        parts = "\n".join(_read(f"{script}.js") for script in scripts)
        code = f'(() => {{\n"use strict";\n{parts}}})();\n' if scripts else ""
        self._html = _read(f"{name}.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", code)
        allowed = f"script-src {_source(code)}; require-trusted-types-for 'script'; " if scripts else ""
        self.policy = (
            f"default-src 'none'; {allowed}style-src {_source(style)}; connect-src 'self'; img-src data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )

    def html(self, text: str = "") -> str:
        """
        The page's HTML.

        :param text: a sentence for the place that it has for one.
        """
        return self._html.replace("<!--TEXT-->", escape(text))


def _read(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _source(content: str) -> str:
    """How a policy names a style or script within the page."""
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
