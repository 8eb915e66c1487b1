"""A scripted stand-in for the Anthropic Messages API, on loopback and in this process.

The client believes that it talks to a model. A scenario decides what this model does: by default
it answers every prompt with a word. `on` makes it call a tool instead, `hold` delays its answer, and
`fails` makes it answer with an error. Every request is kept, because a request is what the model
would have seen. Nothing here knows claude-peers.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator

from .wait import PATIENCE, wait_until

DEFAULT_ANSWER = "understood"


@dataclass(frozen=True)
class ToolResult:
    """A `tool_result` block, as the client put it into a request to the model."""

    block: dict[str, Any]

    @property
    def is_error(self) -> bool:
        return self.block.get("is_error") is True

    @property
    def text(self) -> str:
        return text_of(self.block.get("content"))


def text_of(content: Any) -> str:
    """The text of a message's or a tool result's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or [] if block.get("type") == "text")


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


class FakeApi:
    """Listens as soon as it is made; `close` ends it. `log` gets every request."""

    def __init__(self, log: str):
        self._lock = threading.Lock()
        self._log = open(log, "a", encoding="utf-8")
        self._bodies: list[dict[str, Any]] = []
        self._calls: list[tuple[str, dict[str, Any]]] = []
        self._held: list[tuple[str, threading.Event]] = []
        self._ids = itertools.count(1)
        # While this is set, every conversation is answered with an error.
        self.fails = threading.Event()
        api = self

        class Bound(_Handler):
            pass

        Bound.api = api
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        for _, event in self._held:
            event.set()
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            self._log.close()

    # The scenario's side.

    def on(self, prompt: str, tool: str, arguments: dict[str, Any]) -> str:
        """A prompt that contains `prompt` makes the model call `tool`. Returns the call's id."""
        call = {"type": "tool_use", "id": self.new_id("toolu"), "name": tool, "input": arguments}
        with self._lock:
            self._calls.append((prompt, call))
        return call["id"]

    def hold(self, prompt: str) -> threading.Event:
        """The model does not answer a prompt that contains `prompt` until the event is set."""
        event = threading.Event()
        with self._lock:
            self._held.append((prompt, event))
        return event

    def conversations(self) -> list[dict[str, Any]]:
        """The requests of conversations: those with tools, not the client's small side questions."""
        with self._lock:
            return [body for body in self._bodies if body.get("tools")]

    def tool_result(self, call: str, timeout: float = PATIENCE) -> ToolResult | None:
        """The result of this call as it reached the model, or None if it never did."""

        def find() -> ToolResult | None:
            for body in reversed(self.conversations()):
                for message in body["messages"]:
                    for block in blocks(message):
                        if block.get("type") == "tool_result" and block.get("tool_use_id") == call:
                            return ToolResult(block)
            return None

        return wait_until(find, timeout)

    def model_saw(self, text: str) -> bool:
        """Whether `text` was in a string anywhere in a conversation's request."""
        return any(text in string for body in self.conversations() for string in strings(body))

    # The client's side.

    def new_id(self, kind: str) -> str:
        return "%s_%04d" % (kind, next(self._ids))

    def answer(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The content blocks of the model's answer to this request."""
        last = next((m for m in reversed(body.get("messages") or []) if m.get("role") == "user"), {})
        text = ""
        for block in blocks(last):
            # Text before a tool's result was answered already, by the call.
            text = "" if block.get("type") == "tool_result" else text + block.get("text", "") + "\n"
        if body.get("tools"):
            with self._lock:
                waits = [event for prompt, event in self._held if prompt in text]
            for event in waits:
                event.wait(PATIENCE)
            with self._lock:
                for prompt, call in reversed(self._calls):
                    if prompt in text:
                        return [call]
        return [{"type": "text", "text": DEFAULT_ANSWER}]

    def record(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        with self._lock:
            if path == "/v1/messages" and body is not None:
                self._bodies.append(body)
            if not self._log.closed:
                entry = {"t": round(time.time(), 3), "method": method, "path": path, "body": body}
                self._log.write(json.dumps(entry, ensure_ascii=False) + "\n")
                self._log.flush()


def strings(value: Any) -> Iterator[str]:
    """All strings in a request or a part of one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        self.api.record(self.command, path, None)
        if path == "/v1/models":
            self._json(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})
        elif path == "/":
            self._json(200, {})
        else:
            self._not_found()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path = self.path.split("?", 1)[0]
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        self.api.record("POST", path, body)
        if path == "/v1/messages/count_tokens":
            self._json(200, {"input_tokens": len(raw) // 4})
        elif path == "/v1/messages" and body.get("tools") and self.api.fails.is_set():
            # An error after which the client does not retry.
            self._json(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "made to fail"}})
        elif path == "/v1/messages":
            self._message(body)
        else:
            self._not_found()

    def _message(self, body: dict[str, Any]) -> None:
        content = self.api.answer(body)
        usage = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 10}
        message = {
            # The client takes two answers of one id for one answer in two parts.
            "id": self.api.new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "fake"),
            "content": content,
            "stop_reason": "tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        try:
            if body.get("stream"):
                self._stream(message)
            else:
                self._json(200, message)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The client was ended while it was answered: some scenarios do that.

    def _stream(self, message: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

        def event(kind: str, **data: Any) -> None:
            self.wfile.write(("event: %s\ndata: %s\n\n" % (kind, json.dumps({"type": kind, **data}))).encode())
            self.wfile.flush()

        event("message_start", message={**message, "content": [], "stop_reason": None})
        for index, block in enumerate(message["content"]):
            if block["type"] == "text":
                start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
            else:
                start = {**block, "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            event("content_block_start", index=index, content_block=start)
            event("content_block_delta", index=index, delta=delta)
            event("content_block_stop", index=index)
        event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage=message["usage"])
        event("message_stop")

    def _not_found(self) -> None:
        self._json(404, {"type": "error", "error": {"type": "not_found_error", "message": "not part of the stand-in"}})

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
