"""`doctor` finds each planted fault, and the command that it prints fixes it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from typing import Any, Callable

from harness.report import Report
from lab import machine
from lab.machine import DATABASE, SERVICE, SOCKET, SOCKET_PATH, TCP_SOCKET, TOKEN, UNITS, active, peers, systemctl

Finding = dict[str, Any]


async def run(report: Report) -> None:
    healthy(report)
    for plant in (
        a_stale_socket,
        a_masked_socket,
        a_masked_port,
        a_masked_service,
        a_service_masked_for_all,
        a_failed_start_limit,
        a_program_on_the_port,
        another_user_on_the_port,
        a_database_of_another_owner,
        an_open_token,
        an_old_service,
        an_old_fallback,
        another_database,
        a_changed_setting,
    ):
        await asyncio.to_thread(plant, report)
        reset(report, plant.__name__)


def doctor(environment: str = "") -> tuple[int, list[Finding]]:
    """Runs doctor. Claude Code is not installed here, so findings about it are left out."""
    done = machine.run("bash", "-c", environment + "claude-peers doctor --json")
    try:
        findings = json.loads(done.out)["findings"]
    except ValueError:
        findings = [{"check": "none", "level": "failure", "finding": str(done)}]
    return done.code, [finding for finding in findings if finding["check"] != "claude"]


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding["level"] != "ok"]


def healthy(report: Report) -> None:
    code, findings = doctor()
    report.check("there is nothing to fix on a healthy machine", not wrong(findings), wrong(findings))
    levels = {finding["level"] for finding in findings}
    report.check("every finding has check, level and words", levels <= {"ok", "warning", "failure"} and all(f["check"] and f["finding"] for f in findings), findings)
    text = machine.run("claude-peers", "doctor")
    # Settings at their defaults are left out of it.
    shown = {words[1] for words in (line.split() for line in text.out.splitlines()) if len(words) > 2}
    checks = {finding["check"].split()[0] for finding in findings} - {"setting"}
    report.check("people can read it", text.code == code and checks <= shown, (checks - shown, text))


def reset(report: Report, plant: str) -> None:
    """Restores the state after a login, so that no fault affects the next one."""
    peers("kill-broker")
    systemctl("stop", *UNITS)
    systemctl("unmask", *UNITS)
    systemctl("reset-failed")
    shutil.rmtree(os.path.join(machine.HOME, ".config"), ignore_errors=True)
    systemctl("daemon-reload")
    systemctl("start", SOCKET, TCP_SOCKET)
    if not peers("peers").ok or active(SERVICE) != "active":
        report.check("%s: the machine is itself again" % plant, False, machine.states())


def fixes(
    report: Report,
    fault: str,
    words: str,
    works: Callable[[], bool] = lambda: active(SERVICE) == "active" and active(SOCKET) == "active",
    environment: str = "",
    check: str = "",
) -> None:
    """The fault is among the findings; after the command of the finding it is not."""

    def is_it(finding: Finding) -> bool:
        text = "%s %s" % (finding["finding"], finding.get("detail", ""))
        return words.lower() in text.lower() and check in ("", finding["check"])

    code, findings = doctor(environment)
    found = [finding for finding in wrong(findings) if is_it(finding)]
    if not report.check("%s is found" % fault, found, json.dumps(wrong(findings), indent=1)):
        return
    failures = any(finding["level"] == "failure" for finding in findings)
    report.check("%s: the exit code tells a failure from a warning (%d)" % (fault, code), (code != 0) >= failures, found)
    command = found[0].get("fix")
    if not report.check("%s: there is a command that fixes it" % fault, command, found):
        return
    # In one shell, because a command may be about its variables.
    done = machine.run("bash", "-c", environment + command + "\nclaude-peers peers >/dev/null")
    code, findings = doctor(environment if "unset" not in command else "")
    left = [finding for finding in wrong(findings) if is_it(finding)]
    report.check("%s: `%s` fixes it" % (fault, command), not left and done.ok, "%s\n%s" % (done, json.dumps(left, indent=1)))
    # Consequences of the fault are fixed by doctor's commands as well: another broker has been
    # started meanwhile, and must be stopped.
    for _ in range(3):
        for finding in wrong(findings):
            machine.run("bash", "-c", environment + (finding.get("fix") or "true"))
        _, findings = doctor(environment if "unset" not in command else "")
    report.check("%s: then nothing is wrong any more" % fault, not wrong(findings), json.dumps(wrong(findings), indent=1))
    report.check("%s: all works again" % fault, works() and peers("peers").ok, machine.states())


def a_stale_socket(report: Report) -> None:
    systemctl("stop", *UNITS)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(SOCKET_PATH)
    fixes(report, "a stale socket file", "stale", check="socket")


def a_masked_socket(report: Report) -> None:
    systemctl("mask", "--now", SOCKET)
    systemctl("stop", SERVICE)
    peers("peers")
    fixes(report, "a masked socket", "masked", check="units")


def a_masked_port(report: Report) -> None:
    systemctl("mask", "--now", TCP_SOCKET)
    systemctl("stop", SERVICE)
    code, findings = doctor()
    named = [finding for finding in findings if finding["check"] == "units" and "is masked" in finding["finding"]]
    report.check("a masked port is what its user chose", code == 0 and [f["level"] for f in named] == ["ok"], findings)
    command = (named[0]["detail"] if named else "").partition(": ")[2]
    report.check("a masked port: the command that opens it is told", machine.run("bash", "-c", command).ok, named)
    peers("peers")
    listens = machine.run("ss", "--no-header", "--listening", "--tcp", "--numeric").out
    report.check("a masked port: it listens again", active(TCP_SOCKET) == "active" and ":7899" in listens, listens)


def a_masked_service(report: Report) -> None:
    systemctl("mask", "--runtime", "--now", SERVICE)
    fixes(report, "a service masked until the next login", "masked", check="units")


def a_service_masked_for_all(report: Report) -> None:
    machine.root("systemctl", "--global", "mask", SERVICE)
    systemctl("daemon-reload")
    systemctl("stop", SERVICE)
    fixes(report, "a service masked by the administrator", "masked", check="units")
    machine.root("systemctl", "--global", "unmask", SERVICE)


def a_failed_start_limit(report: Report) -> None:
    machine.drop_in("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n")
    for _ in range(6):
        systemctl("restart", SERVICE)
    report.check("the start limit was reached", active(SERVICE) == "failed", machine.states())
    fixes(report, "a failed start limit", "limit", check="units")


def listener() -> subprocess.Popen[bytes]:
    """Starts another program on our port."""
    script = (
        "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "s.bind(('127.0.0.1', 7899)); s.listen(); time.sleep(1000)"
    )
    program = subprocess.Popen(["python3", "-c", script])
    end = time.monotonic() + 20
    while ":7899" not in machine.run("ss", "--no-header", "--listening", "--tcp", "--numeric").out and time.monotonic() < end:
        time.sleep(0.05)
    return program


def a_program_on_the_port(report: Report) -> None:
    systemctl("stop", *UNITS)
    program = listener()
    systemctl("start", SOCKET)
    fixes(report, "a foreign process on 7899", str(program.pid), check="port", works=lambda: active(TCP_SOCKET) == "active")
    program.kill()
    program.wait()


def another_user_on_the_port(report: Report) -> None:
    """It cannot be fixed without the other user, but is named, and everything else works."""
    systemctl("stop", *UNITS)
    # With the package the other user's own units take the port.
    machine.root("systemctl", "start", "user@1001.service")
    systemctl("start", SOCKET)
    _, findings = doctor()
    found = [finding for finding in wrong(findings) if finding["check"] == "port"]
    report.check("another user's listener on 7899 is found, with the user's name", found and "bystander" in json.dumps(found), wrong(findings))
    others = [finding for finding in wrong(findings) if finding["check"] != "port" and TCP_SOCKET not in finding["finding"]]
    report.check("and there is no other finding", not others, others)
    machine.root("systemctl", "stop", "user@1001.service")


def a_database_of_another_owner(report: Report) -> None:
    peers("kill-broker")
    systemctl("stop", *UNITS)
    machine.root("chown", "bystander", DATABASE)
    systemctl("start", SOCKET)
    fixes(report, "a database of another owner", "bystander", check="database")
    report.check("the database is the user's again", os.stat(DATABASE).st_uid == os.getuid())


def an_open_token(report: Report) -> None:
    peers("token")
    before = open(TOKEN, encoding="ascii").read()
    os.chmod(TOKEN, 0o644)
    fixes(report, "a token that others can read", "open to others", check="files")
    after = open(TOKEN, encoding="ascii").read()
    report.check("it has another secret now, as others know the old one", after != before and os.stat(TOKEN).st_mode & 0o77 == 0)


def replace_program() -> None:
    """Replaces the program's file, as an upgrade without a restart does."""
    machine.root("cp", "/usr/bin/claude-peers", "/usr/bin/claude-peers.new")
    machine.root("mv", "/usr/bin/claude-peers.new", "/usr/bin/claude-peers")


def an_old_service(report: Report) -> None:
    peers("peers")
    replace_program()
    fixes(report, "an old broker under systemd", "old broker", check="broker")


def an_old_fallback(report: Report) -> None:
    systemctl("mask", "--now", *UNITS)
    peers("peers")
    replace_program()
    systemctl("unmask", *UNITS)
    fixes(report, "an old broker that a client started", "old broker", check="broker")


def another_database(report: Report) -> None:
    fixes(
        report,
        "a client with another database",
        "database",
        environment="export CLAUDE_PEERS_DB=$HOME/other.db\n",
        check="configuration",
    )
    report.check("the broker serves that one", "other.db" in peers("status").out, peers("status"))


def a_changed_setting(report: Report) -> None:
    peers("peers")
    machine.configure("idle_exit_seconds = 777\n[limits]\nmax_unread = 5\n")
    fixes(report, "a setting that was changed since the broker started", "max_unread", check="configuration")
    seconds = (machine.broker().get("health") or {}).get("idle_exit_seconds")
    report.check("the broker goes by the new settings", seconds == 777, seconds)
