"""The documented installation leads an ordinary user to two sessions that talk, in five commands."""

from __future__ import annotations

import json
import os

from harness.report import Report
from lab import machine
from lab.machine import active, peers, until
from lab.session import Session

# What a person types, in docs/setup.md and the README. The first two are done when this begins: the
# package was built by packaging/deb/build, and apt has installed it. The last is each session's start.
COMMANDS = """
packaging/deb/build --install-build-deps
sudo apt install ./target/deb/claude-peers_*.deb
claude-peers setup
claude
claude
"""

# Without a terminal nobody can be asked, so `setup` is told which client, and yes.
SETUP = ("setup", "claude", "--yes")


async def run(report: Report) -> None:
    report.check("these are five commands", len(COMMANDS.split("\n")) - 2 == 5, COMMANDS)
    report.check("the user is an ordinary one", os.geteuid() != 0, os.geteuid())
    done = peers(*SETUP)
    report.require("`claude-peers setup` succeeds", done.ok, done)
    home = os.environ["HOME"]
    with open(os.path.join(home, ".claude.json")) as file:
        server = json.load(file)["mcpServers"]["claude-peers"]
    report.require("it registers the installed program", server["args"] == ["mcp"] and os.access(server["command"], os.X_OK), server)
    with open(os.path.join(home, ".claude", "settings.json")) as file:
        settings = json.load(file)
    report.check("with hooks and the permission rule", "mcp__claude-peers" in settings["permissions"]["allow"] and "Stop" in settings["hooks"], settings)

    # The client starts what is registered, in each session's directory.
    backend = await Session.start("backend", program=server["command"])
    frontend = await Session.start("frontend", program=server["command"])
    for session in (backend, frontend):
        await session.becomes_live(report)
    seen = await frontend.call("list_peers")
    report.check("each sees the other", [peer["name"] for peer in seen["peers"]] == ["backend"], seen)
    question = await frontend.send("backend", "Does GET /orders take a cursor?")
    await until(report, "a message appears in the other session", lambda: [push for push in backend.pushes if push.id == question])
    await backend.call("send_message", to_id="frontend", message="Yes, since today.", reply_to=question)
    await until(report, "and the answer in the first", lambda: [push for push in frontend.pushes if push.text == "Yes, since today."])
    log = [json.loads(line) for line in peers("log", "--json").out.splitlines()]
    report.check("the sender is told that it was read", [m["state"] for m in log if m["id"] == question] == ["read"], log)
    report.check("the service was started by the first session", active(machine.SERVICE) == "active", machine.states())
    for session in (backend, frontend):
        await session.end()
