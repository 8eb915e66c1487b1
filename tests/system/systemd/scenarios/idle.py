"""The broker exits when it is idle and is started again, a hundred times; restarts reach no limit."""

from __future__ import annotations

import asyncio
import random
import time

from harness.report import Abandoned, Report
from lab import machine
from lab.machine import SERVICE, active, main_pid, peers, systemctl, until
from lab.session import Session

ROUNDS = 100

# The shortest possible value.
IDLE = 1.0


async def run(report: Report) -> None:
    machine.configure("idle_exit_seconds = %d\n%s" % (IDLE, machine.NO_LIMITS))
    # A recipient.
    session = await Session.start("away")
    await session.me()
    await session.end()
    await comes_and_goes(report)
    await at_the_last_moment(report)
    await restarts(report)
    await kills(report)
    report.check("no unit failed", not systemctl("--failed", "--plain", "--no-legend").out, machine.states())


async def comes_and_goes(report: Report) -> None:
    """Each call meets an inactive service, and each is served by a process of its own."""
    pids, slowest = set(), 0.0
    for number in range(ROUNDS):
        end = time.monotonic() + 20
        while (state := active(SERVICE)) != "inactive":
            if time.monotonic() > end:
                report.check("round %d: the idle broker exits" % number, False, machine.states())
                raise Abandoned
            await asyncio.sleep(0.1)
        since = time.monotonic()
        done = peers("send", "away", "round %d" % number) if number % 2 else peers("peers")
        slowest = max(slowest, time.monotonic() - since)
        if not done.ok or active(SERVICE) != "active":
            report.check("round %d: the call activates the service" % number, False, "%s\n%s" % (done, machine.states()))
            raise Abandoned
        pids.add(main_pid())
    report.check(
        "idle exit and reactivation, %d times (the slowest call took %.2f s)" % (ROUNDS, slowest),
        len(pids) == ROUNDS,
        "%d processes" % len(pids),
    )


async def at_the_last_moment(report: Report) -> None:
    """Calls at the moment at which the broker exits."""
    failures = []
    for _ in range(15):
        await asyncio.sleep(IDLE + random.uniform(-0.03, 0.06))
        done = peers("peers")
        if not done.ok:
            failures.append(str(done))
    report.check("calls at the moment of the idle exit are answered", not failures, "\n".join(failures))


async def restarts(report: Report) -> None:
    """More than the promised 20, as quickly as the service manager can."""
    since = time.monotonic()
    for number in range(60):
        done = systemctl("restart", SERVICE)
        if not done.ok:
            report.check("restart %d" % number, False, "%s\n%s" % (done, machine.states()))
            raise Abandoned
    took = time.monotonic() - since
    report.check("60 restarts within a minute (%.0f s)" % took, took < 60 and active(SERVICE) == "active", machine.states())
    for _ in range(20):
        stopped, asked = systemctl("stop", SERVICE), peers("peers")
        if not (stopped.ok and asked.ok):
            report.check("a stopped service is activated again", False, "%s\n%s" % (stopped, asked))
            raise Abandoned
    report.check("20 times stopped and activated again", True)


async def kills(report: Report) -> None:
    for _ in range(20):
        before = main_pid()
        machine.run("kill", "-KILL", str(before))
        await asyncio.sleep(random.uniform(0, 0.3))
        done = peers("peers")
        if not done.ok:
            report.check("a call after kill -9 is answered", False, "%s\n%s" % (done, machine.states()))
            raise Abandoned
        while main_pid() in (0, before):
            await asyncio.sleep(0.02)
    report.check("20 times killed, 20 times called at once", True)
    await until(report, "both sockets listen to the end", lambda: active(machine.SOCKET) == active(machine.TCP_SOCKET) == "active")
