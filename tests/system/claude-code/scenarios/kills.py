"""SIGKILL between offer and evidence: no mail is lost, and it is shown at most once more, with the same id."""

from __future__ import annotations

import os
import signal
from typing import Any

from harness.api import strings
from harness.lab import SERVER, Lab
from harness.report import Report
from harness.session import Session
from harness.wait import wait_until


def run(lab: Lab, check: Report) -> None:
    flag = os.path.join(lab.base, "kill-the-next-hook")
    lab.settings(permissions={"allow": ["mcp__" + SERVER]}, hooks=lab.killed_hooks(flag))
    lab.register()
    session = lab.session("b")
    status = session.connect()
    check.require("the session is connected", status == "connected", status)

    hook(lab, check, session, flag)
    server(lab, check, session)
    broker(lab, check, session)
    client(lab, check, session)


def hook(lab: Lab, check: Report, session: Session, flag: str) -> None:
    text = "Mail for a hook that is killed."
    lab.send(lab.peer_of(session)["id"], text)
    open(flag, "w").close()
    end = session.say("good morning")
    check.check("a killed hook does not stop the turn", end["subtype"] == "success", end)
    check.check("its mail did not reach the model, and does not count as read", not shown(lab, text) and state(lab, text) == "offered", lab.message(text))
    session.say("go on")
    settled(lab, check, session, text, times=1)


def server(lab: Lab, check: Report, session: Session) -> None:
    text = "Mail that is shown while the server is killed."
    turn, answer = thinks(lab, check, session, text, "a first task")
    for pid in lab.processes("mcp"):
        os.kill(pid, signal.SIGKILL)
    answer.set()
    turn.result()
    settled(lab, check, session, text, times=1)


def broker(lab: Lab, check: Report, session: Session) -> None:
    # The client does not restart the server that was killed, so another session is used.
    session.close()
    session = lab.session("a")
    session.connect()
    text = "Mail that is shown while the broker is killed."
    turn, answer = thinks(lab, check, session, text, "a second task")
    before = lab.processes("broker")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    back = wait_until(lambda: (now := lab.processes("broker")) and not set(now) & set(before))
    check.check("the broker is killed, and comes back", before and back, (before, lab.processes("broker")))
    wait_until(lambda: lab.peers_in(session.cwd))
    answer.set()
    turn.result()
    settled(lab, check, session, text, times=1)
    session.close()


def client(lab: Lab, check: Report, before: Session) -> None:
    session = lab.session("b", "--resume", before.id)
    session.connect()
    me = lab.peer_of(session)
    text = "Mail that is shown while the client is killed."
    thinks(lab, check, session, text, "a third task")
    session.kill()
    check.check("the client is killed, and its peer is away", wait_until(lambda: not lab.peers_in(session.cwd)), lab.peers())
    check.check("nothing counts as read", state(lab, text) == "offered", lab.message(text))
    resumed = lab.session("b", "--resume", before.id)
    resumed.connect()
    check.check("the resumed session is the same peer", lab.peer_of(resumed)["id"] == me["id"], lab.peers())
    resumed.say("where were we?")
    settled(lab, check, resumed, text, times=2)


def thinks(lab: Lab, check: Report, session: Session, text: str, prompt: str) -> tuple[Any, Any]:
    """Shows the session mail with this prompt, and delays the model. Returns the turn, and the event that ends the delay."""
    lab.send(lab.peer_of(session)["id"], text)
    answer = lab.api.hold(prompt)
    turn = session.begin(prompt)
    check.require("mail is shown, and the model thinks", wait_until(lambda: shown(lab, text)), lab.message(text))
    return turn, answer


def settled(lab: Lab, check: Report, session: Session, text: str, times: int) -> None:
    """Checks that the mail is read in the end, was shown so often, always under its id, and is not shown again."""
    done = wait_until(lambda: state(lab, text) == "read", timeout=10)
    check.check("it is read by a hook in the end", done and lab.message(text)["read_via"] == "hook", lab.message(text))
    session.say("anything else?")
    found = shown(lab, text)
    check.check("it was shown %s" % ("once" if times == 1 else "twice"), len(found) == times, found)
    check.check("always under its id", all(lab.message(text)["id"] in s for s in found), found)
    check.check("and again as a repeat", all("a repeat" in s for s in found[1:]), found)


def shown(lab: Lab, text: str) -> list[str]:
    """The hooks' contexts with this text that reached the model, each once: a request repeats its conversation."""
    every = (s for body in lab.api.conversations() for s in strings(body))
    return list(dict.fromkeys(s for s in every if "hook additional context" in s and text in s))


def state(lab: Lab, text: str) -> str:
    return lab.message(text)["state"]
