"""Two containers at once, each with the real client, and a broker outside."""

from __future__ import annotations

import argparse
# An interpreter in root's home cannot load modules once this process is an ordinary user.
import encodings.idna  # noqa: F401
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from typing import Any, Callable, Iterator

from box import Box
from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Abandoned, Report
from harness.terminal import Terminal
from harness.wait import wait_until


class Room:
    """One container, with the session in it."""

    def __init__(self, lab: Box, terminal: Terminal, host: Lab):
        self.lab, self.terminal, self._host = lab, terminal, host
        self.peer: dict[str, Any] = {}

    def is_itself(self) -> bool:
        return [(p["id"], p["name"]) for p in self.live()] == [(self.peer["id"], self.peer["name"])]

    def live(self) -> list[dict[str, Any]]:
        return self._host.peers_in(self.terminal.cwd)

    def turns(self) -> int:
        return len(self.lab.api.conversations())

    def contexts(self, text: str) -> list[str]:
        """The hooks' contexts with this text, in all requests to the model."""
        every = (s for body in self.lab.api.conversations() for s in strings(body))
        return [s for s in every if "hook additional context" in s and text in s]

    def session(self) -> str:
        """The session that the client process shows, by its last hook event."""
        with open(self.lab.log, encoding="utf-8") as f:
            lines = [line for line in f.read().replace("}{", "}\n{").splitlines() if line.endswith("}")]
        return json.loads(lines[-1])["session_id"]

    def call(self, tool: str, **arguments: Any) -> str:
        """Runs a turn in which the model calls our tool. Returns the result that the model got."""
        prompt = "please use %s, turn %d" % (tool, self.turns())
        call = self.lab.api.on(prompt, "mcp__%s__%s" % (SERVER, tool), arguments)
        self.terminal.type(prompt)
        result = self.lab.api.tool_result(call)
        return result.text if result else self.terminal.screen()


def walk(host: Lab, check: Report, work: str, first: bool) -> None:
    """Two containers, the client in each is %s."""
    how = "first" if first else "later"
    rooms = list(opened(host, check, os.path.join(work, how), first))
    left, right = rooms
    numbers = [room.lab.numbers("claude") for room in rooms]
    own = [n[-1][-1] for n in numbers if n]
    check.require("both clients have one number, each in its container", len(own) == 2 and len(set(own)) == 1, numbers)
    check.check("it is the first process's" if first else "it is not the first process's", (own[0] == 1) == first, numbers)

    tools(host, check, left, right)
    for room in rooms:
        read(host, check, room, "by hooks", "Mail for %s, for its hooks." % room.peer["id"])
    for room in rooms:
        before = room.session()
        room.terminal.type("/clear")
        check.require("/clear begins another session", wait_until(lambda: room.session() != before), room.terminal.screen())
    for room in rooms:
        check.check("it is the same peer after /clear", wait_until(room.is_itself), host.peers())
        read(host, check, room, "after /clear", "Mail for %s, after its /clear." % room.peer["id"])
    woken(host, check, left, "by the waiting hook", "hook")
    woken(host, check, right, "through its inbox socket", "hook")
    restarted(host, check, rooms)
    for room in rooms:
        room.terminal.type("/exit")
        check.check("the session ends", room.terminal.ended(), room.terminal.screen())
        check.check("and is away", wait_until(lambda: not room.live()), host.peers())


def opened(host: Lab, check: Report, base: str, first: bool) -> Iterator[Room]:
    """Two rooms, which are open at once."""
    for name in ("left", "right"):
        directory = os.path.join(base, name)
        os.makedirs(directory)
        lab = Box(directory, host, first)
        host.boxes.append(lab)
        lab.prepare(waits=name == "left")
        room = Room(lab, lab.started(), host)
        check.require("the client starts in its container", room.terminal.wait("❯"), room.terminal.screen())
        found = wait_until(room.live)
        check.require("its session is a live peer of the broker outside", len(found) == 1, room.terminal.screen() + str(host.peers()))
        room.peer = found[0]
        told = wait_until(lambda: [p["reach"] for p in room.live()] == ["hooks"])
        check.check("its hook events have come", told, host.peers())
        yield room


def tools(host: Lab, check: Report, left: Room, right: Room) -> None:
    text = "From %s to %s." % (left.peer["id"], right.peer["id"])
    result = left.call("send_message", to_id=right.peer["id"], message=text)
    check.check("its model sends a message to the other container", wait_until(lambda: host.message(text), timeout=10), result)
    listed = right.call("list_peers")
    check.check("the other one lists it", left.peer["id"] in listed, listed)
    done = wait_until(lambda: host.message(text).get("state") == "read", timeout=20)
    check.check("and has read it", done, host.message(text))


