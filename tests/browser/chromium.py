"""Debian's Chromium without a window, driven through its DevTools pipe: messages are JSON that ends with a zero
byte, to the browser's descriptor 3 and from its descriptor 4. Standard library only.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60  # for any one answer


class BrowserError(Exception):
    pass


def find_chromium():
    path = os.environ.get("LOBIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise BrowserError("no chromium: script/setup --browser installs Debian's")
    return path


class Chromium:
    """A browser with a profile of its own, until close()."""

    def __init__(self, width=1280, height=1600):
        self.folder = tempfile.TemporaryDirectory(prefix="lobit-browser-", ignore_cleanup_errors=True)
        to_browser, self.to = os.pipe()
        self.come, from_browser = os.pipe()
        command = [
            find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
            f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip

        def hand_over():
            # First out of the way: either end may be 3 or 4 already.
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate((to_browser, from_browser))]
            for fd, target in zip(high, (3, 4)):
                os.dup2(fd, target)

        self.log = open(os.path.join(self.folder.name, "stderr.txt"), "w+b")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log,
            preexec_fn=hand_over, close_fds=False, start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.events = b"", 0, []

    def close(self):
        # The whole group of it: its renderers outlive it for a moment and still write into the profile.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(SECONDS)
        os.close(self.to)
        os.close(self.come)
        self.log.close()
        self.folder.cleanup()

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.come], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.come, 1 << 20) if ready else b""
            if not data:
                self.log.seek(0)
                said = self.log.read().decode(errors="replace")[-2000:]
                raise BrowserError(f"chromium {'stopped' if ready else 'does not answer'}: {said}")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method, session):
        deadline = time.monotonic() + SECONDS
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    return event
            self.events.append(self.receive(deadline))

    def open(self, path):
        return Page(self, path)


class Page:
    """A page that has been loaded; `problems` is what it complained of, in words."""

    def __init__(self, browser, path):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        browser.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        browser.wait_for("Page.loadEventFired", self.session)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    @property
    def problems(self):
        self.evaluate("0")  # so that what was said before has arrived
        out = []
        for event in self.browser.events:
            method, params = event.get("method"), event.get("params", {})
            if event.get("sessionId") != self.session:
                continue
            if method == "Runtime.exceptionThrown":
                out.append(params["exceptionDetails"].get("text", "exception"))
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                out.append(params["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                out.append(" ".join(str(a.get("value")) for a in params["args"]))
        return out

    @property
    def requests(self):
        """What the page asked for, itself first."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("method") == "Network.requestWillBeSent" and event.get("sessionId") == self.session
        ]

    def evaluate(self, script):
        """The value of a JavaScript expression, which must be plain data."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script[:200]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def emulate(self, colours):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
