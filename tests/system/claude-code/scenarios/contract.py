"""What the client demands of an MCP server, by the recorded traffic."""

from __future__ import annotations

import json
from typing import Any

from harness.lab import Lab
from harness.recorder import Recording
from harness.report import Report
from harness.session import Session
from harness.wait import wait_until

# The oldest client that has channels cuts instructions and descriptions here.
TEXT_LIMIT = 2048
# Without an answer the client waits 3 s before it goes on.
AT_ONCE = 1.0
# A server that needs more than the client's 100 ms fails every time; on a busy machine it fails sometimes.
SHUTDOWNS = 3


def run(lab: Lab, check: Report) -> None:
    lab.allow_our_tools()
    recording = lab.register_recorded()
    session = lab.session("a")
    status = session.connect()
    check.require("the client connects us", status == "connected", status)

    handshake(recording, check)
    tools(recording, check)
    in_the_models_context(lab, session, recording, check)
    noise = [e["line"] for e in recording.events("out") if "line" in e]
    check.check("stdout carries JSON messages only", not noise, noise)
    check.check("one server process served the session", len(recording.events("start")) == 1, recording.events("start"))

    session.close()
    ends_on_sigint(lab, recording, check)
    ends_with_its_client(lab, recording, check)


def handshake(recording: Recording, check: Report) -> None:
    probes = recording.requests("server/discover")
    check.check("the client asks server/discover first", probes and probes[0] == recording.events("in")[0])
    for probe in probes[:1]:
        answer = recording.answer(probe)
        # A result would make the connection "modern", and that has no channel.
        check.check("server/discover is answered by an error", answer and "error" in answer["message"], answer)
        check.check("and at once", answer and answer["t"] - probe["t"] < AT_ONCE, (probe, answer))

    answer = recording.result("initialize")
    capabilities = answer.get("capabilities", {})
    experimental = capabilities.get("experimental", {})
    check.check("it declares tools", "tools" in capabilities, capabilities)
    check.check("it declares the channel", "claude/channel" in experimental, capabilities)
    check.check("it cannot approve permissions", "claude/channel/permission" not in experimental, capabilities)
    length = len(answer.get("instructions", ""))
    check.check("instructions have 1 to %d characters" % TEXT_LIMIT, 1 <= length <= TEXT_LIMIT, length)


def tools(recording: Recording, check: Report) -> None:
    listed: list[dict[str, Any]] = recording.result("tools/list").get("tools", [])
    names = sorted(tool["name"] for tool in listed)
    check.check("it has four tools", names == ["check_messages", "list_peers", "send_message", "set_summary"], names)
    too_long = {t["name"]: len(t.get("description", "")) for t in listed if len(t.get("description", "")) > TEXT_LIMIT}
    check.check("each description is within %d characters" % TEXT_LIMIT, not too_long, too_long)
    odd = [t for t in listed if t["inputSchema"].get("type") != "object" or {"anyOf", "oneOf", "allOf"} & set(t["inputSchema"])]
    check.check("each schema is an object without a combinator at its root", not odd, odd)


def in_the_models_context(lab: Lab, session: Session, recording: Recording, check: Report) -> None:
    instructions = recording.result("initialize").get("instructions", "")
    check.check("the model has read our instructions to the end", instructions and lab.api.model_saw(instructions.strip()))
    result = session.call("list_peers", scope="machine")
    check.check("a tool's result reaches the model", not result.is_error and result.text, result.block)
    # The client shows the structured content instead of the text, so it must contain everything.
    seen = parsed(result.text)
    check.check("and begins with the session itself", list(seen)[:1] == ["me"] and seen["me"]["id"], result.block)


def ends_on_sigint(lab: Lab, recording: Recording, check: Report) -> None:
    """The client ends a server by SIGINT, then SIGTERM after 100 ms, then SIGKILL."""
    seen = []
    for attempt in range(SHUTDOWNS):
        if attempt:
            recording.clear()
            session = lab.session("a")
            session.connect()
            session.close()
        wait_until(lambda: recording.events("exit"), timeout=10)
        seen.append([(e["kind"], e.get("name"), e["t"]) for e in recording.events("signal", "eof", "exit")])
        if [step[:2] for step in seen[-1]] == [("signal", "SIGINT"), ("exit", None)]:
            break
    else:
        check.check("it ends on SIGINT, before SIGTERM follows 100 ms later", False, "\n".join(map(str, seen)))
        return
    check.check("it ends on SIGINT, before SIGTERM follows 100 ms later", True)


def ends_with_its_client(lab: Lab, recording: Recording, check: Report) -> None:
    recording.clear()
    session = lab.session("a")
    session.connect()
    session.kill()
    ended = wait_until(lambda: recording.events("exit"), timeout=10)
    check.check("it ends with its standard input, when the client is killed", ended, recording.events()[-3:])


def parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
