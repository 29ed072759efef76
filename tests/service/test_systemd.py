"""What systemd is told, over a real socket, and what is read from what it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from ka_twisted.service.systemd.notify import Notifier, StatusReporter, closeUnused, listenFds, startEnvironment
from tests.logs import logged


class Manager:
    """The side of systemd: a bound datagram socket."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """The datagrams since the last look, as text."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def received(self) -> tuple[str, list[int]]:
        """One datagram and the descriptors with it."""
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        return data.decode(), list(fds)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listener = Manager(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


@pytest.fixture
def notifier(tmp_path: Path, manager: Manager) -> Notifier:
    found = Notifier.fromEnvironment({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
    assert found is not None
    return found


def test_readiness_names_the_main_process(notifier: Notifier, manager: Manager) -> None:
    notifier.ready()
    assert manager.heard() == [f"READY=1\nMAINPID={os.getpid()}"]


def test_a_reload_carries_its_time(notifier: Notifier, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 1_234_567_890)
    notifier.reloading()
    assert manager.heard() == ["RELOADING=1\nMONOTONIC_USEC=1234567"]


def test_the_rest_is_one_field_each(notifier: Notifier, manager: Manager) -> None:
    notifier.stopping()
    notifier.status("12 open\n 3 busy")
    notifier.extend(1.5)
    notifier.beat()
    notifier.remove("tcp-8080")
    assert manager.heard() == [
        "STOPPING=1",
        "STATUS=12 open 3 busy",
        "EXTEND_TIMEOUT_USEC=1500000",
        "WATCHDOG=1",
        "FDSTOREREMOVE=1\nFDNAME=tcp-8080",
    ]


def test_a_stored_descriptor_is_the_same_socket(notifier: Notifier, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        notifier.store("tcp-8080", listener.fileno())
        text, [fd] = manager.received()
        with socket.socket(fileno=fd) as duplicate:
            assert text == "FDSTORE=1\nFDNAME=tcp-8080"
            assert duplicate.getsockname() == listener.getsockname()
            assert fd != listener.fileno()


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "ä", "a" * 256])
def test_a_name_that_systemd_would_not_take_is_refused(notifier: Notifier, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        notifier.store(name, 0)
    with pytest.raises(ValueError, match="not the name"):
        notifier.remove(name)


def test_an_abstract_address_is_reached() -> None:
    name = f"ka-twisted-test-{os.getpid()}"
    manager = Manager(b"\0" + name.encode())
    try:
        found = Notifier.fromEnvironment({"NOTIFY_SOCKET": f"@{name}"})
        assert found is not None
        found.beat()
        assert manager.heard() == ["WATCHDOG=1"]
    finally:
        manager.socket.close()


def test_without_systemd_there_is_no_notifier() -> None:
    assert Notifier.fromEnvironment({}) is None
    assert Notifier.fromEnvironment({"NOTIFY_SOCKET": ""}) is None


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative/path", "@", "/"])
def test_another_address_is_none_and_said_so(address: str) -> None:
    with logged() as log:
        assert Notifier.fromEnvironment({"NOTIFY_SOCKET": address}) is None
        assert log.messages(LogLevel.warn) == [f"NOTIFY_SOCKET is neither a path nor an abstract name: {address}"]


def test_systemd_is_missed_once_each_time_it_goes(tmp_path: Path, notifier: Notifier, manager: Manager) -> None:
    with logged() as log:
        (tmp_path / "notify").unlink()
        notifier.beat()
        notifier.beat()
        notifier.status("no listener")
        assert log.messages(LogLevel.warn) == ["systemd cannot be told WATCHDOG=1: [Errno 2] No such file or directory"]
        again = Manager(str(tmp_path / "notify"))
        notifier.beat()
        assert again.heard() == ["WATCHDOG=1"]
        again.socket.close()
        notifier.beat()
        notifier.beat()
        assert log.messages(LogLevel.warn) == ["systemd cannot be told WATCHDOG=1: [Errno 111] Connection refused"]


def test_a_full_queue_blocks_for_a_moment_only(notifier: Notifier, manager: Manager) -> None:
    with logged() as log:
        for _ in range(10_000):
            notifier.beat()
            if log.messages(LogLevel.warn) == ["systemd cannot be told WATCHDOG=1: timed out"]:
                break
        else:
            pytest.fail("the queue has no end")
    assert set(manager.heard()) == {"WATCHDOG=1"}


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_is_named(variables: dict[str, str], seconds: float | None) -> None:
    found = Notifier.fromEnvironment({"NOTIFY_SOCKET": "/nowhere", **variables})
    assert found is not None
    assert found.watchdog == seconds


class Status:
    text = "0 open"
    looks = 0

    def __call__(self) -> str:
        self.looks += 1
        return self.text


def companion(notifier: Notifier) -> tuple[StatusReporter, Clock, Status]:
    clock, status = Clock(), Status()
    return StatusReporter(notifier, clock, status=status), clock, status


def test_the_status_is_sent_when_it_has_changed(notifier: Notifier, manager: Manager) -> None:
    notifier.watchdog = None
    goes, clock, status = companion(notifier)
    goes.start()
    clock.pump([StatusReporter.STATUS] * 3)
    assert manager.heard() == ["STATUS=0 open"]
    status.text = "1 open"
    clock.advance(StatusReporter.STATUS - 1)
    assert manager.heard() == []
    clock.advance(1)
    assert manager.heard() == ["STATUS=1 open"]
    assert status.looks == 5


def test_the_watchdog_is_beaten_at_half_its_time(notifier: Notifier, manager: Manager) -> None:
    assert notifier.watchdog == 20
    goes, clock, _ = companion(notifier)
    goes.start()
    assert manager.heard().count("WATCHDOG=1") == 1
    clock.advance(9.9)
    assert manager.heard() == []
    clock.advance(0.1)
    assert manager.heard() == ["WATCHDOG=1"]
    clock.advance(45)  # turns that did not come are not made up for
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_drain_is_given_time_while_it_turns(notifier: Notifier, manager: Manager) -> None:
    goes, clock, status = companion(notifier)
    goes.start()
    manager.heard()
    status.text = "draining"
    goes.draining(clock.seconds() + 20)
    clock.pump([StatusReporter.EXTEND] * 4)
    said = manager.heard()
    assert [line for line in said if line.startswith("STATUS")] == ["STATUS=draining"]
    # 20, 15, 10, 5 and 0 seconds are left, and 5 more are asked for; never more than 15.
    asked = [int(line.partition("=")[2]) / 1e6 for line in said if line.startswith("EXTEND")]
    assert asked == [15, 15, 15, 10, 5]
    assert said.count("WATCHDOG=1") == 2


def test_a_stopped_companion_is_silent(notifier: Notifier, manager: Manager) -> None:
    goes, clock, status = companion(notifier)
    goes.start()
    goes.draining(100)
    goes.stop()
    goes.stop()
    manager.heard()
    status.text = "gone"
    clock.advance(1000)
    assert manager.heard() == []
    assert clock.getDelayedCalls() == []


def test_a_status_that_fails_does_not_stop_the_watchdog(notifier: Notifier, manager: Manager) -> None:
    def fail() -> str:
        raise LookupError("no counts")

    clock = Clock()
    goes = StatusReporter(notifier, clock, status=fail)
    with logged() as log:
        goes.start()
        clock.pump([10, 10])
        goes.draining(30)
        assert len(log.failures(LookupError)) == 4
    assert manager.heard() == ["WATCHDOG=1"] * 3 + ["EXTEND_TIMEOUT_USEC=15000000"]
    goes.stop()


# --- descriptors that were handed over ----------------------------------------------------------

REPORT = """
import json, os, sys
sys.path[:0] = {path!r}
if {twisted}:
    import twisted.internet.endpoints
from ka_twisted.service.systemd.notify import listenFds, startEnvironment
found = listenFds(startEnvironment())
print(json.dumps([found, [os.get_inheritable(fd) for fds in found.values() for fd in fds]]))
"""


def handOver(count: int, twisted: bool = False, **variables: str) -> tuple[dict[str, list[int]], list[bool]]:
    """What a process finds that was started as systemd does: the descriptors from 3 on, its own id in LISTEN_PID."""
    import json

    def prepare() -> None:
        for fd in range(3, 3 + count):
            os.dup2(0, fd, inheritable=True)

    program = REPORT.format(path=sys.path, twisted=twisted)
    shell = 'export LISTEN_PID=${LISTEN_PID:-$$}; exec "$0" -c "$1"'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable, program],
        env={**os.environ, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        close_fds=False, preexec_fn=prepare, check=True,
    )  # fmt: skip
    found, inheritable = json.loads(done.stdout)
    return found, inheritable


def test_descriptors_come_by_name() -> None:
    found, inheritable = handOver(3, LISTEN_FDS="3", LISTEN_FDNAMES="web:admin:web")
    assert found == {"web": [3, 5], "admin": [4]}
    assert inheritable == [False] * 3


def test_descriptors_are_found_although_twisted_has_looked_before() -> None:
    found, _ = handOver(2, twisted=True, LISTEN_FDS="2", LISTEN_FDNAMES="web:admin")
    assert found == {"web": [3], "admin": [4]}


def test_descriptors_without_names_are_unknown() -> None:
    assert handOver(2, LISTEN_FDS="2")[0] == {"unknown": [3, 4]}
    assert handOver(2, LISTEN_FDS="2", LISTEN_FDNAMES="one")[0] == {"unknown": [3, 4]}


def test_descriptors_for_another_process_are_left_alone() -> None:
    assert handOver(1, LISTEN_FDS="1", LISTEN_FDNAMES="web", LISTEN_PID="1")[0] == {}


@pytest.mark.parametrize("variables", [{"LISTEN_FDS": "many"}, {"LISTEN_FDS": "0"}, {"LISTEN_PID": "me"}, {}])
def test_what_is_no_number_hands_nothing_over(variables: dict[str, str]) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), **variables}
    assert listenFds(environ) == {}


def test_a_descriptor_that_is_not_open_is_passed_over() -> None:
    assert handOver(1, LISTEN_FDS="2", LISTEN_FDNAMES="web:gone")[0] == {"web": [3]}


def test_without_proc_the_environment_of_now_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", missing)
    assert startEnvironment() is os.environ


def test_sockets_that_nothing_listens_on_are_given_up(notifier: Notifier, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used, socket.socket() as closed, socket.socket() as deaf:
        unused = socket.create_server(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        gone = closed.detach()
        os.close(gone)
        fds = {"old": [unused.detach()], "new": [used.fileno()], "taken": [gone], "other": [deaf.fileno()]}
        with logged() as log:
            closeUnused(fds, {used.fileno()}, notifier)
            assert log.messages(LogLevel.warn) == ["systemd has handed over sockets that nothing listens on: old"]
        assert (fds, manager.heard()) == ({}, ["FDSTOREREMOVE=1\nFDNAME=old"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert used.getsockname()
        assert deaf.fileno() > 0
