"""The booted machine: its users, their service managers, packages, processes.

Everything here runs inside the throw-away system, in a login session of the user `tester`, who may
use sudo. A command that does not end is a failure of the scenario, never a hang.
"""

from __future__ import annotations

import asyncio
import glob
import json
import os
import subprocess
from typing import Any, Callable, NamedTuple, TypeVar

from harness.report import Abandoned, Report
from harness.wait import PATIENCE

T = TypeVar("T")

PROGRAM = "claude-peers"
SOCKET = "claude-peers.socket"
TCP_SOCKET = "claude-peers-tcp.socket"
SERVICE = "claude-peers.service"
UNITS = (SOCKET, TCP_SOCKET, SERVICE)

RUNTIME = os.path.join(os.environ["XDG_RUNTIME_DIR"], "claude-peers")
SOCKET_PATH = os.path.join(RUNTIME, "broker.sock")
HOME = os.environ["HOME"]
DATABASE = os.path.join(HOME, ".claude-peers.db")
CONFIG = os.path.join(HOME, ".config/claude-peers/config.toml")
TOKEN = os.path.join(HOME, ".local/state/claude-peers/token")
PORT = 7899

# Both packages, bound here by `run`: the one under test, and the same with a higher version.
PACKAGE = "/packages/claude-peers_1.deb"
NEXT_PACKAGE = "/packages/claude-peers_2.deb"

NO_LIMITS = "[limits]\nmessages_per_minute = 0\nmessage_burst = 0\nmax_unread = 0\n"


class Done(NamedTuple):
    """A command that ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        return "%s -> %d\n%s%s" % (self.command, self.code, self.out, self.err)


def run(*command: str, timeout: float = PATIENCE, text: str | None = None, **variables: str) -> Done:
    """Runs a command to its end; `variables` are added to its environment."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **variables},
        )
    except subprocess.TimeoutExpired as expired:
        return Done(shown, -1, "", "no end after %.0f s\n%r" % (expired.timeout, expired.stderr))
    except FileNotFoundError as missing:
        return Done(shown, 127, "", str(missing))
    return Done(shown, done.returncode, done.stdout, done.stderr)


async def aside(*command: str, **options: Any) -> Done:
    """Runs a command without blocking the other tasks."""
    return await asyncio.to_thread(run, *command, **options)


def root(*command: str, **options: Any) -> Done:
    return run("sudo", "--preserve-env=DEBIAN_FRONTEND", *command, **options)


def bystander(*command: str, **options: Any) -> Done:
    """Runs a command in a login session of the other user."""
    return run("sudo", "as-user", "bystander", *command, **options)


def peers(*arguments: str, **options: Any) -> Done:
    """Runs the program under test."""
    return run(PROGRAM, *arguments, **options)


def systemctl(*arguments: str, **options: Any) -> Done:
    return run("systemctl", "--user", *arguments, **options)


def show(unit: str, name: str) -> str:
    return systemctl("show", "--value", "--property", name, unit).out.strip()


def active(unit: str) -> str:
    return show(unit, "ActiveState")


def states() -> str:
    """The active states of both sockets and the service, for evidence."""
    return systemctl("status", "--no-pager", "--lines=8", *UNITS).out


def main_pid() -> int:
    return int(show(SERVICE, "MainPID") or 0)


def journal(*arguments: str) -> str:
    run("sudo", "journalctl", "--sync")
    return run("journalctl", "--user", "--no-pager", *arguments).out


def entries(*arguments: str) -> list[dict[str, Any]]:
    """The service's entries in the journal with all their fields."""
    text = journal("--output=json", *(arguments or ("--unit", SERVICE)))
    return [json.loads(line) for line in text.splitlines()]


def install(package: str = PACKAGE) -> Done:
    """`apt install ./package`."""
    options = ["-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root", "--no-install-recommends"]
    return apt("install", "--allow-downgrades", *options, package)


def apt(*arguments: str) -> Done:
    return root("apt-get", "--yes", "-qq", *arguments, timeout=120, DEBIAN_FRONTEND="noninteractive")


def processes(program: str = "/usr/bin/claude-peers") -> dict[int, str]:
    """All processes that run the program or an earlier file of that name, with their arguments."""
    script = 'for p in /proc/[0-9]*; do e=$(readlink $p/exe) || continue; case $e in "$1"|"$1 (deleted)") echo "${p#/proc/} $(tr "\\0" " " <$p/cmdline)";; esac; done'
    found = root("sh", "-c", script, "sh", program).out.splitlines()
    return {int(line.split(" ", 1)[0]): line.split(" ", 1)[1] for line in found}


def broker() -> dict[str, Any]:
    """`claude-peers status --json`: the broker's health."""
    return json.loads(peers("status", "--json").out or "{}")


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def configure(text: str) -> None:
    """Writes tester's configuration, which the next broker reads."""
    write(CONFIG, text)


def drop_in(text: str, unit: str = SERVICE) -> None:
    """A drop-in of tester's for a unit."""
    write(os.path.join(HOME, ".config/systemd/user/%s.d/test.conf" % unit), text)
    systemctl("daemon-reload")


async def until(
    report: Report,
    what: str,
    probe: Callable[[], T],
    evidence: Callable[[], object] = states,
    limit: float = PATIENCE,
) -> T:
    """Checks that `probe` returns something true in time. Otherwise the scenario ends."""
    end = asyncio.get_running_loop().time() + limit
    while not (value := await asyncio.to_thread(probe)):
        if asyncio.get_running_loop().time() > end:
            report.check(what, False, evidence())
            raise Abandoned(what)
        await asyncio.sleep(0.05)
    report.check(what, True)
    return value


def leftovers(patterns: list[str]) -> list[str]:
    """The files that still exist at these places, dead links included."""
    return sorted(path for pattern in patterns for path in glob.glob(pattern, include_hidden=True))
