"""The laboratory: a temporary home in which only the client and claude-peers run.

The client gets a clean environment, a dummy key, and the fake API as its only host. claude-peers
gets directories and a port of its own, so that no broker of the developer is ever touched. All
processes that a lab started are gone after `end_clients` and `stop_broker`.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import random
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
from typing import Any, Union

from . import killed, recorder
from .api import FakeApi
from .recorder import Recording
from .session import Session
from .terminal import Terminal
from .wait import PATIENCE, wait_until

SERVER = "claude-peers"
# The same server as the plugin brings it.
PLUGIN_SERVER = "plugin:peers:claude-peers"
REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
PATH = "/usr/local/bin:/usr/bin:/bin"
# Configured before the first client runs, because the client may rewrite its configuration at any time.
PROJECTS = ("a", "b")


class Lab:
    def __init__(self, base: str, claude: str, peers: str):
        self.base = base
        self.claude = claude
        self.peers_binary = peers
        self.home = self._directory("home")
        self._temporary = self._directory("tmp")
        self._runtime = self._directory("run", mode=0o700)
        self._port = _free_port()
        self._clients: list[Union[Session, Terminal]] = []
        self._numbers = itertools.count(1)
        self.extra_env: dict[str, str] = {}
        # The name of our server in the client.
        self.server = SERVER
        self.api = FakeApi(os.path.join(base, "api.jsonl"))
        self._write_client_config()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_clients()
        self.stop_broker()
        self.api.close()

    # What a person sets up.

    def project(self, name: str) -> str:
        """The path of one of `PROJECTS`, which the client trusts."""
        if name not in PROJECTS:
            raise KeyError(name)
        return self._directory("projects", name)

    def settings(self, **settings: Any) -> None:
        """Writes ~/.claude/settings.json: permissions, hooks and so on."""
        with open(os.path.join(self._directory("home", ".claude"), "settings.json"), "w", encoding="utf-8") as f:
            json.dump(settings, f)

    def allow_our_tools(self) -> None:
        self.settings(permissions={"allow": ["mcp__" + SERVER]})

    def hooks(self, *events: str, before: str = "") -> dict[str, Any]:
        """Settings for our hooks at these events, or at all known ones; `before` is put before each command."""
        every = ("SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "StopFailure", "Notification", "SessionEnd")

        def command(event: str) -> dict[str, Any]:
            return {"type": "command", "command": before + shlex.join([self.peers_binary, "hook", event])}

        return {event: [{"hooks": [command(event)]}] for event in events or every}

    def killed_hooks(self, flag: str) -> dict[str, Any]:
        """The same, but if the file `flag` exists, the next hook is killed once before its output is written."""
        return self.hooks(before=shlex.join([sys.executable, killed.__file__, flag, "--"]) + " ")

    def register(self) -> subprocess.CompletedProcess[str]:
        """`claude mcp add`, as the documentation tells people to do it."""
        return self._register([self.peers_binary, "mcp"])

    def register_recorded(self) -> Recording:
        """The same with the recorder between the client and us."""
        log = os.path.join(self.base, "mcp.jsonl")
        done = self._register([sys.executable, recorder.__file__, log, "--", self.peers_binary, "mcp"])
        if done.returncode:
            raise RuntimeError("claude mcp add: " + done.stdout + done.stderr)
        return Recording(log)

    def install_program(self) -> Recording:
        """Puts `claude-peers` into PATH, with the recorder before its MCP server."""
        log = os.path.join(self.base, "path-mcp.jsonl")
        directory = self._directory("bin")
        program = os.path.join(directory, "claude-peers")
        recorded = shlex.join([sys.executable, recorder.__file__, log, "--", self.peers_binary])
        with open(program, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\n[ "$1" != mcp ] || exec %s "$@"\nexec %s "$@"\n' % (recorded, shlex.quote(self.peers_binary)))
        os.chmod(program, 0o755)
        self.extra_env["PATH"] = directory + ":" + PATH
        return Recording(log)

    def install_plugin(self) -> subprocess.CompletedProcess[str]:
        """`claude plugin install`, as the documentation tells people to do it."""
        self.server = PLUGIN_SERVER
        added = self.run_claude("plugin", "marketplace", "add", REPOSITORY)
        return self.run_claude("plugin", "install", "peers@claude-peers") if added.returncode == 0 else added

    def _register(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return self.run_claude("mcp", "add", "--scope", "user", "--transport", "stdio", SERVER, "--", *command)

    # The client.

    def run_claude(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the client to its end."""
        return self._run(self.claude, arguments)

    def _run(self, program: str, arguments: tuple[str, ...], said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            cwd=self._directory("elsewhere"),
            env=self.env(),
            input=said,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def session(self, project: str, *arguments: str) -> Session:
        """Starts a session without a terminal."""
        stream = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        argv = [self.claude, *stream, *arguments, *self._debug_file()]
        session = Session(argv, self.project(project), self.env(), self.api, self.server)
        self._clients.append(session)
        return session

    def terminal(self, project: str, *arguments: str) -> Terminal:
        """Starts a session in a terminal."""
        directory = os.path.join(self.base, "t%d" % next(self._numbers))
        terminal = Terminal([self.claude, *arguments, *self._debug_file()], self.project(project), self.env(), directory)
        self._clients.append(terminal)
        return terminal

    def debug_lines(self, pattern: str) -> list[str]:
        """Lines of the debug logs of all sessions of this lab."""
        lines = []
        for path in sorted(glob.glob(os.path.join(self.base, "debug-*.txt"))):
            with open(path, encoding="utf-8", errors="replace") as f:
                lines += [line.rstrip("\n") for line in f if re.search(pattern, line)]
        return lines

    def end_clients(self) -> None:
        for client in self._clients:
            client.end()
        self._clients = []

    # claude-peers itself.

    def run_peers(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of claude-peers to its end, as the person at the command line."""
        return self._run(self.peers_binary, arguments)

    def from_outside(self, *arguments: str) -> list[str]:
        """A command of claude-peers that does not belong to the session whose shell runs it."""
        return ["env", "-u", "CLAUDE_CODE_SESSION_ID", self.peers_binary, *arguments]

    def send(self, to: str, text: str) -> None:
        """Sends a message from the command line, with any content."""
        done = self._run(self.peers_binary, ("send", to, "-"), said=text)
        if done.returncode:
            raise RuntimeError("claude-peers send: " + done.stdout + done.stderr)

    def peers(self, *options: str) -> list[dict[str, Any]]:
        """The list of `claude-peers peers --json`, without the caller at the command line."""
        return self._json("peers", "--json", *options)["peers"]

    def peers_in(self, cwd: str) -> list[dict[str, Any]]:
        """The live sessions in this directory."""
        return [peer for peer in self.peers() if os.path.realpath(peer["cwd"]) == os.path.realpath(cwd)]

    def peer_of(self, client: Union[Session, Terminal]) -> dict[str, Any]:
        """The peer that this session has become; waits for it."""
        found = wait_until(lambda: self.peers_in(client.cwd))
        if len(found) != 1:
            raise RuntimeError("expected one live peer in %s, found %s" % (client.cwd, found))
        return found[0]

    def message(self, text: str) -> dict[str, Any]:
        """The message with this text, as `claude-peers log --json` has it; empty if it has none."""
        return next((m for m in self._json_lines("log", "--json") if m["text"] == text), {})

    def processes(self, *arguments: str) -> list[int]:
        """The processes of our program in this lab whose arguments begin with these."""
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as f:
                    argv = f.read().decode(errors="replace").split("\0")[:-1]
                with open("/proc/%d/environ" % pid, "rb") as f:
                    ours = ("HOME=" + self.home).encode() in f.read().split(b"\0")
            except OSError:
                continue
            program = os.path.basename(argv[0]) if argv else ""
            if ours and program == os.path.basename(self.peers_binary) and argv[1 : 1 + len(arguments)] == list(arguments):
                found.append(pid)
        return found

    def database(self) -> sqlite3.Connection:
        """A connection to the broker's database, which may be written to."""
        return sqlite3.connect(os.path.join(self.home, ".claude-peers-%d.db" % self._port), isolation_level=None)

    def stop_broker(self) -> None:
        self.run_peers("kill-broker")

    def broker_is_gone(self) -> bool:
        return wait_until(lambda: not self.broker_answers())

    def broker_answers(self) -> bool:
        """Whether a process listens on a socket of ours or on the port. Starts nothing."""
        sockets = glob.glob(os.path.join(self._runtime, "claude-peers", "*.sock"))
        return _listens(socket.AF_INET, ("127.0.0.1", self._port)) or any(_listens(socket.AF_UNIX, path) for path in sockets)

    def _json(self, *arguments: str) -> Any:
        done = self.run_peers(*arguments)
        if done.returncode:
            raise RuntimeError("claude-peers %s: %s" % (" ".join(arguments), done.stdout + done.stderr))
        return json.loads(done.stdout)

    def _json_lines(self, *arguments: str) -> list[Any]:
        done = self.run_peers(*arguments)
        if done.returncode:
            raise RuntimeError("claude-peers %s: %s" % (" ".join(arguments), done.stdout + done.stderr))
        return [json.loads(line) for line in done.stdout.splitlines()]

    # The environment.

    def env(self) -> dict[str, str]:
        """The whole environment of every process in the lab."""
        return {
            "PATH": PATH,
            "HOME": self.home,
            "TMPDIR": self._temporary,
            "SHELL": "/bin/sh",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": self._runtime,
            "XDG_STATE_HOME": self._directory("state"),
            "XDG_CONFIG_HOME": self._directory("config"),
            "CLAUDE_PEERS_PORT": str(self._port),
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:%d" % self.api.port,
            "ANTHROPIC_API_KEY": "dummy",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_TELEMETRY": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # Not covered by the variable above: a terminal session would `git clone` the plugin marketplace.
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
            **self.extra_env,
        }

    def _directory(self, *parts: str, mode: int = 0o755) -> str:
        path = os.path.join(self.base, *parts)
        os.makedirs(path, mode=mode, exist_ok=True)
        return path

    def _debug_file(self) -> list[str]:
        return ["--debug-file", os.path.join(self.base, "debug-%d.txt" % next(self._numbers))]

    def _write_client_config(self) -> None:
        """~/.claude.json after a first start: no onboarding, no question about key or trust."""
        trusted = {"allowedTools": [], "hasTrustDialogAccepted": True}
        config = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": ["dummy"], "rejected": []},
            "projects": {self.project(name): trusted for name in PROJECTS},
        }
        with open(os.path.join(self.home, ".claude.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)


def _free_port() -> int:
    """A port outside of the range that the system assigns to connections."""
    while _listens(socket.AF_INET, ("127.0.0.1", port := random.randrange(10_240, 32_240))):
        pass
    return port


def _listens(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family) as s:
        try:
            s.connect(address)
        except OSError:
            return False
        return True
