"""The lines for systemd in our documentation run as they stand there."""

from __future__ import annotations

from harness.report import Report
from lab import machine
from lab.machine import TCP_SOCKET, UNITS, active, peers, systemctl

# The test `documented` of tests/it knows that they are here.
LINES = """
claude-peers service status
claude-peers service logs -n 50
claude-peers service logs -n 200
claude-peers service logs --since '1 hour ago'
claude-peers service logs -- --output=json --priority=warning
systemctl --user status claude-peers
systemctl --user status claude-peers.service
journalctl --user -u claude-peers -x
journalctl --user -u claude-peers.service
systemctl --user reload claude-peers
systemctl --user reload claude-peers.service
systemctl --user try-restart claude-peers.service
systemctl --user mask claude-peers-tcp.socket
"""

# They switch it off.
MASKS = """
systemctl --user mask claude-peers.socket claude-peers-tcp.socket
systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service
"""

# It goes on until it is interrupted.
FOLLOWS = "claude-peers service logs --follow"


async def run(report: Report) -> None:
    report.require("a broker runs", peers("peers").ok, machine.states())
    for line in LINES.strip().splitlines():
        done = machine.run("bash", "-c", line)
        report.check("`%s` succeeds" % line, done.ok, done)
    done = machine.run("timeout", "--signal=INT", "2", "sh", "-c", "exec " + FOLLOWS)
    report.check("`%s` goes on" % FOLLOWS, done.code == 124, done)
    systemctl("stop", TCP_SOCKET)
    report.check("the masked port stays closed", not systemctl("start", TCP_SOCKET).ok and active(TCP_SOCKET) == "inactive", machine.states())
    for line in MASKS.strip().splitlines():
        done = machine.run("bash", "-c", line)
        report.check("`%s` succeeds" % line, done.ok, done)
    report.check("nothing of it runs", not any(map(is_active, UNITS)), machine.states())
    systemctl("unmask", *UNITS)


def is_active(unit: str) -> bool:
    return active(unit) == "active"
