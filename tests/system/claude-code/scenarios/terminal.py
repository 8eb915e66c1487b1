"""In a terminal: the client's checks for a channel, and `/mcp reconnect`, which keeps the peer."""

from __future__ import annotations

from harness.lab import SERVER, Lab
from harness.recorder import Recording
from harness.report import Report
from harness.wait import wait_until

NEEDS = ["tmux"]
# The last check is the feature flag, which is off in a client that cannot reach its vendor.
# The checks before it are the capability and the protocol revision.
LAST_GATE = "channels feature is not currently available"


def run(lab: Lab, check: Report) -> None:
    recording = lab.register_recorded()
    terminal = lab.terminal("a")
    check.require("the client starts", terminal.wait("❯"), terminal.screen())
    check.require("it connects the server", connections(recording, 1), terminal.screen())
    before = lab.peer_of(terminal)
    check.check("the session is a live peer", before["live"], before)

    gates = wait_until(lambda: lab.debug_lines('"%s": Channel notifications' % SERVER), timeout=10)
    check.check("our channel passes all checks but the last", gates and all(LAST_GATE in line for line in gates), gates)

    terminal.type("/mcp reconnect " + SERVER)
    check.require("/mcp reconnect starts a second server", connections(recording, 2), terminal.screen())
    processes = [e["child"] for e in recording.events("start")]
    check.check("it is another process", len(set(processes)) == 2, processes)
    back = wait_until(lambda: [p for p in lab.peers_in(terminal.cwd) if p["live"]])
    check.check("it is the same peer, once", [p["id"] for p in back] == [before["id"]], (before, back))

    terminal.type("/exit")
    check.check("the session ends", terminal.ended(), terminal.screen())
    check.check("its peer leaves with it", wait_until(lambda: not lab.peers_in(terminal.cwd)), lab.peers())


def connections(recording: Recording, number: int) -> bool:
    """Whether so many server processes have listed their tools."""
    return wait_until(lambda: len(recording.requests("tools/list")) >= number)
