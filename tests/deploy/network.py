"""
Machines of a test: each has an address of its own, in a network namespace of its own where that is permitted, and in
127.0.0.0/8 where it is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

#: RFC 5737: for documentation, hence in no network.
_NETWORK = "192.0.2"


@dataclass(frozen=True)
class Machine:
    """
    A place for processes.

    :ivar address: where others reach it.
    :ivar gateway: from where the balancer's machine reaches it.
    :ivar through: the command that runs a command there.
    """

    address: str
    gateway: str = "127.0.0.1"
    through: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """Machines, and one from which all others are reached."""

    center: Machine
    machines: Mapping[str, Machine]


@contextmanager
def network(names: Sequence[str]) -> Iterator[Network]:
    """Machines with these names."""
    if not _permitted():
        loopback = {name: Machine(f"127.0.0.{number}") for number, name in enumerate(names, 2)}
        yield Network(Machine("127.0.0.1"), loopback)
        return
    with ExitStack() as stack:
        spaces = {name: f"ka-{os.getpid()}-{name}" for name in ("center", *names)}
        for space in spaces.values():
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "delete", space)
            _ip("-n", space, "link", "set", "lo", "up")
        machines = {}
        for number, name in enumerate(names):
            here, there = f"{_NETWORK}.{4 * number + 1}", f"{_NETWORK}.{4 * number + 2}"
            _connect(spaces["center"], here, spaces[name], there, f"veth{number}")
            machines[name] = Machine(there, here, _within(spaces[name]))
        yield Network(Machine("127.0.0.1", through=_within(spaces["center"])), machines)


def _connect(left: str, leftAddress: str, right: str, rightAddress: str, name: str) -> None:
    """A wire from one namespace to another."""
    _ip("-n", left, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", right)
    for space, device, address in ((left, name, leftAddress), (right, "eth0", rightAddress)):
        _ip("-n", space, "address", "add", f"{address}/30", "dev", device)
        _ip("-n", space, "link", "set", device, "up")


def _within(space: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", space)


def _permitted() -> bool:
    """Whether namespaces can be made here."""
    if shutil.which("ip") is None:
        return False
    space = f"ka-{os.getpid()}-probe"
    try:
        _ip("netns", "add", space)
    except subprocess.CalledProcessError:
        return False
    try:
        _ip("-n", space, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    except subprocess.CalledProcessError:
        return False
    finally:
        _ip("netns", "delete", space)
    return True


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
