"""The operator's page in a real browser, before a real server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ka_twisted.observe.families import FAMILIES
from tests.service.twistd import PATIENCE, Server, serving

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Where pictures of the page go; nowhere unless it is said.
PICTURES = os.environ.get("KA_TWISTED_PICTURES")
PHONE, DESKTOP = (360, 740), (1280, 900)
GET = b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser."""
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("there is no Chromium, or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def free() -> int:
    """A port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Page:
    """
    The page of a server.

    :ivar users: the port on which it serves.
    """

    def __init__(self, browser: Any, server: Server, port: int) -> None:
        self.browser = browser
        self.server = server
        self.port = port
        self.clients = ExitStack()

    def show(self, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Load the page on a screen of this size."""
        width, height = size
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.complaints()  # those about the page before are not ours
        self.browser.get(f"http://localhost:{self.port}/")

    def script(self, code: str) -> Any:
        """What a script returns."""
        return self.browser.execute_script(f"return {code}")

    def text(self, name: str) -> str:
        """What is shown at an element's id."""
        return str(self.script(f"(it => it.hidden ? '' : it.innerText)(document.getElementById('{name}'))"))

    def until(self, holds: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Wait until something holds, however the browser comes to it."""
        from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = (JavascriptException, StaleElementReferenceException)
        WebDriverWait(self.browser, seconds, 0.02, ignored).until(lambda _: holds())

    def click(self, selector: str) -> None:
        """Click with the mouse."""
        self.browser.find_element("css selector", selector).click()

    def press(self, *keys: str) -> None:
        """Press keys."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def user(self, data: bytes = GET) -> socket.socket:
        """A client of the server that has sent this, and stays."""
        client = self.clients.enter_context(self.server.connect())
        client.sendall(data)
        return client

    def complaints(self) -> list[str]:
        """What the browser had to say against the page."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def picture(self, name: str) -> bytes:
        """The whole page as a PNG."""
        size = self.browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        data = b64decode(shot["data"])
        if PICTURES:
            Path(PICTURES, f"{name}.png").write_bytes(data)
        return data


@contextmanager
def page(browser: Any, directory: Path, *arguments: str, port: int | None = None) -> Iterator[Page]:
    """A server whose page can be shown."""
    port = port or free()
    with serving(directory, "--admin", f"tcp:{port}:interface=127.0.0.1", *arguments) as server:
        shown = Page(browser, server, port)
        with shown.clients:
            yield shown
        browser.get("about:blank")


def brightness(png: bytes) -> float:
    """How light the first line of a picture is, 0 to 255. It has 8 bits for each of three or four colours."""
    assert png[24] == 8
    channels = {2: 3, 6: 4}[png[25]]
    chunks, position = b"", 8
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        if png[position + 4 : position + 8] == b"IDAT":
            chunks += png[position + 8 : position + 8 + length]
        position += length + 12
    # Whatever the filter of the first line: its first pixel stands for itself.
    return sum(zlib.decompress(chunks)[1 : 1 + min(channels, 3)]) / 3


# -- what is shown ---------------------------------------------------------------------------------


def test_a_connection_is_seen_within_a_second(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path) as it:
        it.show()

        def shows(count: str) -> bool:
            return it.text("open") == count

        it.until(partial(shows, "0"))
        for count in range(1, 4):
            it.user()
            it.until(partial(shows, str(count)), 1.5)
        assert it.text("states") == "idle 3"
        assert it.text("state") == "Serving"
        assert it.text("verdict") == "No problems found"
        assert it.complaints() == []


def test_why_connections_end_is_seen(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path, "--header-timeout", "0.2") as it:
        it.show()
        for _ in range(6):
            it.user(b"GET / HT")
        it.until(lambda: "HEADER_TIMEOUT" in it.text("reasons"))
        it.until(lambda: "HEADER_TIMEOUT closed" in it.text("remarks"))
        assert "6 connections closed" in it.text("readout")
        assert it.text("verdict") == "1 problem found"
        assert it.script("document.querySelector('#chart path.clients').getAttribute('d')")
        assert it.browser.title.startswith("(1) serving")


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_every_screen(chromium: Any, tmp_path: Path, size: tuple[int, int], scheme: str) -> None:
    with page(chromium, tmp_path) as it:
        it.user(b"GET /slow?seconds=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        it.user(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a-very-long-target" * 200))
        it.user(b"nonsense\r\n\r\n").close()
        it.user(b"GET /status/503 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        it.show(size, scheme)
        it.until(lambda: "slow" in it.text("slowest") and "BAD_REQUEST" in it.text("closed"))
        it.until(lambda: "5xx" in it.text("remarks"))
        assert it.script("document.documentElement.scrollWidth") <= size[0]
        small = """[...document.querySelectorAll('button, summary, a')].filter((each) => each.offsetParent &&
            each.getBoundingClientRect().height < 17).length"""
        assert it.script(small) == 0
        bright = brightness(it.picture(f"{size[0]}-{scheme}"))
        assert bright > 220 if scheme == "light" else bright < 40
        assert it.complaints() == []


def test_every_metric_is_shown_with_its_help(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path) as it:
        it.user()
        it.show()
        it.until(lambda: it.text("state") == "Serving")
        it.click("#metrics summary")
        it.until(lambda: "ka_twisted_requests_total" in it.text("metrics-rows"))
        shown = it.text("metrics-rows")
        for family in FAMILIES:
            assert family.exposedName in shown
            assert family.help in shown
        assert "GET 2xx: 1" in shown
        assert "bytes" in shown
        it.picture("metrics")
        assert it.complaints() == []


def test_a_page_that_is_hidden_asks_for_nothing(chromium: Any, tmp_path: Path) -> None:
    def hide(hidden: bool) -> None:
        it.browser.execute_script(
            f"Object.defineProperty(document, 'hidden', {{value: {str(hidden).lower()}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    with page(chromium, tmp_path) as it:
        it.show()
        it.until(lambda: it.text("state") == "Serving")
        hide(True)
        it.user()
        title = it.browser.title
        # What the page would have shown by now if it were told: a stream of our own is.
        with socket.create_connection(("127.0.0.1", it.port), timeout=PATIENCE) as other:
            other.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            told = b""
            while told.count(b'"connections":{') < 3:
                told += other.recv(65536)
        assert (it.text("open"), it.text("state"), it.browser.title) == ("0", "Serving", title)
        hide(False)
        it.until(lambda: it.text("open") == "1")
        assert it.text("state") == "Serving"
        assert it.complaints() == []


def test_what_clients_send_is_shown_and_nothing_else(chromium: Any, tmp_path: Path) -> None:
    target = b"/<img/src=x/onerror=document.title='mine'>"
    with page(chromium, tmp_path) as it:
        it.user(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        it.show()
        it.until(lambda: target.decode() in it.text("oldest"))
        assert it.script("document.images.length") == 0
        assert "mine" not in it.browser.title
        assert it.complaints() == []


# -- a connection's record --------------------------------------------------------------------------


def test_a_connection_shows_its_record(chromium: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with page(chromium, tmp_path) as it:
        client = it.user(GET)
        client.sendall(b"GET /slow?seconds=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        it.show()
        it.until(lambda: "slow" in it.text("slowest"))
        it.click("#slowest button")
        it.until(lambda: "/slow" in it.text("record-body"))
        record = it.text("record-body")
        assert "1. GET /whoami \N{RIGHTWARDS ARROW} 200" in record
        assert "keep: HTTP11_DEFAULT" in record
        assert "RFC 9112 9.3" in record
        assert "so far" in record
        client.close()
        it.until(lambda: "Closed by the peer: the peer left before its response was sent." in it.text("record-body"))
        assert "ended without a response" in it.text("record-body")
        it.press(Keys.ESCAPE)
        it.until(lambda: not it.script("document.getElementById('record').open"))
        assert it.complaints() == []


def test_the_keyboard_is_enough(chromium: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with page(chromium, tmp_path) as it:
        it.user()
        it.show()
        it.until(lambda: "whoami" in it.text("oldest"))
        it.script("document.querySelector('#chart').focus()")
        it.press(Keys.ARROW_LEFT)
        it.until(lambda: "open" in it.text("readout") or "not known" in it.text("readout"))
        it.script("document.querySelector('#oldest button').focus()")
        it.press(Keys.ENTER)
        it.until(lambda: "GET /whoami" in it.text("record-body"))
        it.press(Keys.ESCAPE)
        it.until(lambda: it.script("document.activeElement === document.querySelector('#oldest button')"))


# -- what becomes of the server --------------------------------------------------------------------


def test_the_server_is_drained_by_a_button_and_says_so(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path) as it:
        it.user()
        it.show()
        it.until(lambda: it.text("open") == "1")
        it.click("#drain")
        assert "1 open connection" in it.text("sure-text")
        it.click("#sure .plain")
        assert it.text("state") == "Serving"
        it.click("#drain")
        it.click("#really")
        it.until(lambda: it.text("state") == "Draining")
        it.until(lambda: "The server is draining" in it.text("remarks"))
        it.until(lambda: "DRAINING" in it.text("reasons"))
        assert it.script("document.getElementById('drain').disabled")
        assert it.complaints() == []


def test_a_server_that_is_started_anew_is_found_again(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path) as it:
        it.show()
        it.until(lambda: it.text("state") == "Serving")
        it.server.end(signal.SIGTERM)
        it.until(lambda: it.text("state") == "Unreachable")
        assert "The server has not answered" in it.text("contact")
        with serving(tmp_path, "--admin", f"tcp:{it.port}:interface=127.0.0.1"):
            it.until(lambda: it.text("state") == "Serving")
            assert "restarted at" in it.text("restarted")
            assert it.text("contact") == ""
            it.browser.get("about:blank")


def test_with_a_token_a_person_logs_in(chromium: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    with page(chromium, tmp_path, "--admin-token-file", str(token)) as it:
        it.browser.delete_all_cookies()
        it.show(PHONE)
        field = it.browser.find_element("id", "token")
        field.send_keys("wrong")
        it.click("button")
        it.until(lambda: "Wrong token." in it.browser.find_element("css selector", ".failed").text)
        it.picture("login")
        it.browser.find_element("id", "token").send_keys("correct-horse-battery-staple")
        it.click("button")
        it.until(lambda: it.text("state") == "Serving")
        (cookie,) = it.browser.get_cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        it.until(lambda: it.text("drain") == "Drain\N{HORIZONTAL ELLIPSIS}")
        it.click("#drain")
        it.click("#really")
        it.until(lambda: it.text("state") == "Draining")


def test_workers_are_told_apart(chromium: Any, tmp_path: Path) -> None:
    with page(chromium, tmp_path, "--workers", "2") as it:
        it.show()
        it.until(lambda: "2 workers" in it.text("identity") and it.text("state") == "Serving")
        it.user()
        it.until(lambda: it.text("open") == "1")
        it.until(lambda: "pid " in it.text("oldest"))
        it.click("#oldest button")
        it.until(lambda: "GET /whoami" in it.text("record-body"))
        assert it.complaints() == []
