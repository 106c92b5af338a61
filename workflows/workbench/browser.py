"""A headless Chromium, driven through a pipe by the DevTools protocol: two file descriptors and JSON, no library and no driver.

Playwright and selenium would each bring a driver of tens of megabytes for what takes these lines; and nothing here opens a port.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 300.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = f"no {', '.join(NAMES)} on PATH; apt-get install chromium"
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--mute-audio", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    # software WebGL: the tests need no GPU
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


def chromium() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a headless Chromium without network, but for addresses of this machine.

    Attributes
    ----------
    errors
        Messages of exceptions and of console.error since the page was opened.
    requests
        Addresses that were asked for.
    """

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._buffer, self._number, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE_S:.0f} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        whole, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(whole)
        seen = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = seen["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and seen["type"] == "error":
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in seen["args"]))
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(seen["request"]["url"])
        return message

    def processor_time(self) -> float:
        """Processor time that all processes of the browser have taken so far, s."""
        session, self._session = self._session, ""  # the page itself may not ask
        found = self.call("SystemInfo.getProcessInfo")["processInfo"]
        self._session = session
        return sum(float(one["cpuTime"]) for one in found)

    def size(self, width: int, height: int = 900, *, dark: bool = False, still: bool = False) -> None:
        """Set the size of the window in pixels, the colours that the reader prefers, and whether nothing shall move by itself."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Go to an address; what was seen before is forgotten."""
        self.errors, self.requests = [], []
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError, RuntimeError):  # while the page is being replaced
                if found := self.run(script):
                    return found
            time.sleep(0.05)
        raise TimeoutError(f"not true within {PATIENCE_S:.0f} s: {script}; the page said {self.errors}")

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a CSS selector finds, as a mouse does."""
        at = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def picture(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """Take a picture of the window, or of the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        data = base64.b64decode(found["data"])
        if path is not None:
            path.write_bytes(data)
        return data


@contextlib.contextmanager
def browser(profile: Path, *, scroll_bars: bool = False) -> Iterator[Browser]:
    """Start a Chromium whose profile is the given folder; it ends with the block. Scroll bars are drawn where asked for.

    Raises
    ------
    FileNotFoundError
        If there is no Chromium.
    """
    path = chromium()
    if path is None:
        raise FileNotFoundError(MISSING)
    to_browser, from_browser = os.pipe(), os.pipe()
    options = [
        *_OPTIONS,
        *([] if scroll_bars else ["--hide-scrollbars"]),
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]

    # the protocol wants the pipes as descriptors 3 and 4; a shell can name descriptors above 9 as files only
    command = f'exec "$@" 3</dev/fd/{to_browser[0]} 4>/dev/fd/{from_browser[1]}'
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", path, *options],  # noqa: S607  # every system has a shell on its path
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Browser(process, to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
