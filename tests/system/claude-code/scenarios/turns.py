"""Turns that fail or are interrupted: the session is woken when it is idle, and not before."""

from __future__ import annotations

import time

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.terminal import Terminal
from harness.wait import wait_until
from scenarios.wake import QUIET, hooks, read_via, said, waiters

NEEDS = ["tmux"]
FAILED = "The licence expires tonight."
AFTER = "It was renewed."
INTERRUPTED = "The index is being rebuilt."


def run(lab: Lab, check: Report) -> None:
    lab.register()
    lab.settings(permissions={"allow": ["mcp__" + SERVER, "Bash"]}, hooks=hooks(lab))
    for what, beside in (("a waiting hook", True), ("its inbox", False)):
        # A waiting hook starts with the end of the first turn.
        terminal = lab.terminal("b", "--permission-mode", "default")
        check.require("the client starts, to be woken by " + what, terminal.wait("❯"), terminal.screen())
        peer = lab.peer_of(terminal)["id"]
        if beside:
            terminal.type("good morning")
            check.require("a hook waits", wait_until(lambda: waiters(lab)), terminal.screen())
        interrupted(lab, check, terminal, peer, what)
        failed(lab, check, terminal, peer, what)
        terminal.type("/exit")
        check.require("the session ends", terminal.ended(), terminal.screen())
        check.check("and no hook waits for it", wait_until(lambda: not waiters(lab), timeout=10), waiters(lab))


def interrupted(lab: Lab, check: Report, terminal: Terminal, peer: str, what: str) -> None:
    """Esc while the model thinks, which no hook event reports."""
    text = "%s (%s)" % (INTERRUPTED, what)
    answer = lab.api.hold("think about " + what)
    turns = len(lab.api.conversations())
    terminal.type("think about " + what)
    check.require("the model thinks", wait_until(lambda: len(lab.api.conversations()) > turns), terminal.screen())
    lab.send(peer, text)
    time.sleep(QUIET)
    check.check("while it thinks it is not woken", len(lab.api.conversations()) == turns + 1, terminal.screen())
    turns = len(lab.api.conversations())
    terminal.press("Escape")
    woken = wait_until(lambda: len(lab.api.conversations()) > turns, timeout=20)
    check.check("after Esc it is woken by %s, and soon" % what, woken, terminal.screen())
    answer.set()
    # The client puts the prompt back into the input line.
    terminal.press("C-u")
    check.check("it has the text", wait_until(lambda: read_via(lab, text) == "hook", timeout=10), lab.message(text))
    time.sleep(1)


def failed(lab: Lab, check: Report, terminal: Terminal, peer: str, what: str) -> None:
    """The model cannot be reached when the session is woken."""
    first, second = ("%s (%s)" % (text, what) for text in (FAILED, AFTER))
    turns = len(lab.api.conversations())
    lab.api.fails.set()
    lab.send(peer, first)
    check.require("it is woken, and the turn fails", terminal.wait("made to fail") and len(lab.api.conversations()) > turns, terminal.screen())
    shown = said(lab.api.conversations()[turns])
    check.check("the turn was shown the text", first in shown, shown[-2000:])
    time.sleep(QUIET)
    check.check("that does not count as read", lab.message(first)["state"] == "offered", lab.message(first))
    # The client retries in the same turn.
    check.check("it is left alone for a while", terminal.screen().count("made to fail") == 1, terminal.screen())
    lab.api.fails.clear()
    turns = len(lab.api.conversations())
    a_minute_later(lab)
    lab.send(peer, second)
    check.check("then it is woken again", wait_until(lambda: len(lab.api.conversations()) > turns, timeout=20), terminal.screen())
    both = wait_until(lambda: [read_via(lab, text) for text in (first, second)] == ["hook"] * 2, timeout=10)
    check.check("and has what it was woken for before", both, [lab.message(text) for text in (first, second)])
    time.sleep(1)


def a_minute_later(lab: Lab) -> None:
    """Moves the broker's record of wakes one minute into the past."""
    database = lab.database()
    database.execute("UPDATE peers SET woken_at = woken_at - 60000, last_woken_at = last_woken_at - 60000")
    database.close()
