"""A command in a sandbox harms no broker outside, and says which setting lets it through."""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from harness.report import Report

# sandbox.network.allowUnixSockets is Claude Code's name for it.
SETTING = "sandbox.network.allowUnixSockets"
PATIENCE = 30

BPF_LOAD, BPF_UNLESS, BPF_RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001
AF_UNIX = 1
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]


def no_unix_sockets() -> int:
    """A descriptor with a seccomp filter that lets socket(AF_UNIX, …) fail with EPERM."""
    program = [
        (BPF_LOAD, 0, 0, 0),
        (BPF_UNLESS, 0, 3, SOCKET),
        (BPF_LOAD, 0, 0, 16),
        (BPF_UNLESS, 0, 1, AF_UNIX),
        (BPF_RETURN, 0, 0, EPERM),
        (BPF_RETURN, 0, 0, ALLOW),
    ]
    descriptor = os.memfd_create("filter", 0)
    os.write(descriptor, b"".join(struct.pack("HBBI", *line) for line in program))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class World:
    """A home with a broker that a session started, outside any sandbox."""

    def __init__(self, binary: str, work: str):
        self.binary, self.work = binary, work
        self.environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "CLAUDE_PEERS_LOG": "stderr"}
        for name, part in [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config")]:
            path = os.path.join(work, part)
            os.mkdir(path, 0o700)
            self.environment[name] = path
        self.environment["CLAUDE_PEERS_PORT"] = str(20000 + os.getpid() % 10000)

    def run(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.binary, *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )

    def boxed(self, words: list[str], *options: str, sockets: bool) -> subprocess.CompletedProcess:
        """Runs a command in bubblewrap: all read-only, with a pid namespace of its own."""
        command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc", "--die-with-parent"]
        command += options
        descriptors = []
        if not sockets:
            descriptors = [no_unix_sockets()]
            command += ["--seccomp", str(descriptors[0])]
        try:
            return subprocess.run(
                command + ["--", self.binary, *words],
                env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, pass_fds=descriptors,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def broker(self) -> int | None:
        """The pid of the broker; `None` if no broker runs."""
        status = self.run("status", "--json")
        return json.loads(status.stdout).get("pid") if status.stdout else None


def said(result: subprocess.CompletedProcess) -> str:
    return result.stdout + result.stderr


def no_sockets(world: World, report: Report) -> None:
    """A sandbox without Unix sockets, as Claude Code's and Codex's on Linux"""
    before = world.broker()
    for words in [["peers"], ["send", "cli", "x"], ["inbox"], ["log"], ["token"], ["status"], ["kill-broker"]]:
        result = world.boxed(words, sockets=False)
        name = " ".join(words)
        report.check("%s fails and names the setting" % name, result.returncode != 0 and SETTING in said(result), said(result))
        report.check("%s advises to end nothing" % name, not any(word in said(result) for word in ("ends it", "stops it")), said(result))
        report.check("%s leaves the broker as it is" % name, world.broker() == before, said(result))
    result = world.boxed(["doctor", "--no-claude", "--json"], sockets=False)
    advice = [finding.get("fix") or "" for finding in json.loads(result.stdout)["findings"]]
    report.check("doctor names the setting", SETTING in result.stdout, result.stdout)
    report.check("doctor advises to end or remove nothing", not any("kill" in a or "rm " in a for a in advice), advice)
    report.check("doctor leaves the broker as it is", world.broker() == before)


def no_broker(world: World, report: Report) -> None:
    """The same sandbox where no broker runs: no broker is started"""
    for words in [["peers"], ["send", "cli", "x"], ["inbox"]]:
        result = world.boxed(words, sockets=False)
        report.check("%s fails and names the setting" % words[0], result.returncode != 0 and SETTING in said(result), said(result))
        report.check("%s starts nothing" % words[0], world.broker() is None)


def read_only(world: World, report: Report) -> None:
    """A read-only file system where sockets are allowed: the broker outside is reached"""
    before = world.broker()
    for words in [["status"], ["peers"], ["inbox"], ["log"]]:
        result = world.boxed(words, sockets=True)
        report.check("%s works" % words[0], result.returncode == 0, said(result))
        report.check("%s advises to end nothing" % words[0], "kill-broker" not in said(result), said(result))
    report.check("the broker is the same", world.broker() == before)
    result = world.boxed(["kill-broker"], sockets=True)
    report.check("kill-broker asks it through its socket", result.returncode == 0 and world.broker() is None, said(result))


def hidden(world: World, report: Report) -> None:
    """A sandbox that hides the runtime directory, with a read-only home: no broker is started or ended"""
    world.run("peers")
    before = world.broker()
    for words in [["peers"], ["kill-broker"], ["status"]]:
        result = world.boxed(words, "--tmpfs", world.environment["XDG_RUNTIME_DIR"], sockets=True)
        report.check("%s leaves the broker as it is" % words[0], world.broker() == before, said(result))
        report.check("%s does not advise to end it" % words[0], not any(word in said(result) for word in ("ends it", "stops it")), said(result))


def main() -> int:
    report = Report(strict=os.environ.get("CI") == "true")
    work = tempfile.mkdtemp(prefix="cps-", dir="/tmp")
    world = World(os.path.abspath(sys.argv[1]), work)
    try:
        report.scenario("no_broker", no_broker.__doc__)
        no_broker(world, report)
        world.run("peers")
        report.require("a broker runs outside", world.broker() is not None)
        for story in [no_sockets, read_only, hidden]:
            report.scenario(story.__name__, story.__doc__)
            story(world, report)
    finally:
        world.run("kill-broker")
        until = time.monotonic() + PATIENCE
        while world.broker() is not None and time.monotonic() < until:
            time.sleep(0.05)
        shutil.rmtree(work, ignore_errors=True)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
