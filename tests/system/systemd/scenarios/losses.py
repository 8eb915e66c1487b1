"""A broker that is killed, restarted, hung or upgraded under load loses no message and fails no call."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3

from harness.report import Report
from lab import machine
from lab.crowd import Crowd
from lab.machine import SERVICE, aside, main_pid, until

SESSIONS = 24


async def run(report: Report) -> None:
    machine.configure(machine.NO_LIMITS)
    crowd = await Crowd.gather(report, SESSIONS)
    report.require("systemd runs the broker", machine.active(SERVICE) == "active", machine.states())

    async with crowd:
        for _ in range(6):
            await asyncio.sleep(0.7)
            before = await asyncio.to_thread(main_pid)
            os.kill(before, signal.SIGKILL)
            await until(report, "after kill -9 there is another broker", lambda: main_pid() not in (0, before))
    await crowd.nothing_is_lost("kill -9")

    async with crowd:
        for _ in range(6):
            await asyncio.sleep(0.5)
            done = await aside("systemctl", "--user", "restart", SERVICE)
            report.check("systemctl --user restart succeeds", done.ok, done)
    await crowd.nothing_is_lost("restart")

    await a_short_watchdog(report, crowd)
    async with crowd:
        await asyncio.sleep(0.5)
        await hang(report)
        await asyncio.sleep(0.5)
    await crowd.nothing_is_lost("watchdog")

    await upgrade(report, crowd)
    await crowd.leave()
    with sqlite3.connect(machine.DATABASE) as database:
        verdict = database.execute("PRAGMA integrity_check").fetchone()
    report.check("the database is whole", verdict == ("ok",), verdict)
    report.check("no unit failed", not machine.systemctl("--failed", "--plain", "--no-legend").out, machine.states())


async def a_short_watchdog(report: Report, crowd: Crowd) -> None:
    """A working broker is not replaced by its watchdog; without its pings it would be."""
    machine.drop_in("[Service]\nWatchdogSec=1s\n")
    machine.systemctl("restart", SERVICE)
    before = main_pid()
    async with crowd:
        await asyncio.sleep(3)
    await asyncio.sleep(3)
    report.check("a working broker, busy or idle, satisfies its watchdog", main_pid() == before, machine.states())
    machine.drop_in("")
    machine.systemctl("restart", SERVICE)


async def hang(report: Report) -> None:
    """SIGSTOP stands for a hang."""
    before = main_pid()
    os.kill(before, signal.SIGSTOP)
    await until(report, "a hung broker is replaced", lambda: main_pid() not in (0, before))
    text = await asyncio.to_thread(machine.journal, "--unit", SERVICE)
    report.check("the journal shows the watchdog timeout", "Watchdog timeout" in text, text[-3000:])
    report.check("the hung process is gone", not os.path.exists("/proc/%d" % before))


async def upgrade(report: Report, crowd: Crowd) -> None:
    servers = [session.process.pid for session in crowd.sessions]
    before = main_pid()
    async with crowd:
        await asyncio.sleep(0.5)
        done = await asyncio.to_thread(machine.install, machine.NEXT_PACKAGE)
        report.check("apt upgrades the package", done.ok, done)
        await asyncio.sleep(1)
    await crowd.nothing_is_lost("upgrade")
    alive = [pid for pid in servers if os.path.exists("/proc/%d" % pid)]
    report.check("the servers of the old version go on", alive == servers, (alive, servers))
    deleted = os.readlink("/proc/%d/exe" % servers[0])
    report.check("they run the old program's file", deleted.endswith(" (deleted)"), deleted)
    report.check("the broker is a new process", main_pid() not in (0, before), machine.states())
    program = os.readlink("/proc/%d/exe" % main_pid())
    report.check("it runs the new program's file", program == "/usr/bin/claude-peers", program)
    reload = machine.show(SERVICE, "NeedDaemonReload")
    report.check("its service manager has read the new units", reload == "no", reload)
    status = machine.run("dpkg-query", "--show", "--showformat=${Version}", "claude-peers").out
    report.check("the new version is installed", status.endswith("+upgrade"), status)
