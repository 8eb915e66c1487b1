"""A session has the name that its person gives it, and its shell speaks as the session."""

from __future__ import annotations

import json
import shlex
from typing import Any

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until

NEEDS = ["tmux"]
FROM_THE_SHELL = "The schema is merged; say so when you have pulled it."
ANSWER = "Pulled, and green."


def run(lab: Lab, check: Report) -> None:
    lab.settings(permissions={"allow": ["mcp__" + SERVER, "Bash"]}, hooks=lab.hooks())
    lab.register()
    in_the_client(lab, check)
    in_the_shell(lab, check)


def in_the_client(lab: Lab, check: Report) -> None:
    plain = lab.terminal("b", "--permission-mode", "default")
    check.require("the client starts", plain.wait("❯"), plain.screen())
    check.check("without a title its name comes from its directory", lab.peer_of(plain)["name"] == "b", lab.peers())
    plain.type("good morning")
    check.require("its turn ends", wait_until(lambda: lab.api.conversations()), plain.screen())
    check.check("a title that the client made up is no name", lab.peer_of(plain)["name"] == "b", lab.peers())
    plain.type("/rename Zahlungen & Löhne")
    plain.type("and now?")
    renamed = wait_until(lambda: lab.peer_of(plain)["name"] == "zahlungen-löhne", timeout=20)
    check.check("/rename changes its name with the next hook event", renamed, (lab.peers(), plain.screen()))
    plain.type("/exit")
    check.require("it ends", plain.ended(), plain.screen())


def in_the_shell(lab: Lab, check: Report) -> None:
    a, b = lab.session("a", "--name", "支払い"), lab.session("b")
    check.require("both sessions have our server", (a.connect(), b.connect()) == ("connected", "connected"))
    peer_a, peer_b = lab.peer_of(a), lab.peer_of(b)
    check.check("--name gives it its name from the start", peer_a["name"] == "支払い", peer_a)

    bash(lab, a, "send", peer_b["id"], FROM_THE_SHELL)
    check.require("its shell sends", wait_until(lambda: lab.message(FROM_THE_SHELL)), lab.peers())
    message = lab.message(FROM_THE_SHELL)
    check.check("the sender is the session", message["from"]["id"] == peer_a["id"], message)
    check.check("by its command line", message["from"]["name"] == "支払い (by its command line)", message)
    b.call("send_message", to_id=message["from"]["id"], message=ANSWER, reply_to=message["id"])
    printed = bash(lab, a, "inbox")
    check.check("its inbox is the session's mailbox", ANSWER in printed, printed)
    wait_until(lambda: lab.message(ANSWER)["state"] == "read", timeout=10)
    check.check("and what it printed is read", lab.message(ANSWER)["read_via"] == "cli", lab.message(ANSWER))
    printed = bash(lab, b, "inbox")
    check.check("no other session's shell has it", printed.strip() == "No messages.", printed)
    done = lab.run_peers("inbox")
    check.check("nor has the inbox of the person", done.stdout.strip() == "No messages.", done.stdout)


def bash(lab: Lab, session: Any, *arguments: str) -> str:
    """Runs claude-peers by the session's Bash tool. Returns the output that the model gets."""
    command = shlex.join([lab.peers_binary, *arguments])
    prompt = "please run %s" % json.dumps(command)
    call = lab.api.on(prompt, "Bash", {"command": command, "description": "runs it"})
    session.say(prompt)
    result = lab.api.tool_result(call, timeout=10)
    return result.text if result else ""
