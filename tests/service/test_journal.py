"""Entries as the journal receives them, over a real socket."""

from __future__ import annotations

import fcntl
import io
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import FileLogObserver, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from ka_twisted.service.systemd import journal
from ka_twisted.service.systemd import notify as systemd
from ka_twisted.service.systemd.journal import JournalObserver, PrefixObserver, isJournal
from tests.service.twistd import TWISTD, environment


class Journal:
    """journald's socket, and a reader of its protocol."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.files = 0

    def entries(self) -> list[dict[str, str]]:
        """What has come since the last look."""
        found: list[dict[str, str]] = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
            except BlockingIOError:
                return found
            for fd in fds:
                assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
                with open(fd, "rb") as file:
                    data = os.pread(file.fileno(), os.fstat(fd).st_size, 0)
                self.files += 1
            found.append(read(data))


def read(data: bytes) -> dict[str, str]:
    """The fields of an entry; each may be there once only."""
    fields: dict[str, str] = {}
    rest = data
    while rest:
        line, _, rest = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def journald(path: Path) -> Iterator[Journal]:
    listener = Journal(path)
    yield listener
    listener.socket.close()


@pytest.fixture
def log(path: Path) -> Logger:
    return Logger("ka_twisted.test", observer=LogPublisher(JournalObserver(str(path))))


def test_an_event_is_an_entry_with_its_fields(log: Logger, journald: Journal) -> None:
    log.info("{peer} asked {count} times", peer="192.0.2.1", count=3, connectionId=17, nothing=None)
    assert journald.entries() == [
        {
            "SYSLOG_IDENTIFIER": "keepalive",
            "MESSAGE": "192.0.2.1 asked 3 times",
            "PRIORITY": "6",
            "LOGGER": "ka_twisted.test",
            "PEER": "192.0.2.1",
            "COUNT": "3",
            "CONNECTION_ID": "17",
        }
    ]


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (LogLevel.debug, "7"),
        (LogLevel.info, "6"),
        (LogLevel.warn, "4"),
        (LogLevel.error, "3"),
        (LogLevel.critical, "2"),
    ],
)
def test_levels_are_priorities(log: Logger, journald: Journal, level: LogLevel, priority: str) -> None:
    log.emit(level, "anything")
    assert [entry["PRIORITY"] for entry in journald.entries()] == [priority]


def test_a_traceback_is_one_entry_and_says_where(log: Logger, journald: Journal) -> None:
    try:
        raise KeyError("milk")
    except KeyError:
        log.failure("no {what}", what="breakfast")
    [entry] = journald.entries()
    assert entry["MESSAGE"].startswith("no breakfast\nTraceback (most recent call last):\n")
    assert "KeyError: 'milk'" in entry["MESSAGE"]
    assert entry["PRIORITY"] == "2"
    assert entry["CODE_FILE"].endswith("test_journal.py")
    assert entry["CODE_FUNC"] == "test_a_traceback_is_one_entry_and_says_where"
    assert int(entry["CODE_LINE"]) > 0


def test_a_failure_without_frames_is_nowhere(log: Logger, journald: Journal) -> None:
    log.failure("lost", failure=Failure(LookupError("nothing")))
    [entry] = journald.entries()
    assert "CODE_LINE" not in entry
    assert "nothing" in entry["MESSAGE"]


def test_no_value_can_forge_a_field(log: Logger, journald: Journal) -> None:
    log.info("asked for {target}", target="/\nPRIORITY=0\n", priority=0, message="forged", _trusted="no")
    [entry] = journald.entries()
    assert entry["PRIORITY"] == "6"
    assert entry["TARGET"] == "/\nPRIORITY=0\n"
    assert entry["MESSAGE"] == "asked for /\nPRIORITY=0\n"
    assert not [name for name in entry if name.startswith("_")]


def test_any_value_can_be_shown(log: Logger, journald: Journal) -> None:
    class Shy:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.info("odd", data=b"a\xff", half="\ud800", shy=Shy(), **{"x" * 65: "name too long", "ä": "not ASCII"})
    [entry] = journald.entries()
    assert entry["DATA"] == r"a\xff"
    assert entry["HALF"] == r"\ud800"
    assert entry["SHY"] == "(Shy that cannot be shown: RuntimeError)"
    assert set(entry) == {"SYSLOG_IDENTIFIER", "MESSAGE", "PRIORITY", "LOGGER", "DATA", "HALF", "SHY"}


def test_an_address_is_its_host(log: Logger, journald: Journal) -> None:
    log.info("{peer.host}", peer=IPv4Address("TCP", "192.0.2.1", 4711), host=IPv6Address("TCP", "2001:db8::1", 80))
    [entry] = journald.entries()
    assert (entry["MESSAGE"], entry["PEER"], entry["HOST"]) == ("192.0.2.1", "192.0.2.1", "2001:db8::1")


def test_a_long_entry_is_sent_as_a_file(log: Logger, journald: Journal) -> None:
    log.info("{text}", text="long " * 200_000)
    [entry] = journald.entries()
    assert journald.files == 1
    assert entry["MESSAGE"] == entry["TEXT"] == "long " * 200_000


def test_lost_entries_are_counted(log: Logger, path: Path) -> None:
    log.info("one")
    log.info("two")
    late = Journal(path)
    log.info("three")
    log.info("four")
    assert [(entry["MESSAGE"], entry["PRIORITY"]) for entry in late.entries()] == [
        ("2 log entries were lost", "4"),
        ("three", "6"),
        ("four", "6"),
    ]
    late.socket.close()


def test_a_journal_that_does_not_read_costs_a_moment_once(
    log: Logger, journald: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    send = systemd.sendDatagram

    def spy(address: str, data: bytes, fds: tuple[int, ...] = (), *, seconds: float) -> None:
        waits.append(seconds)
        try:
            send(address, data, fds, seconds=seconds)
        except OSError:
            waits.append(-1)
            raise

    monkeypatch.setattr(journal, "sendDatagram", spy)
    while waits.count(-1) < 3:
        assert len(waits) < 10_000
        log.info("again")
    first = waits.index(-1)
    assert waits[first - 1 :] == [0.25, -1, 0, -1, 0, -1]  # the entry itself, then the note of the loss twice
    assert len(journald.entries()) > 1


def test_events_of_the_old_kind_are_sent_once(journald: Journal, path: Path) -> None:
    JournalObserver(str(path))(
        {"message": ("old",), "time": 1.0, "system": "-", "isError": 0, "format": "%(message)s",
         "log_format": "{log_text}", "log_text": "old", "log_level": LogLevel.info}
    )  # fmt: skip
    assert [set(entry) for entry in journald.entries()] == [{"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}]


# --- where the log goes -------------------------------------------------------------------------


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as stream:
        status = os.fstat(stream.fileno())
        assert isJournal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, stream)
        assert not isJournal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, stream)
        assert not isJournal({"JOURNAL_STREAM": "8:one"}, stream)
        assert not isJournal({"JOURNAL_STREAM": "8"}, stream)
        assert not isJournal({}, stream)
    assert not isJournal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, stream)
    assert not isJournal({"JOURNAL_STREAM": "1:2"}, io.StringIO())
    assert not isJournal({"JOURNAL_STREAM": "1:2"}, None)


def test_the_observer_is_the_journals_where_standard_error_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "file", "w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr("sys.__stderr__", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert isinstance(journal.observer(), JournalObserver)
        monkeypatch.delenv("JOURNAL_STREAM")
        assert isinstance(journal.observer(), FileLogObserver)


def test_prefixes_are_before_each_line() -> None:
    stream = io.StringIO()
    log = Logger("shop", observer=LogPublisher(PrefixObserver(stream)))
    log.warn("two\nlines")
    log.info("one line")
    assert stream.getvalue() == "<4>[shop#warn] two\n<4>lines\n<6>[shop#info] one line\n"


def test_twistd_logs_through_it(tmp_path: Path) -> None:
    logger = "--logger=ka_twisted.service.systemd.journal.prefixed"
    command = [*TWISTD, "-n", logger, "keepalive", "--listen", "tcp:0:interface=127.0.0.1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "listening on" in line:
            break
    process.terminate()
    process.communicate(timeout=60)
    assert re.search(r"^<6>\[ka_twisted\S*#info\] listening on 127\.0\.0\.1:", said, re.MULTILINE)
