"""Without an allow rule the client refuses our tools itself, and does not call the server."""

from __future__ import annotations

from harness.lab import Lab
from harness.report import Report


def run(lab: Lab, check: Report) -> None:
    recording = lab.register_recorded()
    session = lab.session("a", "--permission-mode", "default")
    status = session.connect()
    check.require("the client connects us", status == "connected", status)

    result = session.call("list_peers", scope="machine")
    check.check("the call is refused, in the client's words", result.is_error and "requested permissions" in result.text, result.block)
    check.check("the server was not called", not recording.requests("tools/call"), recording.requests("tools/call"))

    # The rule that our documentation names.
    session.close()
    lab.allow_our_tools()
    session = lab.session("a", "--permission-mode", "default")
    session.connect()
    result = session.call("list_peers", scope="machine")
    check.check("with the rule mcp__claude-peers it goes through", not result.is_error, result.block)
