"""A session: `claude-peers mcp` as a child process, used as Claude Code uses it."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from harness.report import Report
from harness.wait import PATIENCE

from .machine import PROGRAM

CHANNEL = "notifications/claude/channel"

# The longest line that a session writes: a list of all sessions of a crowd.
LINE = 16 * 1024 * 1024


class CallFailed(Exception):
    """A tool's result was an error, or was missing."""


class Push:
    """A message that was pushed into a session."""

    def __init__(self, params: dict[str, Any]):
        meta = params["meta"]
        self.id: str = meta["message_id"]
        self.sender: str = meta["from_id"]
        self.text: str = params["content"]
        self.repeat = "repeat" in meta


class Session:
    """One MCP server process and its client's side of the conversation."""

    def __init__(self, name: str, process: asyncio.subprocess.Process):
        self.name = name
        self.process = process
        self.pushes: list[Push] = []
        self.arrival = asyncio.Event()
        self.id = ""
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, program: str = PROGRAM, channel: str = "on", **variables: str) -> "Session":
        """Starts the server and shakes hands. No tool is called yet."""
        directory = os.path.join(os.environ["HOME"], "work", name)
        os.makedirs(directory, exist_ok=True)
        environment = {
            **os.environ,
            "CLAUDE_PEERS_CHANNEL": channel,
            "CLAUDE_CODE_SESSION_ID": "session-" + name,
            "CLAUDE_CODE_ENTRYPOINT": "cli",
            "CLAUDE_PROJECT_DIR": directory,
            **variables,
        }
        process = await asyncio.create_subprocess_exec(
            program,
            "mcp",
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE,
        )
        session = cls(name, process)
        client = {"name": "claude-code", "title": "Test", "version": "2.1.330"}
        capabilities = {"roots": {"listChanged": True}}
        hello = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client}
        await session.request("initialize", hello)
        session._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return session

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        number = self._next
        self._next += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            return await asyncio.wait_for(answer, PATIENCE)
        except (asyncio.TimeoutError, OSError) as error:
            raise CallFailed("%s: %s: %r" % (self.name, method, error)) from error
        finally:
            self._waiting.pop(number, None)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Calls a tool; its structured result."""
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments})
        result = answer.get("result", {})
        if "error" in answer or result.get("isError"):
            raise CallFailed("%s: %s: %s" % (self.name, tool, answer))
        return result["structuredContent"]

    async def me(self) -> dict[str, Any]:
        """The broker's entry for this session."""
        found = (await self.call("list_peers", scope="directory"))["me"]
        self.id = found["id"]
        return found

    async def becomes_live(self, report: Report) -> None:
        """Waits until the broker holds this session's event stream."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not (found := await self.me())["live"] and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        report.check("the session %s is live" % self.name, found["live"], found)

    async def send(self, to: str, text: str) -> str:
        """Sends a message; the id under which it was accepted."""
        return (await self.call("send_message", to_id=to, message=text))["id"]

    async def end(self) -> int:
        """Closes the server's input, as a client does at its end. Returns the exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        code = await asyncio.wait_for(self.process.wait(), PATIENCE)
        await self._reader
        return code

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            message = json.loads(line)
            if message.get("method") == CHANNEL:
                self.pushes.append(Push(message["params"]))
                self.arrival.set()
            elif "method" not in message and message.get("id") in self._waiting:
                answer = self._waiting[message["id"]]
                if not answer.done():
                    answer.set_result(message)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the server ended"))
