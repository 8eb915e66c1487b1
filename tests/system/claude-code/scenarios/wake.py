"""An idle session is woken, by its waiting hook or through its inbox socket, and reads its mail."""

from __future__ import annotations

import shlex
import time
from typing import Any

from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until

NEEDS = ["tmux"]
TO_HOOKS = "The nightly build is red since noon."
LATER = "It is green again."
TO_INBOX = ["The certificate was renewed this morning.", "The staging host is back."]
BATCH = ["Item %d of the list is done." % n for n in range(1, 11)]
# Longer than the gather time before a wake.
QUIET = 3.0


def run(lab: Lab, check: Report) -> None:
    lab.register()
    by_hook(lab, check)
    by_inbox(lab, check)


def by_hook(lab: Lab, check: Report) -> None:
    lab.settings(permissions={"allow": ["mcp__" + SERVER, "Bash"]}, hooks=hooks(lab))
    terminal = lab.terminal("b", "--permission-mode", "default")
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    b = lab.peer_of(terminal)
    terminal.type("good morning")
    check.require("its turn ends", wait_until(lambda: lab.api.conversations()), terminal.screen())
    check.require("a hook waits beside it", wait_until(lambda: waiters(lab)), lab.run_peers("peers").stdout)

    turns = len(lab.api.conversations())
    lab.run_peers("send", b["id"], TO_HOOKS)
    check.require("it is woken", wait_until(lambda: len(lab.api.conversations()) > turns, timeout=20), terminal.screen())
    first = lab.api.conversations()[turns]
    check.check("the request that wakes it has the text", TO_HOOKS in said(first), said(first)[-2000:])
    check.check("as a hook's context, and not as the notice", "hook additional context" in block_with(first, TO_HOOKS), said(first)[-2000:])
    check.check("it counts as read, by a hook", wait_until(lambda: read_via(lab, TO_HOOKS) == "hook", timeout=10), lab.message(TO_HOOKS))
    check.check("another hook waits", wait_until(lambda: waiters(lab), timeout=10))
    woken = len(lab.api.conversations())
    time.sleep(QUIET)
    check.check("it is not woken again for it", len(lab.api.conversations()) == woken, said(lab.api.conversations()[-1])[-2000:])

    # Ten messages come during a turn: they are shown with the tool's result, once each, in order.
    lines = "; ".join(shlex.join(lab.from_outside("send", b["id"], text)) for text in BATCH)
    prompt = "please wait for the list"
    lab.api.on(prompt, "Bash", {"command": lines, "description": "sends"})
    terminal.type(prompt)
    check.require("the list is sent", wait_until(lambda: lab.message(BATCH[-1])), terminal.screen())
    check.check("all of it is read, by a hook", wait_until(lambda: all(read_via(lab, t) == "hook" for t in BATCH), timeout=20), [lab.message(t) for t in BATCH])
    time.sleep(QUIET)
    last = said(lab.api.conversations()[-1])
    places = [last.find("| " + text) for text in BATCH]
    check.check("in order", places[0] >= 0 and places == sorted(places), places)
    check.check("once each", all(last.count("| " + text) == 1 for text in BATCH), [last.count("| " + t) for t in BATCH])
    check.check("in one piece", sum("| " + BATCH[0] in s or "| " + BATCH[-1] in s for s in strings(lab.api.conversations()[-1]["messages"])) == 1)
    check.check("no wake came on top", last.count("Stop hook feedback") == 1, last.count("Stop hook feedback"))

    turns = len(lab.api.conversations())
    lab.run_peers("send", b["id"], LATER)
    check.require("it is woken a second time", wait_until(lambda: len(lab.api.conversations()) > turns, timeout=20), terminal.screen())
    check.check("and has the text", LATER in said(lab.api.conversations()[turns]), said(lab.api.conversations()[turns])[-2000:])

    terminal.type("/exit")
    check.check("the session ends", terminal.ended(), terminal.screen())
    check.check("the waiting hook ends with it", wait_until(lambda: not waiters(lab), timeout=10), waiters(lab))


def by_inbox(lab: Lab, check: Report) -> None:
    lab.settings(permissions={"allow": ["mcp__" + SERVER]})
    terminal = lab.terminal("a", "--permission-mode", "default")
    check.require("a session without hooks starts", terminal.wait("❯"), terminal.screen())
    a = lab.peer_of(terminal)
    for text in TO_INBOX:
        call = lab.api.on("call the tool check_messages", "mcp__%s__check_messages" % SERVER, {})
        turns = len(lab.api.conversations())
        lab.run_peers("send", a["id"], text)
        check.require("its inbox socket wakes it", wait_until(lambda: len(lab.api.conversations()) > turns, timeout=20), terminal.screen())
        first = said(lab.api.conversations()[turns])
        check.check("the wake has nothing of the message", text not in first and "1 message from another session waits" in first, first[-2000:])
        check.check("check_messages gives it", wait_until(lambda: lab.api.model_saw(text), timeout=10), lab.api.tool_result(call))
        check.check("it counts as read, by a tool", wait_until(lambda: read_via(lab, text) == "tool", timeout=10), lab.message(text))
        woken = len(lab.api.conversations())
        time.sleep(QUIET)
        check.check("it is woken once", len(lab.api.conversations()) == woken, said(lab.api.conversations()[-1])[-2000:])


def hooks(lab: Lab) -> dict[str, Any]:
    every = lab.hooks()
    for event in ("Stop", "StopFailure"):
        wait = {"type": "command", "command": shlex.join([lab.peers_binary, "hook", event, "--wait"])}
        every[event][0]["hooks"].append({**wait, "asyncRewake": True, "timeout": 604800})
    return every


def waiters(lab: Lab) -> list[int]:
    """The processes of waiting hooks in this lab."""
    return lab.processes("hook", "Stop", "--wait") + lab.processes("hook", "StopFailure", "--wait")


def read_via(lab: Lab, text: str) -> str:
    return lab.message(text).get("read_via") or ""


def said(body: dict[str, Any]) -> str:
    """All strings of the messages in a request."""
    return "\n".join(strings(body["messages"]))


def block_with(body: dict[str, Any], text: str) -> str:
    return next((s for s in strings(body["messages"]) if text in s), "")
