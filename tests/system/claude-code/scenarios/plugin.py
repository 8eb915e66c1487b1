"""Two commands install the plugin with server, hooks, channel and skill, and all of it works."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from harness.lab import PATH, PLUGIN_SERVER, REPOSITORY, SERVER, Lab
from harness.recorder import Recording
from harness.pair import connected
from harness.report import Report
from harness.session import Session
from harness.wait import wait_until

PLUGIN = os.path.join(REPOSITORY, "packaging", "claude-plugin")
NEEDS = ["tmux"]
PUSH = "notifications/claude/channel"
BY_HOOK = "The staging host moves on Monday."
TO_IDLE = "The licence server answers again."
TO_TWO = "There are two servers, and one of them is to push this."


def run(lab: Lab, check: Report) -> None:
    valid(lab, check)
    recording = lab.install_program()
    done = lab.install_plugin()
    check.require("two commands install it from the marketplace file", done.returncode == 0, done.stdout + done.stderr)
    lab.settings(permissions={"allow": ["mcp__plugin_peers_claude-peers"]}, **installed_settings(lab))
    check.check("`claude mcp list` says that its server is connected", servers(lab) == {PLUGIN_SERVER: True}, mcp_list(lab))
    a, b = connected(lab, check, "through the plugin")
    mail(lab, check, a, b)
    skill(lab, check, b)
    for session in (a, b):
        session.close()
    wakes(lab, check)
    ends(lab, check)
    beside_another(lab, check, recording)
    without_the_program(lab, check)


def valid(lab: Lab, check: Report) -> None:
    for what, arguments in (
        ("plugin", [PLUGIN]),
        ("plugin, as its directory wants it", ["--profile", "directory", PLUGIN]),
        ("marketplace", [REPOSITORY]),
    ):
        done = lab.run_claude("plugin", "validate", "--strict", *arguments)
        check.check("`claude plugin validate --strict` passes: " + what, done.returncode == 0, done.stdout + done.stderr)


def mail(lab: Lab, check: Report, a: Session, b: Session) -> None:
    peer_b = lab.peer_of(b)
    told = wait_until(lambda: lab.peer_of(b)["reach"] == "hooks", timeout=10)
    check.check("the session is listed as reachable by hooks", told, lab.peer_of(b))
    sent = a.call("send_message", to_id=peer_b["id"], message=BY_HOOK)
    check.check("a tool works under the plugin's name for it", not sent.is_error, sent.block)
    b.say("good morning")
    check.check("mail is in the request to the model, with the prompt", lab.api.model_saw(BY_HOOK))
    wait_until(lambda: lab.message(BY_HOOK)["state"] == "read", timeout=10)
    message = lab.message(BY_HOOK)
    check.check("it counts as read, by a hook", (message["state"], message["read_via"]) == ("read", "hook"), message)


def skill(lab: Lab, check: Report, session: Session) -> None:
    call = lab.api.on("use the skill", "Skill", {"skill": "peers:peers"})
    session.say("use the skill")
    loaded = lab.api.tool_result(call, timeout=5)
    check.check("the model can load the skill", loaded and not loaded.is_error, loaded)
    check.check("and reads it", lab.api.model_saw("# Talking with peers"))


def wakes(lab: Lab, check: Report) -> None:
    """An idle session in a terminal gets its mail by the plugin's waiting hook."""
    terminal = lab.terminal("b")
    check.require("a session in a terminal starts", terminal.wait("❯"), terminal.screen())
    peer = lab.peer_of(terminal)
    terminal.type("good evening")
    waits = wait_until(lambda: lab.processes("hook", "Stop", "--wait"))
    check.check("after its turn a hook waits beside it", len(waits) == 1, waits)
    lab.run_peers("send", peer["id"], TO_IDLE)
    check.check("mail wakes it", wait_until(lambda: lab.api.model_saw(TO_IDLE), timeout=20), terminal.screen())
    terminal.type("/exit")
    check.check("the session ends", terminal.ended(), terminal.screen())


