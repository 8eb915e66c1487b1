"""A package that is installed while users are logged in serves them at once, and users that log in later."""

# package: during the session

from __future__ import annotations

import os

from harness.report import Report
from lab import machine
from lab.machine import SERVICE, SOCKET, TCP_SOCKET, active, peers


async def run(report: Report) -> None:
    for unit in (SOCKET, TCP_SOCKET):
        report.check("%s is active in the running session" % unit, active(unit) == "active", machine.states())
    report.check("the service is inactive", active(SERVICE) == "inactive", machine.states())
    done = peers("peers")
    report.check("a call starts it", done.ok and active(SERVICE) == "active", done)
    reload = [machine.show(unit, "NeedDaemonReload") for unit in machine.UNITS]
    report.check("the manager knows the units as they are", reload == ["no"] * 3, reload)

    machine.root("loginctl", "enable-linger", "bystander")
    done = machine.root("systemctl", "start", "user@1001.service")
    report.check("another user logs in", done.ok, done)
    done = machine.bystander("systemctl", "--user", "is-active", SOCKET)
    report.check("the socket listens for this user as well", done.out.strip() == "active", done)
    report.check("at a path of the user's own", os.path.isdir("/run/user/1001"))
