"""A real browser for tests: Chromium without a window, told what to do over a pair of pipes.

Its DevTools speak JSON with a zero byte behind each message (`--remote-debugging-pipe`), so that
nothing listens on a port and no library is needed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
LIMIT_S = 300.0
needed = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium is installed: apt install chromium"
)


class Chromium:
    """One page of a browser of its own: `with Chromium(tmp_path) as page: page.open(url)`.

    `complaints` are the errors of its console, `requests` the addresses that it wanted.
    """

    def __init__(self, profile: Path) -> None:
        assert PROGRAM
        self.complaints: list[str] = []
        self.requests: list[str] = []
        read, their_write = os.pipe()
        their_read, write = os.pipe()
        # It wants file descriptors 3 and 4.
        command = f'exec "$0" "$@" 3<&{their_read} 4>&{their_write}'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, PROGRAM, *options, "about:blank"],
            pass_fds=(their_read, their_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_read)
        os.close(their_write)
        self._read, self._write = read, write
        self._heard = b""
        self._asked = 0
        self._session: str | None = None

    def __enter__(self) -> Chromium:
        target = self._tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self._tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._tell(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(LIMIT_S)
        finally:
            self._process.kill()
            os.close(self._read)
            os.close(self._write)

    def open(self, url: str) -> None:
        """Go there and wait until it is loaded."""
        self._tell("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def go_offline(self) -> None:
        """From now on there is no network."""
        speeds = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self._tell("Network.emulateNetworkConditions", offline=True, **speeds)

    def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """As on a screen of this size; a narrow one is a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._tell("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """What an expression in the page is worth; promises are waited for."""
        told = self._tell(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until it is true."""
        until_s = time.monotonic() + LIMIT_S
        while not self.value(expression):
            assert time.monotonic() < until_s, f"{expression} was not true within {LIMIT_S} s"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        code = {"Enter": 13, "Backspace": 8}.get(key) or ord(key)
        text = {"text": key} if len(key) == 1 else {}
        stroke = {"key": key, "windowsVirtualKeyCode": code}
        self._tell("Input.dispatchKeyEvent", type="keyDown", **stroke, **text)
        self._tell("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def _tell(self, method: str, **params: Any) -> dict[str, Any]:
        self._asked += 1
        message: dict[str, Any] = {"id": self._asked, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._asked:
                assert "error" not in heard, heard["error"]
                found: dict[str, Any] = heard["result"]
                return found
            self._note(heard.get("method", ""), heard.get("params", {}))

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.complaints.append(str(said["args"]))

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            assert select.select([self._read], [], [], LIMIT_S)[0], "Chromium says nothing"
            piece = os.read(self._read, 1 << 16)
            assert piece, "Chromium is gone"
            self._heard += piece
        message, _, self._heard = self._heard.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
