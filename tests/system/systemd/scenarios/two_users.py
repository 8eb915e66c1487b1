"""Two users at once: one has the port, both have a broker, and neither reaches the other's."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket

from harness.report import Report
from lab import machine
from lab.machine import PORT, SERVICE, SOCKET, TCP_SOCKET, active, bystander, peers, until
from lab.session import Session

OTHER_SOCKET = "/run/user/1001/claude-peers/broker.sock"


async def run(report: Report) -> None:
    report.require("the first user has the port", active(TCP_SOCKET) == "active", machine.states())
    machine.root("loginctl", "enable-linger", "bystander")
    machine.root("systemctl", "start", "user@1001.service")
    second_without_port(report)
    await both_work(report)
    by_the_socket(report)
    by_the_port(report)
    by_the_files(report)
    await the_port_changes_hands(report)


def second(*arguments: str) -> machine.Done:
    return bystander("systemctl", "--user", *arguments)


def second_without_port(report: Report) -> None:
    done = second("show", "--value", "--property=ActiveState", SOCKET)
    report.check("the second user's Unix socket listens", done.out.strip() == "active", done)
    done = second("show", "--value", "--property=ActiveState", TCP_SOCKET)
    report.check("the second user's TCP unit failed", done.out.strip() == "failed", done)
    done = second("status", "--no-pager", TCP_SOCKET)
    report.check("and says why", "Address already in use" in done.out, done)
    done = bystander("claude-peers", "peers")
    report.check("the broker starts all the same", done.ok, done)
    done = second("show", "--value", "--property=ActiveState", SERVICE)
    report.check("by way of systemd", done.out.strip() == "active", done)
    done = bystander("claude-peers", "status")
    report.check("`status` says that the port is not served", "7899 is not open" in done.out and "in use" in done.out, done)
    done = second("show", "--value", "--property=StatusText", SERVICE)
    report.check("so does STATUS", "no TCP" in done.out, done)
    done = bystander("claude-peers", "doctor", "--json")
    found = [finding for finding in findings(done) if finding["check"] == "port" and finding["level"] != "ok"]
    report.check("`doctor` names the owner of the port", any("tester" in json.dumps(finding) for finding in found), done)


def findings(done: machine.Done) -> list[dict]:
    try:
        return json.loads(done.out)["findings"]
    except ValueError:
        return []


async def both_work(report: Report) -> None:
    """Each user's mail stays among that user's sessions, although the names are the same."""
    mine = await Session.start("same-name", channel="off")
    await mine.me()
    script = (
        "mkdir -p ~/projects/same-name; cd ~/projects/same-name\n"
        '(echo \'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
        '"capabilities":{},"clientInfo":{"name":"other","version":"1"}}}\'\n'
        'echo \'{"jsonrpc":"2.0","method":"notifications/initialized"}\'; sleep 3) | claude-peers mcp &\n'
        "sleep 2; claude-peers send same-name 'between us' && claude-peers peers; wait"
    )
    done = await asyncio.to_thread(bystander, "bash", "-c", script)
    report.check("the second user's sessions reach each other", "same-name" in done.out and done.ok, done)
    shown = await mine.call("check_messages")
    report.check("the first user's session of that name gets nothing", shown["messages"] == [], shown)
    done = peers("send", "same-name", "mine")
    report.check("the first user's mail goes its own way", done.ok, done)
    shown = await mine.call("check_messages")
    report.check("to the first user's session", [m["text"] for m in shown["messages"]] == ["mine"], shown)
    listed = peers("peers", "--all", "--json").out
    report.check("no session of the second user is listed", "/home/bystander" not in listed, listed)
    await mine.end()


def by_the_socket(report: Report) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(OTHER_SOCKET)
        report.check("the first user cannot connect to the second's socket", False)
    except PermissionError:
        report.check("the first user cannot connect to the second's socket", True)
    script = "import socket; socket.socket(socket.AF_UNIX).connect(%r)" % machine.SOCKET_PATH
    done = bystander("python3", "-c", script)
    report.check("the second user cannot connect to the first's socket", "PermissionError" in done.err, done)
    # Even where the directories are open, the broker checks the user of each caller.
    machine.run("chmod", "711", machine.RUNTIME)
    machine.root("chmod", "711", "/run/user/1000")
    machine.run("chmod", "666", machine.SOCKET_PATH)
    ask = (
        "import http.client, socket; c = http.client.HTTPConnection('localhost', timeout=5)\n"
        "c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(%r)\n"
        "c.request('GET', '/v1/peers'); r = c.getresponse(); print(r.status, r.read())" % machine.SOCKET_PATH
    )
    done = bystander("python3", "-c", ask)
    report.check("an open path does not help: the broker refuses another user", not done.out.startswith("200"), done)
    done = bystander("env", "CLAUDE_PEERS_SOCKET=" + machine.SOCKET_PATH, "claude-peers", "peers", timeout=40)
    report.check("nor does naming it in the environment", not done.ok and "tester" not in done.out, done)
    machine.run("chmod", "600", machine.SOCKET_PATH)
    machine.run("chmod", "700", machine.RUNTIME)
    machine.root("chmod", "700", "/run/user/1000")
    report.check("the first user is served as before", peers("peers").ok)


def by_the_port(report: Report) -> None:
    """The port is the first user's."""
    report.check("without a token it refuses", tcp("/v1/peers") == 401, tcp("/v1/peers"))
    report.check("a health check is open", tcp("/health") == 200)
    mine = peers("token")
    report.check("`token` gives the first user the secret", mine.ok and tcp("/v1/peers", mine.out.strip()) == 200, mine)
    done = bystander("claude-peers", "token")
    report.check("`token` gives the second nothing, and says why", not done.ok and not done.out.strip() and "7899" in done.err, done)
    token = machine.root("cat", "/home/bystander/.local/state/claude-peers/token").out.strip()
    report.check("the second's own token is refused", token and tcp("/v1/peers", token) == 401)
    done = bystander("cat", machine.TOKEN)
    report.check("the second cannot read the first's token", not done.ok, done)


def by_the_files(report: Report) -> None:
    script = 'find ~/.claude-peers.db* ~/.local/state/claude-peers -perm /077'
    report.check("no file or directory of the first is open to others", not machine.run("bash", "-c", script).out)
    done = bystander("bash", "-c", script)
    report.check("none of the second's either", done.ok and not done.out, done)


async def the_port_changes_hands(report: Report) -> None:
    """Once the first user gives the port up, the second has it from the next start on."""
    machine.systemctl("stop", *machine.UNITS)
    done = second("restart", SERVICE)
    report.check("the second's service restarts", done.ok, done)
    done = second("show", "--value", "--property=ActiveState", TCP_SOCKET)
    report.check("its TCP unit has the port now that it is free", done.out.strip() == "active", done)
    token = ""

    def ours() -> bool:
        nonlocal token
        token = bystander("claude-peers", "token").out.strip()
        return bool(token)

    await until(report, "`token` gives the second user the secret now", ours, lambda: bystander("claude-peers", "token"), 15)
    report.check("and it opens the port", tcp("/v1/peers", token) == 200, tcp("/v1/peers", token))


def tcp(path: str, token: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": "Bearer " + token} if token else {})
        return connection.getresponse().status
    except OSError as error:
        return error.errno or -1
    finally:
        connection.close()
