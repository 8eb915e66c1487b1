"""The lines for Claude Code in our documentation run as they stand there, in the source tree."""

from __future__ import annotations

import os
import subprocess

from harness.lab import REPOSITORY, Lab
from harness.report import Report
from harness.wait import PATIENCE

# In this order. The test `documented` of tests/it knows that they are here.
LINES = """
claude mcp add --scope user --transport stdio claude-peers -- claude-peers mcp
claude plugin marketplace add ./
claude plugin install peers@claude-peers
claude plugin uninstall peers@claude-peers
claude plugin install peers --marketplace ./
"""

# They begin a session in a terminal, for as long as its person wants. Here it answers once.
SESSIONS = """
claude --dangerously-load-development-channels server:claude-peers
claude --dangerously-load-development-channels plugin:peers@claude-peers
CLAUDE_PEERS_NAME=api claude
"""


def run(lab: Lab, check: Report) -> None:
    lab.install_program()
    binaries = os.path.join(lab.home, "documented")
    os.makedirs(binaries)
    os.symlink(lab.claude, os.path.join(binaries, "claude"))
    environment = {**lab.env(), "PATH": binaries + ":" + lab.extra_env["PATH"]}

    def shell(line: str) -> None:
        done = subprocess.run(
            ["sh", "-c", line], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        check.check("`%s` succeeds" % line, done.returncode == 0, done.stdout + done.stderr)

    for line in LINES.strip().splitlines():
        shell(line)
    for line in SESSIONS.strip().splitlines():
        shell(line + " -p 'good morning'")
