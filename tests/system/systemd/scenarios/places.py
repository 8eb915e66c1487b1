"""One user, one broker: cron before the login, shells with other runtime directories, logout and login again."""

from __future__ import annotations

import http.client
import json
import os
import subprocess

from harness.report import Report
from lab import machine
from lab.machine import SERVICE, SOCKET, TCP_SOCKET, Done, active, bystander, peers, root, until

# The environment that cron gives its jobs.
BARE = ("env", "-i", "PATH=/usr/bin:/bin")

OTHER = "/tmp/other-runtime"


async def in_the_session(report: Report) -> None:
    """Logged in, and shells of the same user with other variables."""
    cron = (*BARE, "HOME=" + machine.HOME, "claude-peers")
    done = machine.run(*cron, "peers")
    report.check("without any variable the service serves", done.ok and started(status()) == "systemd", done)
    machine.run(*cron, "kill-broker")

    os.makedirs(OTHER, mode=0o700, exist_ok=True)
    other = {"XDG_RUNTIME_DIR": OTHER}
    report.check("in another runtime directory a client starts the broker", peers("peers", **other).ok)
    first = status(**other)
    report.check("it is no service's", started(first) == "fallback", first)
    for shell in ({}, other):
        done = peers("peers", **shell)
        report.check("every shell is served", done.ok, done)
        report.check("all by the same one", process(status(**shell)) == process(first), status(**shell))
    sockets_listen(report, "the service's sockets go on listening")

    # A script over TCP knows nothing of databases: its call starts the service.
    report.check("a call over TCP starts the service", tcp_health() == 200)
    await until(report, "and the service takes over", lambda: started(status()) == "systemd")
    report.check("the other shell uses it as well", started(status(**other)) == "systemd", status(**other))
    report.check("and is served", peers("peers", **other).ok)
    sockets_listen(report, "nothing was closed")
    report.check("nothing is remembered against the service", not os.path.exists(machine.RUNTIME + "/service-failed"))
    doctor = peers("doctor", "--no-claude")
    report.check("doctor finds nothing", doctor.ok, doctor)
    doctor = peers("doctor", "--no-claude", **other)
    report.check("in the other shell as well", doctor.ok, doctor)

    for other_name in ("/var/run/user/1000", "/run/user/1000/", "/run/../run//user/1000"):
        done = peers("peers", XDG_RUNTIME_DIR=other_name)
        report.check("%s is the same place" % other_name, done.ok, done)
    peers("kill-broker")
    report.check("a service that waits is ready by any name of its socket", peers("status", XDG_RUNTIME_DIR="/var/run/user/1000").ok)

    await in_a_container(report)

    # As `su` leaves it: the variable of another user.
    done = root("env", "XDG_RUNTIME_DIR=/run/user/1000", "HOME=/root", "claude-peers", "peers")
    report.check("root with another user's variable is served by a broker of its own", done.ok, done)
    root("env", "HOME=/root", "claude-peers", "kill-broker")


async def run(report: Report) -> None:
    await in_the_session(report)
    # The second user: no session at all, as for a cron job before the login.
    job = ("sudo", "-u", "bystander", *BARE, "HOME=/home/bystander", "claude-peers")
    report.check("it is not logged in", not os.path.exists("/run/user/1001"))
    done = machine.run(*job, "peers")
    report.check("cron before the login is served", done.ok, done)
    first = parsed(machine.run(*job, "status", "--json"))
    report.check("by a broker that it started", started(first) == "fallback", first)

    script = (
        "claude-peers peers && claude-peers status --json"
        " && systemctl --user is-active %s %s && test ! -e $XDG_RUNTIME_DIR/claude-peers/service-failed" % (SOCKET, TCP_SOCKET)
    )
    done = bystander("sh", "-c", script)
    report.check("a login finds that broker, and its sockets listen on", done.ok and '"pid": %d' % process(first) in done.out, done)
    await until(report, "the login is over", lambda: not os.path.exists("/run/user/1001"))
    done = machine.run(*job, "peers")
    report.check("after the logout cron is served", done.ok, done)

    # The broker is stopped meanwhile: the next login begins with the service again.
    machine.run(*job, "kill-broker")
    done = bystander("sh", "-c", "claude-peers peers && claude-peers status --json")
    report.check("the next login is served by the service", done.ok and '"systemd"' in done.out, done)
    await until(report, "that login is over, too", lambda: not os.path.exists("/run/user/1001"))
    done = machine.run(*job, "peers")
    report.check("and the end of that login costs no call", done.ok, done)
    machine.run(*job, "kill-broker")


async def in_a_container(report: Report) -> None:
    """A container has the home, and a runtime directory of its own."""
    script = (
        "mount -t tmpfs -o uid=1000,mode=0700 tmpfs /run/user/1000 && "
        "exec setpriv --reuid=1000 --regid=1000 --init-groups env HOME=%s XDG_RUNTIME_DIR=/run/user/1000 claude-peers broker" % machine.HOME
    )
    command = ["sudo", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    container = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        if not await until(report, "a broker serves in a container", lambda: "container" in peers("status").out):
            report.check("it says why", False, container.communicate()[1])
        for _ in range(3):
            done = peers("peers")
            report.check("a call names the owner of the database", not done.ok and "of another container" in done.err, done)
        sockets_listen(report, "the service is not started without need, and its sockets stay")
    finally:
        for pid, arguments in machine.processes().items():
            if arguments.split()[1:2] == ["broker"]:
                root("kill", "-KILL", str(pid))
        container.wait(timeout=10)
    await until(report, "afterwards the service serves", lambda: peers("peers").ok)
    report.check("as before", started(status()) == "systemd", status())
    peers("kill-broker")


def sockets_listen(report: Report, what: str) -> None:
    ok = active(SOCKET) == "active" and active(TCP_SOCKET) == "active" and active(SERVICE) != "failed"
    report.check(what, ok, machine.states())


def status(**variables: str) -> dict:
    return parsed(peers("status", "--json", **variables))


def parsed(done: Done) -> dict:
    return json.loads(done.out or "{}")


def started(answer: dict) -> str:
    return (answer.get("health") or {}).get("started", "")


def process(answer: dict) -> int:
    return (answer.get("health") or {}).get("pid", 0)


def tcp_health() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", machine.PORT, timeout=20)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
