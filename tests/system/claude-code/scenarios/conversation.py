"""Two sessions find each other and talk by tools, and the state that the sender is told is true."""

from __future__ import annotations

from harness.lab import Lab
from harness.pair import connected
from harness.report import Report
from harness.session import Session
from harness.wait import wait_until

QUESTION = "Is the lexer yours? I would touch tokens.rs – größere Änderung."
ANSWER = "Yes, but go ahead; I have pushed."


def run(lab: Lab, check: Report) -> None:
    lab.allow_our_tools()
    lab.register()
    a, b = connected(lab, check)
    peer_a, peer_b = lab.peer_of(a), lab.peer_of(b)
    check.require("they are two live peers", peer_a["id"] != peer_b["id"] and peer_a["live"] and peer_b["live"], (peer_a, peer_b))

    listed = a.call("list_peers", scope="machine")
    check.check("A finds B in its list of peers", peer_b["id"] in listed.text, listed.block)

    sent = a.call("send_message", to_id=peer_b["id"], message=QUESTION)
    check.check("A sends B a message", not sent.is_error, sent.block)
    question = lab.message(QUESTION)
    check.require("it is in the log, from A to B", parties(question) == (peer_a["id"], peer_b["id"]), question)
    check.check("it counts as unread while B has not looked", question["state"] in ("queued", "offered"), question)

    received(lab, check, "B", b, QUESTION)

    replied = b.call("send_message", to_id=peer_a["id"], message=ANSWER, reply_to=question["id"])
    check.check("B replies to it", not replied.is_error, replied.block)
    answer = lab.message(ANSWER)
    check.check("the log ties the reply to the question", answer.get("reply_to") == question["id"], answer)

    received(lab, check, "A", a, ANSWER)

    again = b.call("check_messages")
    check.check("B is not shown the message twice", not again.is_error and QUESTION not in again.text, again.block)

    code = a.close()
    check.check("session A ends with exit code 0", code == 0, code)
    check.check("A's peer leaves with it", wait_until(lambda: not lab.peers_in(a.cwd)), lab.peers())
    check.check("B's peer stays", len(lab.peers_in(b.cwd)) == 1, lab.peers())
    b.kill()
    check.check("B's peer leaves when its client is killed", wait_until(lambda: not lab.peers_in(b.cwd)), lab.peers())


def received(lab: Lab, check: Report, name: str, session: Session, text: str) -> None:
    """The session's model gets the message by its tool, and the sender is told so."""
    result = session.call("check_messages")
    message = lab.message(text)
    check.check("the message stands in the tool result that %s's model gets" % name, text in result.text, result.block)
    check.check("with its id, so that it can be answered", str(message.get("id")) in result.text, result.block)
    wait_until(lambda: lab.message(text)["state"] == "read", timeout=10)
    message = lab.message(text)
    check.check("now it counts as read, by a tool", (message["state"], message["read_via"]) == ("read", "tool"), message)


def parties(message: dict) -> tuple:
    return (message.get("from", {}).get("id"), message.get("to", {}).get("id"))
