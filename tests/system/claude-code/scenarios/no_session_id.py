"""A server whose wrapper clears the environment, and hooks without a client's pid, find their session."""

from __future__ import annotations

import shlex

from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Report
from harness.terminal import Terminal
from harness.wait import wait_until

NEEDS = ["tmux"]
FIRST = "Mail for a session that its server knows nothing of."
OVER_CLEAR = "Mail that waits while the conversation is cleared."
OVER_RESUME = "Mail that comes between two clients."
# The variables that the wrapper keeps. None is about the session.
KEPT = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "CLAUDE_PEERS_PORT")


def run(lab: Lab, check: Report) -> None:
    # Clients before 2.1.213 do not set this variable.
    lab.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=lab.hooks(before="env -u CLAUDE_PID "))
    lab.extra_env["CLAUDE_PEERS_WAKE"] = "off"
    kept = " ".join('%s="$%s"' % (name, name) for name in KEPT)
    # The shell stays between the client and the server.
    script = "env -i %s %s mcp; exit" % (kept, shlex.quote(lab.peers_binary))
    added = lab.run_claude("mcp", "add", "--scope", "user", "--transport", "stdio", SERVER, "--", "/bin/sh", "-c", script)
    check.require("a wrapper is registered", added.returncode == 0, added.stdout + added.stderr)

    terminal = started(lab, check)
    me = lab.peer_of(terminal)
    check.check("its hook events are bound to it", wait_until(lambda: lab.peer_of(terminal)["reach"] == "hooks"), lab.peers())
    lab.send(me["id"], FIRST)
    reads(lab, check, terminal, FIRST)
    lab.send(me["id"], OVER_CLEAR)
    terminal.type("/clear")
    reads(lab, check, terminal, OVER_CLEAR)
    terminal.type("/exit")
    check.require("the client has ended", terminal.ended() and wait_until(lambda: not lab.peers_in(terminal.cwd)), terminal.screen())

    lab.send(me["id"], OVER_RESUME)
    terminal = started(lab, check, "--continue")
    same = wait_until(lambda: [peer["id"] for peer in lab.peers_in(terminal.cwd)] == [me["id"]])
    check.check("after --continue it is the same peer", same, (me, lab.peers()))
    reads(lab, check, terminal, OVER_RESUME)


def started(lab: Lab, check: Report, *arguments: str) -> Terminal:
    terminal = lab.terminal("a", *arguments)
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    lab.peer_of(terminal)
    return terminal


def reads(lab: Lab, check: Report, terminal: Terminal, text: str) -> None:
    terminal.type("go on")
    check.check("its mail comes with the next prompt", wait_until(lambda: shown(lab, text)), terminal.screen())
    check.check("and is read, by a hook", wait_until(lambda: lab.message(text)["read_via"] == "hook", timeout=20), lab.message(text))


def shown(lab: Lab, text: str) -> bool:
    return any(text in s and "hook additional context" in s for body in lab.api.conversations() for s in strings(body))
