"""Runs an MCP stdio server for a client, and records all that passes between them.

    recorder.py LOG.jsonl -- COMMAND ARGS...

Lines are passed on unchanged in both directions, as are signals and the server's exit status. Each event is one line of the log: `start`, `in` (from the client), `out`, `stderr`,
`signal`, `eof` (of stdin), `exit`. `Recording` reads such a log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Recording:
    """The log of one configured server: of all its processes, one after the other."""

    def __init__(self, path: str):
        self.path = path

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        try:
            with open(self.path, encoding="utf-8") as log:
                events = [json.loads(line) for line in log if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [e for e in events if not kinds or e["kind"] in kinds]

    def requests(self, method: str) -> list[dict[str, Any]]:
        """What the client sent with this method."""
        return [e for e in self.events("in") if e.get("message", {}).get("method") == method]

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The event that answers this one, which `requests` gave."""
        for event in self.events("out"):
            message = event.get("message", {})
            if "method" not in message and event["pid"] == request["pid"] and message.get("id") == request["message"]["id"]:
                return event
        return None

    def result(self, method: str) -> dict[str, Any]:
        """The result of the first request with this method; empty if there is none."""
        for request in self.requests(method):
            answer = self.answer(request)
            if answer:
                return answer["message"].get("result") or {}
        return {}

    def clear(self) -> None:
        open(self.path, "w").close()


class _Recorder:
    def __init__(self, log: str, command: list[str]):
        self._log = open(log, "a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Blocked only now, so that the child does not inherit it; `_signals` takes them one by one.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._note("start", child=self._child.pid, ppid=os.getppid(), session=os.environ.get("CLAUDE_CODE_SESSION_ID"))

    def run(self) -> int:
        for pump in (self._stdin, self._stderr, self._signals):
            threading.Thread(target=pump, daemon=True).start()
        for line in self._child.stdout:
            self._note("out", **_parsed(line))
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        status = self._child.wait()
        self._note("exit", status=status)
        return status if status >= 0 else 128 - status

    def _note(self, kind: str, **fields: Any) -> None:
        with self._lock:
            entry = {"kind": kind, "t": round(time.time(), 4), "pid": os.getpid(), **fields}
            self._log.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _signals(self) -> None:
        while True:
            number = signal.sigwait(SIGNALS)
            self._note("signal", name=signal.Signals(number).name)
            self._child.send_signal(number)

    def _stdin(self) -> None:
        try:
            for line in sys.stdin.buffer:
                self._note("in", **_parsed(line))
                self._child.stdin.write(line)
                self._child.stdin.flush()
            self._note("eof")
            self._child.stdin.close()
        except OSError:
            pass  # The server has ended; `run` notes that.

    def _stderr(self) -> None:
        for line in self._child.stderr:
            self._note("stderr", line=line.decode("utf-8", "replace").rstrip("\n"))
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return {"message": message}
    return {"line": line.decode("utf-8", "replace")}


if __name__ == "__main__":
    # The reading threads may hang in a read: the process ends without waiting for them.
    status = _Recorder(sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]).run()
    sys.stdout.flush()
    os._exit(status)
