"""Starts two connected sessions, with which most scenarios begin."""

from __future__ import annotations

from .lab import Lab
from .report import Report
from .session import Session


def connected(lab: Lab, check: Report, how: str = "") -> tuple[Session, Session]:
    a, b = lab.session("a"), lab.session("b")
    for session in (a, b):
        status = session.connect()
        check.require(("session %s is connected %s" % (session.cwd[-1], how)).rstrip(), status == "connected", status)
    return a, b
