"""Hooks are disabled before a session and while it runs, and senders are told that they do not reach it."""

from __future__ import annotations

import json
import os
from typing import Any

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until

LOST = "The firewall has a new rule."


def run(lab: Lab, check: Report) -> None:
    on = {"permissions": {"allow": ["mcp__" + SERVER]}, "hooks": lab.hooks()}
    lab.register()
    lab.settings(**on)
    session = lab.session("b")
    status = session.connect()
    check.require("the session is connected", status == "connected", status)
    reached = wait_until(lambda: lab.peer_of(session)["reach"] == "hooks", timeout=10)
    check.check("it is listed as reachable by hooks", reached, lab.peer_of(session))
    session.call("set_summary", summary="Has hooks.")
    session.say("go on")
    check.check("also after a tool call", lab.peer_of(session)["reach"] == "hooks", lab.peer_of(session))

    lab.settings(disableAllHooks=True, **on)
    prompts = iter(range(100))

    def is_off() -> bool:
        """The client reads its settings again from time to time."""
        session.call("set_summary", summary="Has none (%d)." % next(prompts))
        return wait_until(lambda: lab.peer_of(session)["reach"] == "tools", timeout=8)

    check.check("with hooks disabled it is listed as reachable by tools", wait_until(is_off, timeout=40), lab.peer_of(session))
    lab.send(lab.peer_of(session)["id"], LOST)
    session.say("anything new?")
    check.check("and no hook shows the message", not lab.api.model_saw(LOST))
    read = session.call("check_messages")
    check.check("a tool shows it", LOST in read.text, read.block)
    check.check("doctor says what keeps them from running", "disableAllHooks is set in" in found(lab), found(lab))
    session.close()

    session = lab.session("a")
    session.connect()
    check.check("a session that starts with hooks disabled is reachable by tools", lab.peer_of(session)["reach"] == "tools", lab.peer_of(session))
    session.close()
    lab.settings(**on)
    check.check("with hooks enabled again, doctor says so", "our hooks are active" in found(lab), found(lab))
    local = os.path.join(lab.project("a"), ".claude")
    os.makedirs(local, exist_ok=True)
    with open(os.path.join(local, "settings.local.json"), "w", encoding="utf-8") as f:
        json.dump({"disableAllHooks": True}, f)
    session = lab.session("a")
    session.connect()
    session.say("hello")
    check.check("a project's own settings disable them there", lab.peer_of(session)["reach"] == "tools", lab.peer_of(session))


def found(lab: Lab) -> str:
    findings: list[dict[str, Any]] = json.loads(lab.run_peers("doctor", "--no-claude", "--json").stdout)["findings"]
    return next((finding["finding"] for finding in findings if finding["check"] == "hooks"), "")
