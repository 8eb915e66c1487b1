"""Upgrades respect masks and a global disable; remove and purge leave nothing but the user's data."""

# package: none

from __future__ import annotations

import asyncio
import os

from harness.report import Report
from lab import machine
from lab.machine import DATABASE, NEXT_PACKAGE, PACKAGE, SERVICE, SOCKET, TCP_SOCKET, UNITS, active, apt, bystander, peers, systemctl, until
from lab.session import Session

# Where a package may leave files; the users' own directories are checked separately.
PLACES = ["/usr", "/etc", "/var/lib/systemd", "/opt", "/var/log/apt", "/run/systemd"]

# Files that every apt run changes.
CHURN = ["/etc/ld.so.cache", "/usr/lib/systemd/catalog", "/var/lib/systemd/catalog", "/run/systemd/", "/var/log/apt", "/var/lib/systemd/linger", "/var/lib/systemd/timers"]


async def run(report: Report) -> None:
    machine.root("loginctl", "enable-linger", "bystander")
    machine.root("systemctl", "start", "user@1001.service")
    before = files()
    # The files of the session itself are in place by now.
    done = machine.install(PACKAGE)
    report.require("apt installs the package", done.ok, done)
    choices_survive(report)
    await remove(report)
    reinstalled(report)
    await purge(report, before)


def choices_survive(report: Report) -> None:
    """Masks of a user and a disable by the administrator are kept; other users are served."""
    systemctl("mask", "--now", SOCKET)
    systemctl("mask", "--now", SERVICE)
    done = machine.root("systemctl", "--global", "disable", TCP_SOCKET)
    report.check("the administrator disables the port for all", done.ok, done)
    done = bystander("claude-peers", "peers")
    report.check("the other user has a broker meanwhile", done.ok, done)
    before = bystander("systemctl", "--user", "show", "--value", "--property=MainPID", SERVICE).out

    done = machine.install(NEXT_PACKAGE)
    report.check("apt upgrades", done.ok, done)
    states = [systemctl("is-enabled", unit).out.strip() for unit in (SOCKET, SERVICE)]
    report.check("the user's masks are still there", states == ["masked"] * 2, states)
    report.check("what is masked was not started", active(SOCKET) == active(SERVICE) == "inactive", machine.states())
    state = machine.run("systemctl", "--global", "is-enabled", TCP_SOCKET).out.strip()
    report.check("the global disable is still there", state == "disabled", state)
    after = bystander("systemctl", "--user", "show", "--value", "--property=MainPID", SERVICE).out
    report.check("the other user's broker is a new one", after.strip() not in ("", "0", before.strip()), (before, after))

    done = machine.install(NEXT_PACKAGE)
    machine.apt("install", "--reinstall", NEXT_PACKAGE)
    states = [systemctl("is-enabled", unit).out.strip() for unit in (SOCKET, SERVICE)]
    report.check("nor does installing it again change that", states == ["masked"] * 2, states)
    done = peers("peers")
    report.check("a user with masks is served by a fallback broker", done.ok, done)
    peers("kill-broker")
    systemctl("unmask", SOCKET, SERVICE)
    machine.root("systemctl", "--global", "enable", TCP_SOCKET)
    done = systemctl("start", SOCKET)
    report.check("unmasked, the socket starts again", done.ok, done)


async def remove(report: Report) -> None:
    # Sessions that lose their broker start another one, whatever stopped it.
    sessions = [await Session.start("worker-%d" % number) for number in range(6)]
    for session in sessions:
        await session.becomes_live(report)
    done = peers("send", "worker-0", "kept")
    report.check("there is mail, a broker and a session", done.ok and active(SERVICE) == "active", machine.states())

    done = await asyncio.to_thread(apt, "remove", "claude-peers")
    report.check("apt removes the package", done.ok, done)
    nothing_runs(report)
    no_units(report)
    report.check("the user's database stays", os.path.getsize(DATABASE) > 0)


def nothing_runs(report: Report) -> None:
    left = machine.processes()
    report.check("no process of ours is left", not left, left)
    for uid in (1000, 1001):
        path = "/run/user/%d/claude-peers/broker.sock" % uid
        done = machine.root("test", "-e", path)
        report.check("the socket of user %d is gone" % uid, not done.ok)
    listening = machine.root("ss", "--no-header", "--listening", "--tcp", "--numeric", "sport", "=", ":7899").out
    report.check("no process listens on the port", not listening, listening)


def no_units(report: Report) -> None:
    for name, ask in (("the first user", systemctl), ("the second user", lambda *a: bystander("systemctl", "--user", *a))):
        listed = ask("list-units", "--all", "--plain", "--no-legend", "claude-peers*").out
        report.check("%s's manager knows no unit of ours" % name, not listed.strip(), listed)
        failed = ask("--failed", "--plain", "--no-legend").out
        report.check("and has no failed unit", not failed.strip(), failed)
    done = systemctl("start", SOCKET)
    report.check("there is nothing that could be started", not done.ok and "not found" in done.err, done)


def reinstalled(report: Report) -> None:
    done = machine.install(PACKAGE)
    report.check("installed again it serves the running sessions", done.ok and active(SOCKET) == "active", "%s\n%s" % (done, machine.states()))
    done = peers("log")
    report.check("with the mail from before", "kept" in done.out, done)
    # A broker and a session that no service manager knows of.
    systemctl("mask", "--now", *UNITS)
    done = peers("peers")
    report.check("a fallback broker serves", done.ok and "fallback" in peers("status", "--json").out, done)


async def purge(report: Report, before: dict[str, str]) -> None:
    done = await asyncio.to_thread(apt, "purge", "claude-peers")
    report.check("apt purges the package", done.ok, done)
    nothing_runs(report)
    systemctl("unmask", *UNITS)
    systemctl("daemon-reload")
    no_units(report)
    after = files()
    added = sorted(path for path in after if path not in before)
    changed = sorted(path for path in before if path in after and before[path] != after[path])
    missing = sorted(path for path in before if path not in after)
    report.check("no file, link or directory is left behind", not added, added)
    report.check("nothing else was changed or taken along", not changed + missing, (changed, missing))
    for user in ("tester", "bystander"):
        path = "/home/%s/.claude-peers.db" % user
        report.check("%s's database stays" % user, machine.root("test", "-s", path).ok)
    done = machine.install(PACKAGE)
    done = peers("log")
    report.check("and has all the mail when the package comes back", "kept" in done.out, done)
    await until(report, "the sockets listen again", lambda: active(SOCKET) == "active")


def files() -> dict[str, str]:
    """Kind, mode and, for links, target of everything below the places, by path."""
    found = machine.root("find", *[p for p in PLACES if os.path.isdir(p)], "-printf", "%p\t%y %m %l\n").out
    pairs = (line.split("\t", 1) for line in found.splitlines())
    return {path: what for path, what in pairs if not any(path.startswith(churn) for churn in CHURN)}
