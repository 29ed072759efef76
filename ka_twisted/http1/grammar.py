"""
The grammar of HTTP/1, as regular expressions named after their ABNF rules. The only place that knows it.

Strict where leniency lets two parsers disagree about where a message ends (RFC 9112 11.2).
"""

from __future__ import annotations

import re

#: RFC 9110 5.6.2
tchar = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
token = re.compile(rf"{tchar}+".encode())

#: Any visible ASCII but ``#``: RFC 9112 3.2 with the fragment left out (ledger H-14).
request_target = re.compile(rb'[!-"$-~]+')

#: RFC 9112 3, of the versions that are served: 1.0 to 1.9 (ledger H-02).
request_line = re.compile(rf"({tchar}+) ([!-\"$-~]+) HTTP/1\.([0-9])\r\n".encode())

#: RFC 9110 5.5: no control but HT; ``obs-text`` passes. Blanks round the value are stripped by the caller.
field_content = r"[\t -~\x80-\xff]*"
field_line = re.compile(rf"({tchar}+):({field_content})\r\n".encode("latin-1"))

#: RFC 9112 4, as a client reads it (ledger H-07, H-27).
status_line = re.compile(rb"HTTP/([0-9])\.([0-9])[ \t]+([0-9]{3})(?:[ \t]+([\t -~\x80-\xff]*))?\r?\n")

#: RFC 9112 7.1, with at most 16 digits so that no counter anywhere can overflow (ledger L-24). Blanks are accepted only
#: round the separators of an extension, as RFC 9112 7.1.1 has them.
_extension = rf'[ \t]*;[ \t]*{tchar}+(?:[ \t]*=[ \t]*(?:{tchar}+|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?'
chunk_line = re.compile(rf"([0-9A-Fa-f]{{1,16}})((?:{_extension})*)\r\n".encode("latin-1"))

#: RFC 9110 8.6
content_length = re.compile(rb"[0-9]+")

#: RFC 9110 7.2: ``uri-host [":" port]``, without userinfo. Registered names as RFC 3986 3.2.2 has them, but for the
#: sub-delimiter ``,``, which only ever appears there when two Host values were joined (ledger H-20).
_ipv6 = rb"\[[0-9A-Fa-f:.]{2,45}\]|\[v[0-9A-Fa-f]+\.[!$&'()*+;=:.\-_~0-9A-Za-z]+\]"
_reg_name = rb"(?:[!$&'()*+;=.\-_~0-9A-Za-z]|%[0-9A-Fa-f]{2})+"
authority = re.compile(rb"(" + _ipv6 + rb"|" + _reg_name + rb")(?::([0-9]{0,5}))?")

#: RFC 9112 3.2.2: the authority of an absolute target, and the rest of it.
absolute_form = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)([/?].*)?")


def split_list(value: bytes) -> list[bytes]:
    """The members of a list field, blanks and empty members removed (RFC 9110 5.6.1). Not for quoted strings."""
    return [member for item in value.split(b",") if (member := item.strip(b" \t"))]


def is_authority(value: bytes) -> bool:
    """Whether the bytes are a host with an optional port below 65536, and nothing else."""
    match = authority.fullmatch(value)
    return match is not None and int(match[2] or 0) < 65536
