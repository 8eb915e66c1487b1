"""The server of a session is killed: the session is live by its hooks, and its person is told once."""

from __future__ import annotations

import os
import signal
import time

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until
from scenarios.wake import hooks, read_via, waiters

NEEDS = ["tmux"]
SHOWN = "The mirror is out of date."
WAKES = "The mirror is up to date again."
TOLD = "/mcp reconnect " + SERVER


def run(lab: Lab, check: Report) -> None:
    lab.register()
    lab.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=hooks(lab))
    terminal = lab.terminal("b", "--permission-mode", "default")
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    peer = lab.peer_of(terminal)
    terminal.type("good morning")
    check.require("a hook waits", wait_until(lambda: waiters(lab)), terminal.screen())
    for pid in lab.processes("mcp"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not lab.processes("mcp"))
    time.sleep(1)
    now = lab.peer_of(terminal)
    check.check("it is the same peer, live, and reachable by hooks", (now["id"], now["live"], now["reach"]) == (peer["id"], True, "hooks"), now)
    check.check("the person is told nothing before a hook runs", TOLD not in terminal.screen(), terminal.screen())

    sent = lab.run_peers("send", "--scope", "machine", SHOWN)
    check.check("a message to all is sent to it", sent.returncode == 0, sent.stdout + sent.stderr)
    check.check("and wakes it", wait_until(lambda: read_via(lab, SHOWN) == "hook", timeout=20), lab.message(SHOWN))
    check.check("the person is told how to restart the server", terminal.wait(TOLD, timeout=10), terminal.screen())
    terminal.type("and now?")
    time.sleep(2)
    check.check("once", terminal.screen().count(TOLD) == 1, terminal.screen())

    lab.run_peers("send", peer["id"], WAKES)
    check.check("it is woken again", wait_until(lambda: read_via(lab, WAKES) == "hook", timeout=20), lab.message(WAKES))
    terminal.type("/mcp reconnect " + SERVER)
    back = wait_until(lambda: lab.processes("mcp"), timeout=20)
    check.check("its server comes back", back, terminal.screen())
    time.sleep(1)
    check.check("as the same peer", lab.peer_of(terminal)["id"] == peer["id"], lab.peers())
    for pid in lab.processes("mcp"):
        os.kill(pid, signal.SIGKILL)
    terminal.type("/exit")
    check.check("the session ends", terminal.ended(), terminal.screen())
    check.check("and its peer leaves the list", wait_until(lambda: not lab.peers(), timeout=5), lab.peers())
