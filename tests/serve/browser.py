"""A headless Chromium, driven through its DevTools protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next((path for name in NAMES if (path := shutil.which(name))), None)

# Without these it looks for updates and names of hosts, and in containers cannot sandbox itself.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=1100,900"),
)


class Page:
    """One page.

    Attributes:
        complaints: What its console and its scripts' errors said.
    """

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.complaints.append(message["params"])
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def open(self, url):
        """Go to an address and wait until it has loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for(f"location.href.startsWith('{url}') && document.readyState == 'complete'")

    def choose_file(self, selector, path):
        """Do what the dialog of a file input does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path):
        """Write what is to be seen as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))


@contextmanager
def open_browser(profile):
    """Start a browser with a new profile folder and give its first page."""
    command = [EXECUTABLE, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **output) as process:
        try:
            target = _first_page(profile, process)
            with connect(target, max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_page(profile, process):
    """The address of the first page's socket, once there is one."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            port = (Path(profile) / "DevToolsActivePort").read_text().splitlines()[0]
            with httpx.Client(trust_env=False) as client:
                targets = client.get(f"http://127.0.0.1:{port}/json/list").json()
            return next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
        except (OSError, IndexError, StopIteration, httpx.HTTPError):
            time.sleep(0.1)
    raise RuntimeError("Chromium does not start.")
