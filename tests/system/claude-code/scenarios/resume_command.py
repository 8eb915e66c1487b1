"""A client process that resumes another session with `/resume`, or changes its directory, is listed as it is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import Any

from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Report
from harness.terminal import Terminal
from harness.wait import wait_until

NEEDS = ["tmux", "git"]
FOR_ONE = "Mail for the session that will be resumed."
FOR_TWO = "Mail for the session that the client process has left."


def run(lab: Lab, check: Report) -> None:
    log = os.path.join(lab.base, "hooks.jsonl")
    allowed = ["mcp__" + SERVER, "Bash", "EnterWorktree"]
    lab.settings(permissions={"allow": allowed}, hooks=lab.hooks(before="tee -a %s | " % shlex.quote(log)))
    # Only what is typed here begins a turn.
    lab.extra_env["CLAUDE_PEERS_WAKE"] = "off"
    lab.register()
    repository(lab.project("a"))

    terminal, one = started(lab, check, log)
    first = last(log)["session_id"]
    terminal.type("/exit")
    check.require("the first session ends", terminal.ended() and wait_until(lambda: not lab.peers_in(terminal.cwd)), terminal.screen())
    lab.send(one["id"], FOR_ONE)

    terminal, two = started(lab, check, log)
    second = last(log)["session_id"]
    check.require("another session is another peer", (second, two["id"]) != (first, one["id"]), (one, two))
    resume(lab, check, log, terminal, first)
    check.check("the client process is the resumed session's peer", wait_until(lambda: known_in(lab, terminal.cwd, one)), lab.peers())
    lab.send(two["id"], FOR_TWO)
    reads(lab, check, terminal, FOR_ONE)
    call = lab.api.on("who are you", "mcp__%s__list_peers" % SERVER, {})
    terminal.type("who are you")
    result = lab.api.tool_result(call)
    check.check("its tools speak for that one", result and one["id"] in result.text and two["id"] not in result.text, result)
    check.check("the other's mail is not shown", not shown(lab, FOR_TWO) and lab.message(FOR_TWO)["state"] == "queued", lab.message(FOR_TWO))
    resume(lab, check, log, terminal, second)
    check.check("and that of the second session again", wait_until(lambda: known_in(lab, terminal.cwd, two)), lab.peers())
    reads(lab, check, terminal, FOR_TWO)
    moves(lab, check, terminal, two)


def repository(directory: str) -> None:
    """Makes a repository with a commit, from which a worktree can be made."""
    me = ["-c", "user.name=test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*me, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=directory, check=True)


def moves(lab: Lab, check: Report, terminal: Terminal, me: dict[str, Any]) -> None:
    """Changes the directory of the client's shell, and enters a worktree. The peer stays the same."""
    below = os.path.join(terminal.cwd, "below")
    os.makedirs(below)
    lab.api.on("go below", "Bash", {"command": "cd below && pwd", "description": "Go below"})
    terminal.type("go below")
    check.check("a session whose shell changes its directory is listed there", wait_until(lambda: known_in(lab, below, me)), lab.peers())
    lab.api.on("enter a worktree", "EnterWorktree", {"name": "login"})
    terminal.type("enter a worktree")
    tree = os.path.join(terminal.cwd, ".claude", "worktrees", "login")
    check.check("one that enters a worktree is listed there", wait_until(lambda: known_in(lab, tree, me)), lab.peers())
    repository = os.path.realpath(os.path.join(terminal.cwd, ".git"))
    check.check("and in its repository", [peer["repo"] for peer in lab.peers()] == [repository], lab.peers())


def known_in(lab: Lab, directory: str, me: dict[str, Any]) -> bool:
    return [(peer["id"], peer["name"]) for peer in lab.peers_in(directory)] == [(me["id"], me["name"])]


def started(lab: Lab, check: Report, log: str) -> tuple[Terminal, dict[str, Any]]:
    """Starts a client and runs one turn: only a session with a turn can be resumed."""
    terminal = lab.terminal("a")
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    peer = lab.peer_of(terminal)
    terminal.type("hello there")
    check.require("a turn ends", wait_until(lambda: last(log).get("hook_event_name") == "Stop"), terminal.screen())
    return terminal, peer


def resume(lab: Lab, check: Report, log: str, terminal: Terminal, session: str) -> None:
    terminal.type("/resume " + session)
    check.require("the client process shows the resumed session", wait_until(lambda: last(log)["session_id"] == session), terminal.screen())


def reads(lab: Lab, check: Report, terminal: Terminal, text: str) -> None:
    terminal.type("go on")
    check.check("its mail comes with the next prompt", wait_until(lambda: shown(lab, text)), terminal.screen())
    check.check("and is read", wait_until(lambda: lab.message(text)["state"] == "read", timeout=20), lab.message(text))


def shown(lab: Lab, text: str) -> bool:
    return any(text in s and "hook additional context" in s for body in lab.api.conversations() for s in strings(body))


def last(log: str) -> dict[str, Any]:
    """The input of the last hook."""
    if not os.path.exists(log):
        return {}
    with open(log, encoding="utf-8") as f:
        lines = [line for line in f.read().replace("}{", "}\n{").splitlines() if line.endswith("}")]
    return json.loads(lines[-1]) if lines else {}
