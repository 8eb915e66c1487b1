"""A session that is resumed is the same peer, and its mail has waited for it."""

from __future__ import annotations

from harness.lab import Lab
from harness.report import Report
from harness.wait import wait_until

TEXT = "The release is tagged; the notes are yours."


def run(lab: Lab, check: Report) -> None:
    lab.allow_our_tools()
    lab.register()
    a, b = lab.session("a"), lab.session("b")
    a.connect()
    b.connect()
    before = lab.peer_of(a)
    sent = b.call("send_message", to_id=before["id"], message=TEXT)
    check.require("mail is sent to A", not sent.is_error, sent.block)

    a.close()
    check.require("A ends without reading it", wait_until(lambda: not lab.peers_in(a.cwd)), lab.peers())

    resumed = lab.session("a", "--resume", a.id)
    status = resumed.connect()
    check.require("A is resumed", status == "connected" and resumed.id == a.id, (status, resumed.id, a.id))
    after = lab.peer_of(resumed)
    check.check("it is the same peer", (after["id"], after["name"]) == (before["id"], before["name"]), (before, after))
    result = resumed.call("check_messages")
    check.check("its mail has waited", TEXT in result.text, result.block)
