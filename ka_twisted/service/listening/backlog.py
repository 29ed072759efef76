"""
The end of a port's queue.

A connection that was made, and is not accepted yet, is reset when its port is closed: with it goes the request
that may have come on it already. However fast the last ones are accepted, others come between that and the closing.
Therefore the kernel is told first to let no more begin: their clients' first packets are dropped, sent anew a second
later, and then refused, which is safe to try elsewhere.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

#: asm-generic/socket.h; Python has no name for it.
_SO_ATTACH_FILTER = 26
#: A classic BPF program about a TCP segment, as (code, true, false, value): without SYN in its flags it passes whole.
_PROGRAM = (
    (0x30, 0, 0, 13),  # the byte of the flags
    (0x45, 0, 1, 0x02),  # SYN
    (0x06, 0, 0, 0),  # nothing of it passes
    (0x06, 0, 0, 0xFFFFFFFF),
)


def refuseNew(sock: socket.socket) -> bool:
    """
    Have no more connections begin on a socket that listens; those that have begun are accepted as before.

    :return: whether that could be done: on Linux, for TCP.
    """
    if not sys.platform.startswith("linux") or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _PROGRAM))
    pointer = struct.pack("HP", len(_PROGRAM), ctypes.addressof(program))  # struct sock_fprog
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
    except OSError:
        return False
    return True
