"""
The grammar that every version of HTTP shares (RFC 9110), as regular expressions named after their ABNF rules.

Strict where leniency lets two parsers disagree about what was said.
"""

from __future__ import annotations

import re

#: RFC 9110 5.6.2
tchar = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
token = re.compile(rf"{tchar}+".encode())

#: RFC 9110 5.5: no control but HT; ``obs-text`` passes. Blanks round the value are stripped by the caller.
field_content = r"[\t -~\x80-\xff]*"
field_value = re.compile(field_content.encode("latin-1"))

#: RFC 9110 8.6
content_length = re.compile(rb"[0-9]+")

#: RFC 9110 7.2: ``uri-host [":" port]``, without userinfo. Registered names as RFC 3986 3.2.2 has them, but for the
#: sub-delimiter ``,``, which only ever appears there when two Host values were joined (ledger H-20).
_ipv6 = rb"\[[0-9A-Fa-f:.]{2,45}\]|\[v[0-9A-Fa-f]+\.[!$&'()*+;=:.\-_~0-9A-Za-z]+\]"
_reg_name = rb"(?:[!$&'()*+;=.\-_~0-9A-Za-z]|%[0-9A-Fa-f]{2})+"
authority = re.compile(rb"(" + _ipv6 + rb"|" + _reg_name + rb")(?::([0-9]{0,5}))?")

#: RFC 9110 4.2: the authority of an absolute URI, and the rest of it.
absolute_uri = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)([/?].*)?")


def split_list(value: bytes) -> list[bytes]:
    """The members of a list field, blanks and empty members removed (RFC 9110 5.6.1). Not for quoted strings."""
    return [member for item in value.split(b",") if (member := item.strip(b" \t"))]


def is_authority(value: bytes) -> bool:
    """Whether the bytes are a host with an optional port below 65536, and nothing else."""
    match = authority.fullmatch(value)
    return match is not None and int(match[2] or 0) < 65536
