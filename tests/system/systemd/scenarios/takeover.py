"""From fallback broker to service and back, with 320 clients under load: no call fails."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal

from harness.report import Report
from lab import machine
from lab.crowd import Crowd
from lab.machine import PORT, SERVICE, SOCKET, TCP_SOCKET, active, aside, broker, main_pid, systemctl, until

CLIENTS = 320

# Between two messages of one client, in seconds: 320 clients keep the broker busy with this.
PAUSE = 1.0


async def run(report: Report) -> None:
    machine.configure(machine.NO_LIMITS)
    # No service at first, as on a machine where the user has masked it.
    systemctl("mask", "--now", *machine.UNITS)
    crowd = await Crowd.gather(report, CLIENTS, command_lines=4, pause=PAUSE)
    first = broker()
    report.require("a client started the first broker", started(first) == "fallback", first)
    report.check("it serves TCP", tcp_answers(), first)

    async with crowd:
        await asyncio.sleep(1)
        await to_service(report, pid(first))
        await asyncio.sleep(1)
    await crowd.nothing_is_lost("fallback to service")
    await until(report, "TCP is served after the takeover", tcp_answers, limit=15)

    async with crowd:
        await asyncio.sleep(1)
        await to_fallback(report)
        await asyncio.sleep(1)
    await crowd.nothing_is_lost("service masked, then killed")
    await until(report, "TCP is served by the fallback broker", tcp_answers, limit=15)

    async with crowd:
        await asyncio.sleep(1)
        await to_service(report, pid(broker()))
        await asyncio.sleep(1)
    await crowd.nothing_is_lost("and back to the service")
    await until(report, "TCP is served again", tcp_answers, limit=15)
    await crowd.leave()
    brokers = [line for line in machine.processes().values() if " broker" in line]
    report.check("one broker is left", len(brokers) == 1, brokers)


async def to_service(report: Report, fallback: int) -> None:
    done = await aside("systemctl", "--user", "unmask", *machine.UNITS)
    report.check("the units are unmasked", done.ok, done)
    done = await aside("systemctl", "--user", "start", SOCKET)
    report.check("the socket unit starts though a broker has the path", done.ok, "%s\n%s" % (done, machine.states()))
    # The broker that leaves has the port; whether this unit gets it is settled below.
    await aside("systemctl", "--user", "start", TCP_SOCKET)
    await until(report, "systemd's broker serves", lambda: started(broker()) == "systemd")
    await until(report, "the fallback broker exits", lambda: not os.path.exists("/proc/%d" % fallback))


async def to_fallback(report: Report) -> None:
    before = main_pid()
    done = await aside("systemctl", "--user", "mask", SERVICE)
    report.check("the service is masked while it runs", done.ok, done)
    os.kill(before, signal.SIGKILL)
    await until(report, "clients start a broker instead", lambda: started(broker()) == "fallback")
    report.check("the masked service does not run", active(SERVICE) != "active", machine.states())


def started(health: dict) -> str:
    return (health.get("health") or {}).get("started", "")


def pid(health: dict) -> int:
    return health["health"]["pid"]


def tcp_answers() -> bool:
    """Whether the broker that is ours answers on the port, with the token."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        with open(machine.TOKEN, encoding="ascii") as file:
            token = file.read().strip()
        connection.request("GET", "/v1/peers", headers={"Authorization": "Bearer " + token})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