def read(host: Lab, check: Report, room: Room, when: str, text: str) -> None:
    """Checks that waiting mail is shown with the next prompt, and counts as read."""
    lies = "A message of no matter. "
    host.send(room.peer["id"], lies + text)
    room.terminal.type("go on")
    check.check("mail is shown %s" % when, wait_until(lambda: room.contexts(text)), room.terminal.screen())
    done = wait_until(lambda: host.message(lies + text)["state"] == "read", timeout=20)
    check.check("and is read, by a hook", done and host.message(lies + text)["read_via"] == "hook", host.message(lies + text))


def woken(host: Lab, check: Report, room: Room, how: str, by: str) -> None:
    text = "Mail that wakes %s." % room.peer["id"]
    check.require("no turn is under way", wait_until(lambda: "esc to interrupt" not in room.terminal.screen()), room.terminal.screen())
    before = room.turns()
    host.send(room.peer["id"], text)
    check.require("an idle session is woken %s" % how, wait_until(lambda: room.turns() > before, timeout=30), room.terminal.screen())
    done = wait_until(lambda: host.message(text)["state"] == "read", timeout=20)
    check.check("and reads its mail", done and host.message(text)["read_via"] == by, host.message(text))


def restarted(host: Lab, check: Report, rooms: list[Room]) -> None:
    """Kills the broker, and starts another from outside."""
    before = host.processes("broker")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    host.peers()
    check.require("another broker runs", before and not set(before) & set(host.processes("broker")), before)
    for room in rooms:
        check.check("it is the same peer for the next broker", wait_until(room.is_itself), host.peers())
        read(host, check, room, "by the next broker", "Mail for %s, of the next broker." % room.peer["id"])
        left = [name for name in os.listdir(room.lab.home) if name.endswith(".db")]
        check.check("no broker was started in its container", not left and not room.lab.processes("broker"), left)


def play(host: Lab, check: Report, work: str) -> None:
    host.boxes = []
    host.socket = os.path.join(host.env()["XDG_RUNTIME_DIR"], "claude-peers", "broker-%s.sock" % host.env()["CLAUDE_PEERS_PORT"])
    host.peers()
    for first in (False, True):
        check.scenario("first" if first else "later", walk.__doc__ % ("its first process" if first else "started by another"))
        try:
            walk(host, check, work, first)
        except Abandoned:
            pass
        except Exception:
            check.check("the scenario runs to its end", False, traceback.format_exc())
        finally:
            for box in host.boxes:
                box.__exit__()


def copy_programs(work: str, options: argparse.Namespace, is_hidden: Callable[[str], bool]) -> None:
    """Copies a program to the work directory if the containers cannot see it."""
    for name in ("claude", "claude_peers"):
        if is_hidden(getattr(options, name)):
            copy = os.path.join(work, name.replace("_", "-"))
            shutil.copy(getattr(options, name), copy)
            os.chmod(copy, 0o755)
            setattr(options, name, copy)


def is_in_tmp(program: str) -> bool:
    """Each container has a `/tmp` of its own."""
    return os.path.realpath(program).startswith("/tmp/")


def become(user: int, work: str, options: argparse.Namespace) -> None:
    """Becomes an ordinary user, which must be able to run both programs."""
    os.chown(work, user, user)
    reached = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "test", "-x"]
    copy_programs(work, options, lambda program: subprocess.run([*reached, program], check=False).returncode != 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claude", required=True, help="binary of the Claude Code client")
    parser.add_argument("--claude-peers", required=True, help="binary under test")
    parser.add_argument("--user", type=int, required=True, help="the user id that root changes to")
    parser.add_argument("--keep", action="store_true", help="keep the work directory")
    options = parser.parse_args()
    options.claude = os.path.abspath(options.claude)
    options.claude_peers = os.path.abspath(options.claude_peers)

    # A test that is terminated still ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Not under /tmp, which each container has of its own; and short, for a socket's path.
    work = tempfile.mkdtemp(prefix="cpc-", dir="/var/tmp")
    report = Report(strict=os.environ.get("CI") == "true")
    copy_programs(work, options, is_in_tmp)
    if os.geteuid() == 0:
        become(options.user, work, options)
    try:
        os.mkdir(os.path.join(work, "host"))
        with Lab(os.path.join(work, "host"), options.claude, options.claude_peers) as host:
            play(host, report, work)
            host.stop_broker()
            report.check("kill-broker leaves no broker behind", host.broker_is_gone())
    except Exception:
        report.check("the laboratory closes", False, traceback.format_exc())
    finally:
        if options.keep or report.failed or sys.exc_info()[0]:
            print("\nlogs and traffic: %s" % work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
