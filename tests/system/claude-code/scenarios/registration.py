"""The client registers the server as its documentation says, and its health check leaves no trace."""

from __future__ import annotations

import json

from harness.lab import SERVER, Lab
from harness.report import Report


def run(lab: Lab, check: Report) -> None:
    added = lab.register()
    check.require("`claude mcp add` registers the server", added.returncode == 0, added.stdout + added.stderr)

    # The client starts the server, lists its tools, and ends it some 20 ms after `initialized`.
    listed = lab.run_claude("mcp", "list")
    ours = [line for line in listed.stdout.splitlines() if line.startswith(SERVER + ":")]
    check.check("`claude mcp list` says that we are connected", ours and "✔ Connected" in ours[0], listed.stdout + listed.stderr)

    asked = lab.run_peers("peers", "--all", "--json")
    if asked.returncode == 0:
        ghosts = json.loads(asked.stdout)["peers"]
        check.check("its health check became no peer", not ghosts, json.dumps(ghosts, indent=1))
    else:
        # Without a broker no peer can exist.
        check.check("its health check became no peer", not lab.broker_answers(), asked.stdout + asked.stderr)
