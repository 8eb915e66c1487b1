"""A session is the same peer through `/clear`, `/mcp reconnect`, a crash of our server, `--resume` and `--continue`."""

from __future__ import annotations

import json
import os
import shlex
import signal
from typing import Any

from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Report
from harness.terminal import Terminal
from harness.wait import wait_until

NEEDS = ["tmux"]
OVER_RECONNECT = "Mail that waits while the server is replaced."
OVER_CRASH = "Mail that comes while there is no server."
OVER_CLEAR = "Mail that waits while the conversation is cleared."
OVER_RESUME = "Mail that comes between two clients."
OVER_CONTINUE = "Mail for the one who continues."
FOR_THE_FIRST = "Mail for the client that was there first."
INTERRUPTED = "Mail that a turn was shown which was then interrupted."


def run(lab: Lab, check: Report) -> None:
    log = os.path.join(lab.base, "hooks.jsonl")
    lab.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=lab.hooks(before="tee -a %s | " % shlex.quote(log)))
    # Only what is typed here begins a turn.
    lab.extra_env["CLAUDE_PEERS_WAKE"] = "off"
    lab.register()
    terminal, me = started(lab, check, "a session starts")

    lab.send(me["id"], OVER_RECONNECT)
    reconnect(lab, check, terminal, me, "after /mcp reconnect")
    reads(lab, check, terminal, OVER_RECONNECT)

    for pid in lab.processes("mcp"):
        os.kill(pid, signal.SIGKILL)
    killed = wait_until(lambda: not lab.processes("mcp"))
    reach = [(peer["id"], peer["reach"]) for peer in lab.peers_in(terminal.cwd)]
    check.check("its server is killed, and it is the same peer by its hooks", killed and reach == [(me["id"], "hooks")], lab.peers())
    lab.send(me["id"], OVER_CRASH)
    reconnect(lab, check, terminal, me, "after kill -9 of its server")
    reads(lab, check, terminal, OVER_CRASH)

    before = session_id(log)
    lab.send(me["id"], OVER_CLEAR)
    terminal.type("/clear")
    check.require("/clear begins another session in the client process", wait_until(lambda: session_id(log) != before), terminal.screen())
    check.check("after /clear it is the same peer", same(lab, terminal, me), lab.peers())
    reads(lab, check, terminal, OVER_CLEAR)
    reconnect(lab, check, terminal, me, "after /clear and /mcp reconnect")

    interrupted(lab, check, terminal, me)
    leave(check, terminal)
    live = session_id(log)
    lab.send(me["id"], OVER_RESUME)
    terminal, _ = started(lab, check, "after --resume it is the same peer", me, "--resume", live)
    reads(lab, check, terminal, OVER_RESUME)
    leave(check, terminal)
    lab.send(me["id"], OVER_CONTINUE)
    # The client gives the server an unknown session id, and the hook finds no broker to correct it.
    lab.stop_broker()
    check.require("no broker runs", lab.broker_is_gone())
    terminal, _ = started(lab, check, "after --continue, and with another broker, it is the same peer", me, "--continue")
    reads(lab, check, terminal, OVER_CONTINUE)

    second_window(lab, check, terminal, me, session_id(log))


def interrupted(lab: Lab, check: Report, terminal: Terminal, me: dict[str, Any]) -> None:
    """A message that an interrupted turn was shown is offered again, under the same id."""
    lab.send(me["id"], INTERRUPTED)
    answer = lab.api.hold("a long task")
    terminal.type("a long task")
    check.require("a turn is shown mail, and the model thinks", wait_until(lambda: lab.api.model_saw(INTERRUPTED)), terminal.screen())
    terminal.press("Escape")
    # Before the model has answered, the client takes the turn back: the prompt is in the input line again.
    check.require("the turn is interrupted", terminal.wait("❯.a long task\n─"), terminal.screen())
    answer.set()
    terminal.press("C-u")
    message = lab.message(INTERRUPTED)
    check.check("it does not count as read", message["state"] == "offered", message)
    terminal.type("something else")
    again = wait_until(lambda: [s for s in contexts(lab) if INTERRUPTED in s and "a repeat" in s])
    check.check("the next prompt has it again, marked and with the same id", again and all(message["id"] in s for s in again), again)
    read(lab, check, INTERRUPTED)


