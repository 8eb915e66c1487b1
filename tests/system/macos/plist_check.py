#!/usr/bin/env python3
"""plist_check.py FILE PROGRAM HOME - check the property list of our launchd agent.

Checks what launchctl would silently ignore or refuse (well-formedness, doubled, unknown or mistyped
keys, relative or unexpanded paths, socket definitions; the keys are those of launchd.plist(5)), and
that it is the intended agent: PROGRAM's broker, started on demand, its socket below HOME.
"""

import os
import plistlib
import sys
import xml.etree.ElementTree as ElementTree

KEYS = {
    "Label": str, "ProgramArguments": list, "RunAtLoad": bool, "KeepAlive": (bool, dict),
    "Sockets": dict, "EnvironmentVariables": dict, "StandardOutPath": str,
    "StandardErrorPath": str, "WorkingDirectory": str, "ProcessType": str,
    "ThrottleInterval": int, "ExitTimeOut": int, "Umask": int, "LimitLoadToSessionType": str,
}
SOCKET_KEYS = {
    "SockType": str, "SockPassive": bool, "SockNodeName": str, "SockServiceName": str,
    "SockFamily": str, "SockProtocol": str, "SockPathName": str, "SockPathMode": int,
}
VALUES = {
    "ProcessType": ("Background", "Standard", "Adaptive", "Interactive"),
    "LimitLoadToSessionType": ("Aqua", "Background", "LoginWindow", "StandardIO", "System"),
    "SockType": ("stream", "dgram", "seqpacket"),
    "SockFamily": ("IPv4", "IPv6", "IPv4v6"),
    "SockProtocol": ("TCP", "UDP"),
}
PATHS = ("StandardOutPath", "StandardErrorPath", "WorkingDirectory")
SUN_PATH = 103  # bytes of a socket's path on macOS, without the terminating NUL


def doubled(element, where="job"):
    """plistlib keeps the last of two equal keys and says nothing."""
    seen = set()
    for child in element:
        if child.tag == "key":
            if child.text in seen:
                yield f"{where}: {child.text} stands there twice"
            seen.add(child.text)
        yield from doubled(child, where)


def typed(where, table, keys):
    for key, value in table.items():
        want = keys.get(key)
        if want is None:
            yield f"{where}: unknown key {key}"
        elif not isinstance(value, want) or (want is int and isinstance(value, bool)):
            yield f"{where}: {key} has the wrong type {type(value).__name__}"
        elif key in VALUES and value not in VALUES[key]:
            yield f"{where}: {key} cannot be {value}"
        elif want is int and value < 0:
            yield f"{where}: {key} is negative"


def absolute(where, value):
    # launchd expands neither ~ nor $VARIABLES.
    if not value.startswith("/") or "$" in value or "/~" in value or value != os.path.normpath(value):
        yield f"{where}: not an absolute literal path: {value}"


def sound(job):
    """The faults of any job."""
    yield from typed("job", job, KEYS)
    if not job.get("Label"):
        yield "job: no Label"
    arguments = job.get("ProgramArguments", [])
    if not arguments or not all(isinstance(argument, str) for argument in arguments):
        yield "job: ProgramArguments is no list of strings"
    else:
        yield from absolute("ProgramArguments[0]", arguments[0])
    for key in PATHS:
        if isinstance(job.get(key), str):
            yield from absolute(key, job[key])
    for name, value in job.get("EnvironmentVariables", {}).items():
        if not isinstance(value, str):
            yield f"EnvironmentVariables: {name} is no string"
    for name, socket in job.get("Sockets", {}).items():
        where = f"Sockets.{name}"
        yield from typed(where, socket, SOCKET_KEYS)
        unix = "SockPathName" in socket
        if unix and ("SockServiceName" in socket or "SockNodeName" in socket):
            yield f"{where}: both a path and a host or port"
        if not unix and not str(socket.get("SockServiceName", "")).isdecimal():
            yield f"{where}: neither a path nor a port"
        if not unix and socket.get("SockNodeName") not in ("127.0.0.1", "::1"):
            yield f"{where}: would listen beyond this machine"
        if unix:
            yield from absolute(where, socket["SockPathName"])
            if len(socket["SockPathName"].encode()) > SUN_PATH:
                yield f"{where}: the path is longer than sun_path"


def ours(job, program, home):
    """The differences from the intended agent."""
    unix = job.get("Sockets", {}).get("unix", {})
    tcp = job.get("Sockets", {}).get("tcp", {})
    wanted = [
        ("Label", job.get("Label"), "claude-peers"),
        ("ProgramArguments", job.get("ProgramArguments"), [program, "broker"]),
        ("RunAtLoad", job.get("RunAtLoad"), False),
        ("KeepAlive", job.get("KeepAlive"), None),
        ("ProcessType", job.get("ProcessType"), "Interactive"),
        ("Umask", job.get("Umask"), 0o077),
        ("LimitLoadToSessionType", job.get("LimitLoadToSessionType"), "Aqua"),
        # What src/broker/activation/launchd.rs asks for.
        ("names of Sockets", sorted(job.get("Sockets", {})), ["tcp", "unix"]),
        ("SockPathMode", unix.get("SockPathMode"), 0o600),
        ("SockServiceName", tcp.get("SockServiceName"), "7899"),
        ("SockFamily", tcp.get("SockFamily"), "IPv4"),
        ("SockType", [unix.get("SockType"), tcp.get("SockType")], ["stream", "stream"]),
    ]
    for what, is_, should in wanted:
        if is_ != should or type(is_) is not type(should):
            yield f"{what} is {is_!r} and should be {should!r}"
    for what, path in [("SockPathName", unix.get("SockPathName")),
                       ("StandardErrorPath", job.get("StandardErrorPath"))]:
        if not str(path).startswith(f"{home}/"):
            yield f"{what} is {path!r}, which is not below {home}"
    # A client waits 16 s for its answer.
    if not 1 <= job.get("ThrottleInterval", 10) <= 10:
        yield "ThrottleInterval is longer than a client waits"


def main():
    path, program, home = sys.argv[1:]
    with open(path, "rb") as file:
        text = file.read()
    try:
        job = plistlib.loads(text, fmt=plistlib.FMT_XML)
        tree = ElementTree.fromstring(text)
    except Exception as error:  # plistlib raises several unrelated types
        sys.exit(f"{path}: not a property list: {error}")
    found = [*doubled(tree), *sound(job), *ours(job, program, home)]
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
