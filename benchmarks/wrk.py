"""wrk: as many requests as a server answers, and what wrk prints."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass

from .figures import Sample
from .peers import HERE
from .processes import LoadFailed, Server, check_answer, loaded

LUA = HERE / "lua"
#: Seconds of load before anything is measured.
_WARM = 1


@dataclass(frozen=True)
class Scenario:
    """
    What is asked of the servers.

    :ivar script: a Lua file for wrk, None for plain requests.
    :ivar path: of the requests, where no script says otherwise.
    """

    name: str
    title: str
    script: str | None = None
    path: str = "/"


KEPT_ALIVE = Scenario("keep-alive", "one request at a time")
PIPELINED = Scenario("pipelined", "16 requests at a time", "pipelined.lua")
BROWSER = Scenario("fields", "one request at a time, with eleven fields as a browser sends them", "browser.lua")
SCENARIOS = (KEPT_ALIVE, PIPELINED, BROWSER)


@dataclass(frozen=True)
class Load:
    """
    What one run of wrk measured.

    :ivar rate: requests a second.
    :ivar failures: responses other than 2xx and 3xx, and socket errors.
    :ivar requests: that were answered in all.
    """

    rate: float
    failures: int
    requests: int = 0


def parse(text: str) -> Load:
    """
    Read what wrk printed.

    :raises LoadFailed: when there is no rate in it, or not one response was counted.
    """
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    if rate is None:
        raise LoadFailed(f"wrk said: {text.strip()[-300:] or 'nothing'}")
    if float(rate[1]) == 0:
        raise LoadFailed("not one response")
    failures = 0
    if refused := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        failures += int(refused[1])
    if errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        failures += sum(map(int, errors.groups()))
    requests = re.search(r"(\d+) requests in", text)
    return Load(float(rate[1]), failures, int(requests[1]) if requests else 0)


def require() -> None:
    """
    See that wrk is there.

    :raises LoadFailed: when it is not.
    """
    if shutil.which("wrk") is None:
        raise LoadFailed("wrk is missing: apt-get install wrk")


def run(port: int, scenario: Scenario, *, connections: int, seconds: int) -> Load:
    """
    Put a server under load with one thread of wrk.

    :raises LoadFailed: when wrk fails.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}{scenario.path}"]
    if scenario.script is not None:
        command[1:1] = ["-s", str(LUA / scenario.script)]
    return parse(loaded(command, seconds=seconds))


def saturate(server: Server, scenario: Scenario, *, connections: int, seconds: int) -> Sample:
    """
    The rate at which a server answers, once it is warm; failures while it warms up count too.

    :raises PeerFailed, LoadFailed: when there is no figure to be had.
    """
    warm = run(server.port, scenario, connections=connections, seconds=_WARM)
    begun, computed = time.monotonic(), server.processor_time()
    result = run(server.port, scenario, connections=connections, seconds=seconds)
    busy = (server.processor_time() - computed) / (time.monotonic() - begun)
    check_answer(server.port)
    return Sample(result.rate, warm.failures + result.failures, busy)
