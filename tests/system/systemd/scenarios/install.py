"""After `apt install` every login has a broker on demand, and the tools of systemd explain it."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import Any

from harness.report import Report
from lab import machine
from lab.machine import SERVICE, SOCKET, TCP_SOCKET, active, broker, main_pid, peers, show, systemctl, until
from lab.session import Session

SECRET = "a text that must never stand in a log"


async def run(report: Report) -> None:
    listens(report)
    asking_starts_nothing(report)
    await the_first_call_starts_it(report)
    await the_status_line(report)
    await the_journal(report)
    await a_reload(report)
    for command in (["start"], ["restart"], ["reload"], ["stop"]):
        done = systemctl(*command, SERVICE)
        report.check("systemctl --user %s" % command[0], done.ok, done)
    report.check("the sockets listen on after a stop", active(SOCKET) == active(TCP_SOCKET) == "active", machine.states())
    units_are_right(report)


def listens(report: Report) -> None:
    for unit in (SOCKET, TCP_SOCKET):
        report.check("%s is active after login" % unit, active(unit) == "active", machine.states())
    enabled = machine.run("systemctl", "--global", "is-enabled", SOCKET, TCP_SOCKET).out.split()
    report.check("both are enabled for all users", enabled == ["enabled"] * 2, enabled)
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (machine.SOCKET_PATH, machine.RUNTIME)]
    report.check("the socket is 0600 in a directory 0700", modes == [0o600, 0o700], [oct(m) for m in modes])


def asking_starts_nothing(report: Report) -> None:
    report.check("the service is inactive", active(SERVICE) == "inactive", machine.states())
    for arguments in (["status"], ["status", "--json"], ["service", "status"], ["--version"]):
        done = peers(*arguments)
        report.check("claude-peers %s says so with 0" % " ".join(arguments), done.ok, done)
        if arguments[0] != "--version":
            report.check("and that it is ready", "ready" in done.out, done)
    report.check("the service is still inactive", active(SERVICE) == "inactive", machine.states())


async def the_first_call_starts_it(report: Report) -> None:
    """Each kind of first call, each time with a stopped service."""
    done = peers("peers")
    report.check("the first `peers` is answered and starts it", done.ok and active(SERVICE) == "active", done)

    systemctl("stop", SERVICE)
    session = await Session.start("worker")
    await until(report, "a session's server starts it by itself", lambda: active(SERVICE) == "active")
    await session.becomes_live(report)
    await session.end()

    systemctl("stop", SERVICE)
    done = peers("send", "worker", SECRET)
    report.check("the first `send` is accepted and starts it", done.ok and active(SERVICE) == "active", done)
    started = (broker().get("health") or {}).get("started")
    report.check("`status` says that systemd started it", started == "systemd", broker())


async def the_status_line(report: Report) -> None:
    def says(*words: str) -> bool:
        return all(word in show(SERVICE, "StatusText") for word in words)

    def text() -> str:
        return show(SERVICE, "StatusText")

    await until(report, "STATUS counts the message that waits", lambda: says("0 peers", "1 unread"), text, 10)
    session = await Session.start("worker", channel="off")
    await until(report, "STATUS counts the session", lambda: says("1 peer", "1 unread"), text, 10)
    shown = (await session.call("check_messages"))["messages"]
    report.check("the message arrived", SECRET in str(shown), shown)
    await until(report, "STATUS forgets what was read", lambda: says("1 peer", "0 unread"), text, 10)
    line = systemctl("status", "--no-pager", "claude-peers").out
    report.check("systemctl --user status shows it", 'Status: "%s"' % text() in line, line)
    await session.end()


async def the_journal(report: Report) -> None:
    pid = main_pid()

    def of(event: str) -> list[dict[str, Any]]:
        found = machine.entries()
        return [entry for entry in found if entry.get("CLAUDE_PEERS_EVENT") == event]

    await until(report, "journalctl --user -u claude-peers shows the start, with fields", lambda: of("started"), lambda: machine.journal("--unit", SERVICE))
    last = of("started")[-1]
    wanted = {"_PID": str(pid), "SYSLOG_IDENTIFIER": "claude-peers"}
    report.check("it is the broker's own entry", wanted.items() <= last.items(), last)
    report.check("the unit is on it", last.get("_SYSTEMD_USER_UNIT") == SERVICE, last)
    text = machine.journal("--unit", SERVICE, "--catalog")
    report.check("journalctl -x explains it", "Defined-By: claude-peers" in text and "claude-peers doctor" in text, text[-3000:])
    await until(report, "sessions' servers write as claude-peers-mcp", lambda: machine.entries("--identifier=claude-peers-mcp"), lambda: machine.journal())
    servers = machine.entries("--identifier=claude-peers-mcp")
    report.check("their entries have fields, too", any("CLAUDE_PEERS_EVENT" in entry for entry in servers), servers[-3:])
    everything = machine.root("journalctl", "--no-pager", "--output=export").out
    # sudo logs the command lines of this test itself, which hold no text.
    report.check("no entry has the text of a message", SECRET not in everything)
    logs = peers("service", "logs", "--lines", "50")
    report.check("`claude-peers service logs` shows it", logs.ok and "claude-peers" in logs.out and str(pid) in logs.out, logs)


async def a_reload(report: Report) -> None:
    """The configuration is read again, by the same process."""
    before = main_pid()
    machine.configure("idle_exit_seconds = 1234\n")
    done = systemctl("reload", SERVICE)
    report.check("systemctl --user reload succeeds", done.ok, done)

    def seconds() -> int:
        return (broker().get("health") or {}).get("idle_exit_seconds", 0)

    await until(report, "the new settings are effective", lambda: seconds() == 1234, broker, 10)
    machine.configure("idle_exit_seconds = nonsense\n")
    systemctl("reload", SERVICE)
    await asyncio.sleep(0.5)
    health = show(SERVICE, "StatusText")
    report.check("after an invalid file the old settings stay effective, and STATUS says so", "config" in health and active(SERVICE) == "active", health)
    machine.configure("idle_exit_seconds = 600\n")
    systemctl("reload", SERVICE)
    await until(report, "a valid file takes effect again", lambda: seconds() == 600, broker, 10)
    report.check("the process is the same", main_pid() == before, machine.states())


def units_are_right(report: Report) -> None:
    found = [show(unit, "FragmentPath") for unit in machine.UNITS]
    done = machine.run("systemd-analyze", "--user", "verify", "--man=no", *found)
    report.check("systemd-analyze verify finds nothing", done.ok and not done.out + done.err, done)
    done = machine.run("systemd-analyze", "--user", "security", "--no-pager", SERVICE)
    last = (done.out.strip().splitlines() or [""])[-1]
    report.check("systemd-analyze security: %s" % last.strip("→ "), done.ok, done)
    documented = [show(unit, "Documentation") for unit in machine.UNITS]
    report.check("each unit names its documentation", all(documented), documented)
