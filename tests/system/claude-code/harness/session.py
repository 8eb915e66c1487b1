"""A session without a terminal: `claude -p` that reads a stream of prompts (stream-json)."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .api import FakeApi, ToolResult
from .wait import PATIENCE, wait_until

_numbers = itertools.count(1)


class Session:
    """Made by `Lab.session`. A turn ends when the client says so; a turn that never ends is an error."""

    def __init__(self, argv: list[str], cwd: str, env: dict[str, str], api: FakeApi, server: str):
        self.api = api
        self.cwd = cwd
        self._server = server
        self._events: list[dict[str, Any]] = []
        self._stderr: list[str] = []
        self.process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for pump in (self._read_events, self._read_stderr):
            threading.Thread(target=pump, daemon=True).start()

    def say(self, prompt: str) -> dict[str, Any]:
        """Runs one turn: writes the prompt, waits for the end of the answer, returns its `result` event."""
        done = len(self._results())
        message = {"type": "user", "message": {"role": "user", "content": prompt}}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        wait_until(lambda: len(self._results()) > done or self.process.poll() is not None)
        if len(self._results()) <= done:
            raise RuntimeError(
                "no answer to %r; exit status %s; stderr: %s" % (prompt, self.process.poll(), "".join(self._stderr))
            )
        return self._results()[done]

    def begin(self, prompt: str) -> Future[dict[str, Any]]:
        """Begins a turn without waiting for it. Returns the future result of `say`."""
        return ThreadPoolExecutor(max_workers=1).submit(self.say, prompt)

    def connect(self) -> str:
        """Waits until the client has connected our server; returns the last reported status.

        The client reports it only at the start of each turn, and need not wait for servers.
        """

        def status() -> str:
            self.say("hello")
            servers = self.events("init")[-1].get("mcp_servers", [])
            return next((s["status"] for s in servers if s["name"] == self._server), "absent")

        return wait_until(lambda: (s := status()) != "pending" and s) or "pending"

    def call(self, tool: str, **arguments: Any) -> ToolResult:
        """Runs one turn in which the model calls our tool. Returns the result that the model got."""
        prompt = "please use %s (task %d)" % (tool, next(_numbers))
        server = re.sub("[^A-Za-z0-9_-]", "_", self._server)
        call = self.api.on(prompt, "mcp__%s__%s" % (server, tool), arguments)
        end = self.say(prompt)
        result = self.api.tool_result(call, timeout=5)
        if result is None:
            raise RuntimeError("the result of %s never reached the model; the turn ended with %s" % (tool, end))
        return result

    def events(self, subtype: str) -> list[dict[str, Any]]:
        """The client's events of this subtype."""
        return [e for e in self._events if e.get("subtype") == subtype]

    @property
    def id(self) -> str:
        """Claude Code's session id; known after the first turn."""
        return self._results()[-1]["session_id"]

    def close(self) -> int:
        """Ends the session as a script does, by closing its input."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends the process, if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _results(self) -> list[dict[str, Any]]:
        return [e for e in self._events if e.get("type") == "result"]

    def _read_events(self) -> None:
        for line in self.process.stdout:
            try:
                self._events.append(json.loads(line))
            except ValueError:
                self._stderr.append(line)

    def _read_stderr(self) -> None:
        for line in self.process.stderr:
            self._stderr.append(line)
