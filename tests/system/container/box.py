"""A container as an ordinary user makes it: namespaces of its own for users, processes and mounts.

The host's runtime directory is mounted into it, at another path; the host's home is hidden, and
`/tmp` is its own. Network and program files are the host's, as in a toolbox.
"""

from __future__ import annotations

import os
import shlex
from typing import Any

from harness.lab import SERVER, Lab
from harness.terminal import Terminal

# `sh`, the first process, makes the mounts before the client runs.
MOUNTS = """
mount --bind "$HOST_RUNTIME" "$MOUNTED" &&
mount -t tmpfs tmpfs "$HOST_HOME" &&
mount -t tmpfs tmpfs /tmp || exit 125
"""
# Then it becomes the client, or starts it and stays.
FIRST = MOUNTS + 'exec "$@"'
LATER = MOUNTS + '"$@"; exit'


class Box(Lab):
    """A lab whose clients run in a container, and whose broker is the one of `host`."""

    def __init__(self, base: str, host: Lab, first: bool):
        super().__init__(base, host.claude, host.peers_binary)
        self._first = first
        mounted = self._directory("mounted")
        self.log = os.path.join(base, "hooks.jsonl")
        self.extra_env = {
            "CLAUDE_PEERS_SOCKET": os.path.join(mounted, os.path.basename(host.socket)),
            "HOST_RUNTIME": os.path.dirname(host.socket),
            "HOST_HOME": host.home,
            "MOUNTED": mounted,
        }

    def env(self) -> dict[str, str]:
        """The environment in the container, which has no runtime directory of its own."""
        return {name: value for name, value in super().env().items() if name not in ("XDG_RUNTIME_DIR", "CLAUDE_PEERS_PORT")}

    def contained(self, *argv: str) -> list[str]:
        """A command line that runs another one in a new container."""
        unshare = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*unshare, "sh", "-c", FIRST if self._first else LATER, "sh", *argv]

    def started(self) -> Terminal:
        """A session in a terminal, in a container of its own."""
        directory = os.path.join(self.base, "t%d" % next(self._numbers))
        argv = self.contained(self.claude, *self._debug_file())
        terminal = Terminal(argv, self.project("a"), self.env(), directory)
        self._clients.append(terminal)
        return terminal

    def prepare(self, waits: bool) -> None:
        """Writes our server and hooks to the client's settings, with a waiting hook or without."""
        hooks = self.hooks(before="tee -a %s | " % shlex.quote(self.log))
        if waits:
            wait = {"type": "command", "command": shlex.join([self.peers_binary, "hook", "Stop", "--wait"])}
            hooks["Stop"][0]["hooks"].append({**wait, "asyncRewake": True, "timeout": 604800})
        self.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=hooks)
        done = self.register()
        if done.returncode:
            raise RuntimeError("claude mcp add: " + done.stdout + done.stderr)

    def stop_broker(self) -> None:
        """Does nothing: the broker is the host's."""

    def numbers(self, program: str) -> list[list[int]]:
        """The process numbers of this container's processes of this name: the host's first, its own last."""
        found = []
        for pid in (name for name in os.listdir("/proc") if name.isdigit()):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    ours = ("HOME=" + self.home).encode() in f.read().split(b"\0")
                with open("/proc/%s/status" % pid, encoding="utf-8", errors="replace") as f:
                    status: dict[str, Any] = dict(line.split(":", 1) for line in f if ":" in line)
            except OSError:
                continue
            numbers = [int(number) for number in status["NSpid"].split()]
            if ours and status["Name"].strip() == program and len(numbers) > 1:
                found.append(numbers)
        return found
