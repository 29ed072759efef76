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

from ka_twisted.service.systemd import Companion, Notifier, giveUp, listenFds, startEnvironment
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
        octets, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        return octets.decode(), list(fds)


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


def test_readinessNamesTheMainProcess(notifier: Notifier, manager: Manager) -> None:
    notifier.ready()
    assert manager.heard() == [f"READY=1\nMAINPID={os.getpid()}"]


def test_aReloadCarriesItsTime(notifier: Notifier, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 1_234_567_890)
    notifier.reloading()
    assert manager.heard() == ["RELOADING=1\nMONOTONIC_USEC=1234567"]


def test_theRestIsOneFieldEach(notifier: Notifier, manager: Manager) -> None:
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


def test_aStoredDescriptorIsTheSameSocket(notifier: Notifier, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        notifier.store("tcp-8080", listener.fileno())
        text, [fd] = manager.received()
        with socket.socket(fileno=fd) as duplicate:
            assert text == "FDSTORE=1\nFDNAME=tcp-8080"
            assert duplicate.getsockname() == listener.getsockname()
            assert fd != listener.fileno()


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "ä", "a" * 256])
def test_aNameThatSystemdWouldNotTakeIsRefused(notifier: Notifier, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        notifier.store(name, 0)
    with pytest.raises(ValueError, match="not the name"):
        notifier.remove(name)


def test_anAbstractAddressIsReached() -> None:
    name = f"ka-twisted-test-{os.getpid()}"
    manager = Manager(b"\0" + name.encode())
    try:
        found = Notifier.fromEnvironment({"NOTIFY_SOCKET": f"@{name}"})
        assert found is not None
        found.beat()
        assert manager.heard() == ["WATCHDOG=1"]
    finally:
        manager.socket.close()


def test_withoutSystemdThereIsNoNotifier() -> None:
    assert Notifier.fromEnvironment({}) is None
    assert Notifier.fromEnvironment({"NOTIFY_SOCKET": ""}) is None


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative/path", "@", "/"])
def test_anotherAddressIsNoneAndSaidSo(address: str) -> None:
    with logged() as log:
        assert Notifier.fromEnvironment({"NOTIFY_SOCKET": address}) is None
        assert log.messages(LogLevel.warn) == [f"NOTIFY_SOCKET is neither a path nor an abstract name: {address}"]


def test_systemdIsMissedOnceEachTimeItGoes(tmp_path: Path, notifier: Notifier, manager: Manager) -> None:
    with logged() as log:
        (tmp_path / "notify").unlink()
        notifier.beat()
        notifier.beat()
        notifier.status("nobody listens")
        assert log.messages(LogLevel.warn) == [
            "systemd cannot be told WATCHDOG=1: [Errno 2] No such file or directory"
        ]
        again = Manager(str(tmp_path / "notify"))
        notifier.beat()
        assert again.heard() == ["WATCHDOG=1"]
        again.socket.close()
        notifier.beat()
        notifier.beat()
        assert log.messages(LogLevel.warn) == ["systemd cannot be told WATCHDOG=1: [Errno 111] Connection refused"]


def test_aFullQueueBlocksForAMomentOnly(notifier: Notifier, manager: Manager) -> None:
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
def test_theWatchdogIsForTheProcessThatIsNamed(variables: dict[str, str], seconds: float | None) -> None:
    found = Notifier.fromEnvironment({"NOTIFY_SOCKET": "/nowhere", **variables})
    assert found is not None
    assert found.watchdog == seconds


class Status:
    text = "0 open"
    looks = 0

    def __call__(self) -> str:
        self.looks += 1
        return self.text


def companion(notifier: Notifier) -> tuple[Companion, Clock, Status]:
    clock, status = Clock(), Status()
    return Companion(notifier, clock, status=status), clock, status


def test_theStatusIsSentWhenItHasChanged(notifier: Notifier, manager: Manager) -> None:
    notifier.watchdog = None
    goes, clock, status = companion(notifier)
    goes.start()
    clock.pump([Companion.STATUS] * 3)
    assert manager.heard() == ["STATUS=0 open"]
    status.text = "1 open"
    clock.advance(Companion.STATUS - 1)
    assert manager.heard() == []
    clock.advance(1)
    assert manager.heard() == ["STATUS=1 open"]
    assert status.looks == 5


def test_theWatchdogIsBeatenAtHalfItsTime(notifier: Notifier, manager: Manager) -> None:
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


def test_aDrainIsGivenTimeWhileItTurns(notifier: Notifier, manager: Manager) -> None:
    goes, clock, status = companion(notifier)
    goes.start()
    manager.heard()
    status.text = "draining"
    goes.draining(clock.seconds() + 20)
    clock.pump([Companion.EXTEND] * 4)
    said = manager.heard()
    assert [line for line in said if line.startswith("STATUS")] == ["STATUS=draining"]
    # 20, 15, 10, 5 and 0 seconds are left, and 5 more are asked for; never more than 15.
    asked = [int(line.partition("=")[2]) / 1e6 for line in said if line.startswith("EXTEND")]
    assert asked == [15, 15, 15, 10, 5]
    assert said.count("WATCHDOG=1") == 2


def test_aStoppedCompanionIsSilent(notifier: Notifier, manager: Manager) -> None:
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


def test_aStatusThatFailsDoesNotStopTheWatchdog(notifier: Notifier, manager: Manager) -> None:
    def fail() -> str:
        raise LookupError("no counts")

    clock = Clock()
    goes = Companion(notifier, clock, status=fail)
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
from ka_twisted.service.systemd import listenFds, startEnvironment
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


def test_descriptorsComeByName() -> None:
    found, inheritable = handOver(3, LISTEN_FDS="3", LISTEN_FDNAMES="web:admin:web")
    assert found == {"web": [3, 5], "admin": [4]}
    assert inheritable == [False] * 3


def test_descriptorsAreFoundAlthoughTwistedHasLookedBefore() -> None:
    found, _ = handOver(2, twisted=True, LISTEN_FDS="2", LISTEN_FDNAMES="web:admin")
    assert found == {"web": [3], "admin": [4]}


def test_descriptorsWithoutNamesAreUnknown() -> None:
    assert handOver(2, LISTEN_FDS="2")[0] == {"unknown": [3, 4]}
    assert handOver(2, LISTEN_FDS="2", LISTEN_FDNAMES="one")[0] == {"unknown": [3, 4]}


def test_descriptorsForAnotherProcessAreLeftAlone() -> None:
    assert handOver(1, LISTEN_FDS="1", LISTEN_FDNAMES="web", LISTEN_PID="1")[0] == {}


@pytest.mark.parametrize("variables", [{"LISTEN_FDS": "many"}, {"LISTEN_FDS": "0"}, {"LISTEN_PID": "me"}, {}])
def test_whatIsNoNumberHandsNothingOver(variables: dict[str, str]) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), **variables}
    assert listenFds(environ) == {}


def test_aDescriptorThatIsNotOpenIsPassedOver() -> None:
    assert handOver(1, LISTEN_FDS="2", LISTEN_FDNAMES="web:gone")[0] == {"web": [3]}


def test_withoutProcTheEnvironmentOfNowIsTold(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", missing)
    assert startEnvironment() is os.environ


def test_socketsThatNothingListensOnAreGivenUp(notifier: Notifier, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used, socket.socket() as closed, socket.socket() as deaf:
        unused = socket.create_server(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        gone = closed.detach()
        os.close(gone)
        fds = {"old": [unused.detach()], "new": [used.fileno()], "taken": [gone], "other": [deaf.fileno()]}
        with logged() as log:
            giveUp(fds, {used.fileno()}, notifier)
            assert log.messages(LogLevel.warn) == ["systemd has handed over sockets that nothing listens on: old"]
        assert (fds, manager.heard()) == ({}, ["FDSTOREREMOVE=1\nFDNAME=old"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert used.getsockname()
        assert deaf.fileno() > 0
