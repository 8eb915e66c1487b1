"""A session that a program runs through an SDK is no one-shot: it is woken, and ends when its program ends it."""

from __future__ import annotations

import time

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until
from scenarios.wake import hooks, read_via, waiters

NEWS = "The schema was changed."
# Longer than a client needs to end.
ENDS = 10.0


def run(lab: Lab, check: Report) -> None:
    lab.register()
    lab.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=hooks(lab))
    for entrypoint in ("sdk-ts", "sdk-py", "sdk-cli"):
        lab.extra_env["CLAUDE_CODE_ENTRYPOINT"] = entrypoint
        text = "%s (%s)" % (NEWS, entrypoint)
        session = lab.session("b")
        status = session.connect()
        check.require("the session is connected: " + entrypoint, status == "connected", status)
        peer = lab.peer_of(session)
        check.check("it is no one-shot session", not peer["one_shot"], peer)
        lab.send(peer["id"], text)
        check.check("it is woken", wait_until(lambda: lab.api.model_saw(text), timeout=20), lab.message(text))
        check.check("the message that it was shown counts as read", wait_until(lambda: read_via(lab, text) == "hook", timeout=10), lab.message(text))
        check.check("no hook waits beside it", not waiters(lab), waiters(lab))
        begun = time.monotonic()
        session.close()
        check.check("it ends as soon as its program ends it", time.monotonic() - begun < ENDS, time.monotonic() - begun)
        wait_until(lambda: not lab.peers_in(session.cwd))
    del lab.extra_env["CLAUDE_CODE_ENTRYPOINT"]
    done = lab.run_claude("-p", "hello")
    check.check("`claude -p` ends with its answer", done.returncode == 0 and done.stdout.strip(), done.stdout + done.stderr)
