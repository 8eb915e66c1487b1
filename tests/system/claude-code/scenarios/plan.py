"""In plan mode a session can use all our tools, like any other session."""

from __future__ import annotations

from harness.lab import SERVER, Lab
from harness.report import Report
from harness.wait import wait_until

QUESTION = "Which port does the new service use?"
ANSWER = "It uses 8443."


def run(lab: Lab, check: Report) -> None:
    lab.allow_our_tools()
    lab.register()
    planner, other = lab.session("a", "--permission-mode", "plan"), lab.session("b")
    for session in (planner, other):
        status = session.connect()
        check.require("session %s is connected" % session.cwd[-1], status == "connected", status)
    ids = {session: lab.peer_of(session)["id"] for session in (planner, other)}

    used = planner.call("list_peers")
    check.check("list_peers is called", not used.is_error and ids[other] in used.text, used.block)
    used = planner.call("set_summary", summary="Plans the new service.")
    check.check("set_summary is called", not used.is_error, used.block)
    used = planner.call("send_message", to_id=ids[other], message=QUESTION)
    check.check("send_message is called", not used.is_error and lab.message(QUESTION), used.block)
    read = other.call("check_messages")
    check.check("the other one has the question", QUESTION in read.text, read.block)
    other.call("send_message", to_id=ids[planner], message=ANSWER, reply_to=lab.message(QUESTION)["id"])
    read = planner.call("check_messages")
    check.check("check_messages is called, and gives the answer", not read.is_error and ANSWER in read.text, read.block)
    done = wait_until(lambda: lab.message(ANSWER)["state"] == "read", timeout=10)
    check.check("its sender hears that it was read, by a tool", done and lab.message(ANSWER)["read_via"] == "tool", lab.message(ANSWER))
    edit = lab.api.on("now write it", "Write", {"file_path": planner.cwd + "/x", "content": "y"})
    planner.say("now write it")
    refused = lab.api.tool_result(edit, timeout=5)
    check.check("it plans, and does nothing else", refused is None or refused.is_error, refused and refused.block)