def second_window(lab: Lab, check: Report, terminal: Terminal, me: dict[str, Any], session: str) -> None:
    """A session that is still open and resumed in another client process is another peer there."""
    other = lab.session("a", "--resume", session)
    status = other.connect()
    check.require("the session is resumed while its first client process runs", (status, other.id) == ("connected", session), (status, other.id))
    both = wait_until(lambda: len(lab.peers_in(terminal.cwd)) == 2) and lab.peers_in(terminal.cwd)
    check.require("it is a new peer beside the first", both and me["id"] in [p["id"] for p in both], lab.peers())
    lab.send(me["id"], FOR_THE_FIRST)
    seen = len(lab.api.conversations())
    other.say("is there mail?")
    said = json.dumps(lab.api.conversations()[seen:])
    check.check("the mail is not shown in the second client process", FOR_THE_FIRST not in said, said[-2000:])
    result = other.call("check_messages")
    check.check("nor by its tool", FOR_THE_FIRST not in result.text, result.text)
    reads(lab, check, terminal, FOR_THE_FIRST)


def started(lab: Lab, check: Report, what: str, me: dict[str, Any] | None = None, *arguments: str) -> tuple[Terminal, dict[str, Any]]:
    terminal = lab.terminal("a", *arguments)
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    peer = lab.peer_of(terminal)
    check.require(what, me is None or identity(peer) == identity(me), (me, peer))
    check.require("its hook events have come", wait_until(lambda: lab.peer_of(terminal)["reach"] == "hooks"), lab.peers())
    return terminal, peer


def leave(check: Report, terminal: Terminal) -> None:
    terminal.type("/exit")
    check.require("the client has ended", terminal.ended(), terminal.screen())


def reconnect(lab: Lab, check: Report, terminal: Terminal, me: dict[str, Any], when: str) -> None:
    before = lab.processes("mcp")
    terminal.type("/mcp reconnect " + SERVER)
    replaced = wait_until(lambda: (now := lab.processes("mcp")) and not set(now) & set(before))
    check.require("another server runs " + when, replaced, terminal.screen())
    check.check("it is the same peer " + when, wait_until(lambda: same(lab, terminal, me)), lab.peers())


def same(lab: Lab, terminal: Terminal, me: dict[str, Any]) -> bool:
    return [identity(peer) for peer in lab.peers_in(terminal.cwd)] == [identity(me)]


def identity(peer: dict[str, Any]) -> tuple[str, str]:
    return peer["id"], peer["name"]


def reads(lab: Lab, check: Report, terminal: Terminal, text: str) -> None:
    """The next prompt shows the mail, and it counts as read."""
    terminal.type("go on")
    check.check("its mail comes with the next prompt", wait_until(lambda: [s for s in contexts(lab) if text in s]), terminal.screen())
    read(lab, check, text)


def read(lab: Lab, check: Report, text: str) -> None:
    done = wait_until(lambda: lab.message(text)["state"] == "read", timeout=20)
    check.check("and is read, by a hook", done and lab.message(text)["read_via"] == "hook", lab.message(text))


def contexts(lab: Lab) -> list[str]:
    """The hooks' contexts in all requests to the model."""
    return [s for body in lab.api.conversations() for s in strings(body) if "hook additional context" in s]


def session_id(log: str) -> str:
    """The session that the client process shows, by its last hook event."""
    with open(log, encoding="utf-8") as f:
        lines = [line for line in f.read().replace("}{", "}\n{").splitlines() if line.endswith("}")]
    return json.loads(lines[-1])["session_id"]
