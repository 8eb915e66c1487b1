"""A session in a terminal: the client in a tmux server of its own, with its own socket and no configuration."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time

from .wait import PATIENCE, wait_until

ENDED = "CLIENT-ENDED"


class Terminal:
    """Made by `Lab.terminal`. The socket's directory must be short: it is a Unix socket's path."""

    def __init__(self, argv: list[str], cwd: str, env: dict[str, str], directory: str):
        self.cwd = cwd
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._env = {**env, "TMUX_TMPDIR": directory}
        # A wide screen keeps messages on one line; the sleep keeps the screen readable at the end.
        command = " ".join(map(shlex.quote, argv)) + "; echo %s; sleep 600" % ENDED
        self._tmux("new-session", "-d", "-s", "t", "-x", "180", "-y", "50", "-c", cwd, "/bin/sh", "-c", command)

    def screen(self) -> str:
        lines = self._tmux("capture-pane", "-p", "-t", "t").splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def wait(self, pattern: str, timeout: float = PATIENCE) -> bool:
        """Whether the pattern appears on the screen in time."""
        return bool(wait_until(lambda: re.search(pattern, self.screen()), timeout))

    def type(self, text: str) -> None:
        """Types a line. Enter comes a moment later: the client takes a fast burst for a paste."""
        self._tmux("send-keys", "-t", "t", "-l", text)
        time.sleep(0.5)
        self._tmux("send-keys", "-t", "t", "Enter")

    def press(self, key: str) -> None:
        """Presses a key, by tmux's name for it."""
        self._tmux("send-keys", "-t", "t", key)

    def ended(self, timeout: float = PATIENCE) -> bool:
        return self.wait(ENDED, timeout)

    def end(self) -> None:
        """Ends tmux and with it the client, if they still run."""
        subprocess.run(self._argv("kill-server"), env=self._env, capture_output=True, check=False)

    def _argv(self, *arguments: str) -> list[str]:
        return ["tmux", "-L", "t", "-f", "/dev/null", *arguments]

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(self._argv(*arguments), env=self._env, capture_output=True, text=True, check=True)
        return done.stdout
