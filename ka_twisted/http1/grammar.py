"""
The grammar of HTTP/1 messages (RFC 9112), as regular expressions named after their ABNF rules. The only place that
knows it.

Strict where leniency lets two parsers disagree about where a message ends (RFC 9112 11.2).
"""

from __future__ import annotations

import re

from ..core.grammar import field_content, tchar

#: Any visible ASCII but ``#``: RFC 9112 3.2 with the fragment left out (ledger H-14).
request_target = re.compile(rb'[!-"$-~]+')

#: RFC 9112 3, of the versions that are served: 1.0 to 1.9 (ledger H-02).
request_line = re.compile(rf"({tchar}+) ([!-\"$-~]+) HTTP/1\.([0-9])\r\n".encode())

#: RFC 9112 5; blanks round the value are stripped by the caller.
field_line = re.compile(rf"({tchar}+):({field_content})\r\n".encode("latin-1"))

#: RFC 9112 4, as a client reads it (ledger H-27), without the end of the line.
status_line = re.compile(rb"HTTP/([0-9])\.([0-9])[ \t]+([0-9]{3})(?:[ \t]+([\t -~\x80-\xff]*))?")

#: RFC 9112 5.1 and 5.2, as a client reads them (ledger H-22, H-24), without the end of the line.
lenient_field_line = re.compile(rf"({tchar}+)[ \t]*:({field_content})".encode("latin-1"))
folded_line = re.compile(rf"[ \t]({field_content})".encode("latin-1"))

#: RFC 9112 7.1, with at most 16 digits so that no counter anywhere can overflow (ledger L-24). Blanks are accepted only
#: round the separators of an extension, as RFC 9112 7.1.1 has them.
_extension = rf'[ \t]*;[ \t]*{tchar}+(?:[ \t]*=[ \t]*(?:{tchar}+|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?'
chunk_line = re.compile(rf"([0-9A-Fa-f]{{1,16}})((?:{_extension})*)\r\n".encode("latin-1"))