def ends(lab: Lab, check: Report) -> None:
    """`claude -p` ends with its answer."""
    for what, arguments in (("without", ["--settings", json.dumps({"enabledPlugins": {"peers@claude-peers": False}})]), ("with", [])):
        done = lab.run_claude("-p", "hello", *arguments)
        check.check("`claude -p` ends, %s the plugin" % what, done.returncode == 0 and done.stdout.strip(), done.stdout + done.stderr)
    gone = wait_until(lambda: not lab.processes("hook") and not lab.processes("mcp"), timeout=10)
    check.check("and nothing of the plugin survives it", gone, (lab.processes("hook"), lab.processes("mcp")))


def beside_another(lab: Lab, check: Report, recording: Recording) -> None:
    """After an earlier `claude mcp add` the client has our server twice."""
    lab.run_claude("mcp", "add", "--scope", "user", "--transport", "stdio", SERVER, "--", "claude-peers", "mcp")
    check.check("the same command is one server", servers(lab) == {SERVER: True}, mcp_list(lab))
    lab.run_claude("mcp", "remove", "--scope", "user", SERVER)

    other = lab.register_recorded()
    check.check("another command makes it two", servers(lab) == {SERVER: True, PLUGIN_SERVER: True}, mcp_list(lab))
    for each in (recording, other):
        each.clear()
    # The client has no channel here, so the test looks at what is written to the client.
    lab.extra_env["CLAUDE_PEERS_CHANNEL"] = "on"
    session = lab.session("a")
    session.connect()
    both = wait_until(lambda: recording.requests("tools/list") and other.requests("tools/list"))
    check.require("both servers run in the session", both, (recording.events(), other.events()))
    peer = lab.peer_of(session)
    check.check("and are one peer", peer["live"], lab.peers())
    sent = lab.run_peers("send", peer["id"], TO_TWO)
    check.require("it is sent a message", sent.returncode == 0, sent.stdout + sent.stderr)
    wait_until(lambda: pushes(recording) + pushes(other), timeout=10)
    session.say("hello")
    both_pushes = [pushes(recording), pushes(other)]
    check.check("one of the two pushes it, once", sorted(map(len, both_pushes)) == [0, 1], both_pushes)
    session.close()
    lab.run_claude("mcp", "remove", "--scope", "user", SERVER)


def without_the_program(lab: Lab, check: Report) -> None:
    """The person is told once, and no prompt fails. The client remembers the failure for a while, so this is last."""
    del lab.extra_env["PATH"]
    if shutil.which("claude-peers", path=PATH):
        check.skip("a plugin without its program", "claude-peers is installed on this machine")
        return
    check.check("without the program the client lists its server as not connected", servers(lab) == {PLUGIN_SERVER: False}, mcp_list(lab))
    session = lab.session("b")
    session.say("hello")
    outputs = [e["stdout"] for e in session.events("hook_response") if e.get("stdout")]
    told = [json.loads(output).get("systemMessage", "") for output in outputs]
    check.check("the session's start says what is missing, once", len(told) == 1 and "claude-peers in PATH" in told[0], outputs)
    failed = lab.debug_lines(r"claude-peers: not found|[Hh]ooks?:? .*finished with status [^0]")
    check.check("no hook fails", not failed, failed)
    session.close()


def pushes(recording: Recording) -> list[dict[str, Any]]:
    sent = [e["message"] for e in recording.events("out") if e.get("message", {}).get("method") == PUSH]
    return [message["params"] for message in sent if message["params"]["content"] == TO_TWO]


def installed_settings(lab: Lab) -> dict[str, Any]:
    """What `claude plugin install` wrote, which `Lab.settings` would replace."""
    with open(os.path.join(lab.home, ".claude", "settings.json"), encoding="utf-8") as f:
        return json.load(f)


def mcp_list(lab: Lab) -> str:
    done = lab.run_claude("mcp", "list")
    return done.stdout + done.stderr


def servers(lab: Lab) -> dict[str, bool]:
    """The servers that the client lists, and whether it reaches them."""
    lines = [line for line in mcp_list(lab).splitlines() if " - " in line]
    return {line.split(": ")[0]: "✔ Connected" in line for line in lines}
