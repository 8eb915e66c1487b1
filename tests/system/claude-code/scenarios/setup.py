"""`claude-peers setup claude` registers server, hooks and permission with the client, and undoes it."""

from __future__ import annotations

import json
import os
from typing import Any

from harness.lab import PATH, SERVER, Lab
from harness.pair import connected
from harness.report import Report
from harness.wait import wait_until

SETTINGS = """{
  "permissions": {
      "allow": ["Bash(ls *)"]
  },
  "cleanupPeriodDays":30,
  "hooks": {
    "Stop": [{ "hooks": [{ "type": "command", "command": "touch ~/stopped" }] }]
  }
}
"""
TEXT = "The staging database moves at noon."


def run(lab: Lab, check: Report) -> None:
    put_in_path(lab)
    path = os.path.join(lab.home, ".claude", "settings.json")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as f:
        f.write(SETTINGS)
    # The client updates its own file whenever it runs.
    lab.run_claude("mcp", "list")
    before = read(lab)

    shown = lab.run_peers("setup", "claude", "--dry-run")
    check.check("--dry-run shows the command and changes nothing", "mcp add --scope user" in shown.stdout and read(lab) == before, shown)
    undo_at_once(lab, check, before)

    done = lab.run_peers("setup", "claude", "--yes")
    check.require("setup succeeds", done.returncode == 0, done.stdout + done.stderr)
    after = read(lab)
    listed = lab.run_claude("mcp", "list")
    ours = [line for line in listed.stdout.splitlines() if line.startswith(SERVER + ":")]
    check.check("`claude mcp list` says that we are connected", ours and "✔ Connected" in ours[0], listed.stdout + listed.stderr)
    again = lab.run_peers("setup", "claude", "--yes")
    check.check("a second setup finds all in place", again.returncode == 0 and "is already set up" in again.stdout, again.stdout + again.stderr)
    check.check("and changes nothing", read(lab)[0] == after[0], read(lab)[0])

    works(lab, check)
    lab.end_clients()
    undone = lab.run_peers("setup", "claude", "--undo", "--yes")
    check.check("--undo succeeds", undone.returncode == 0, undone.stdout + undone.stderr)
    settings, state = read(lab)
    check.check("the settings are as they were, byte for byte", settings == before[0], settings)
    state = json.loads(state)
    check.check("the server is gone from the client's own file", not state.get("mcpServers"), state.get("mcpServers"))
    check.check("what the client wrote there meanwhile is kept", state.get("projects") and state != json.loads(before[1]), state)
    listed = lab.run_claude("mcp", "list")
    check.check("`claude mcp list` knows us no more", SERVER not in listed.stdout, listed.stdout)


def undo_at_once(lab: Lab, check: Report, before: tuple[str, str]) -> None:
    """The client does not run in between, so its own file is restored as well."""
    done = lab.run_peers("setup", "claude", "--yes")
    check.require("setup succeeds, and", done.returncode == 0, done.stdout + done.stderr)
    lab.run_peers("setup", "claude", "--undo", "--yes")
    check.check("undone at once, both files are as they were, byte for byte", read(lab) == before, read(lab))


def works(lab: Lab, check: Report) -> None:
    a, b = connected(lab, check)
    told = wait_until(lambda: lab.peer_of(b)["reach"] == "hooks", timeout=10)
    check.check("it is listed as reachable by hooks", told, lab.peer_of(b))
    result = a.call("send_message", to_id=lab.peer_of(b)["id"], message=TEXT)
    check.check("our tools need no confirmation", not result.is_error, result.text)
    b.say("good morning")
    check.check("the hook's text is in a request to the model", wait_until(lambda: lab.api.model_saw(TEXT), timeout=10))
    wait_until(lambda: lab.message(TEXT)["state"] == "read", timeout=10)
    message: dict[str, Any] = lab.message(TEXT)
    check.check("the message counts as read, by a hook", (message["state"], message["read_via"]) == ("read", "hook"), message)
    stopped = os.path.join(lab.home, "stopped")
    check.check("the hook that was there before still runs", wait_until(lambda: os.path.exists(stopped), timeout=10))


def put_in_path(lab: Lab) -> None:
    directory = os.path.join(lab.base, "bin")
    os.makedirs(directory)
    os.symlink(lab.claude, os.path.join(directory, "claude"))
    lab.extra_env["PATH"] = "%s:%s" % (directory, PATH)


def read(lab: Lab) -> tuple[str, str]:
    """The settings, and the client's own file."""

    def text(*parts: str) -> str:
        with open(os.path.join(lab.home, *parts), encoding="utf-8", newline="") as f:
            return f.read()

    return text(".claude", "settings.json"), text(".claude.json")
