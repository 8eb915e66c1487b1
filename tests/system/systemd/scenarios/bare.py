"""`service install` and `uninstall` from the program alone, twice each, and without systemd."""

# package: none

from __future__ import annotations

import glob
import os
import shutil

from harness.report import Report
from lab import machine
from lab.machine import HOME, RUNTIME, SERVICE, SOCKET, TCP_SOCKET, UNITS, active, systemctl
from lab.session import Session

# A path with characters that units have to quote.
PROGRAM = os.path.join(HOME, "my programs", "100%", "claude-peers")


async def run(report: Report) -> None:
    os.makedirs(os.path.dirname(PROGRAM))
    machine.run("cp", "/binary", PROGRAM)
    without_systemd(report)
    before = tree()
    await installs(report)
    stop_and_start(report)
    uninstalls(report, before)
    odd_path(report, before)
    half_installed(report, before)
    port_masked(report, before)
    beside_the_package(report)


def ours(*arguments: str, **options: str) -> machine.Done:
    return machine.run(PROGRAM, *arguments, **options)


async def installs(report: Report) -> None:
    done = ours("service", "install")
    report.require("service install succeeds", done.ok, done)
    report.check("and says what it did", SOCKET in done.out or "listen" in done.out, done)
    for unit in (SOCKET, TCP_SOCKET):
        report.check("%s is active and enabled" % unit, active(unit) == "active" and systemctl("is-enabled", unit).out.strip() == "enabled", machine.states())
    report.check("the service is inactive", active(SERVICE) == "inactive", machine.states())
    first = tree()
    done = ours("service", "install")
    report.check("the second time succeeds as well", done.ok, done)
    report.check("and changes nothing", tree() == first, (first, tree()))

    documented = [machine.show(unit, "Documentation") for unit in UNITS]
    report.check("no unit names a manual page that is not there", not any(documented), documented)
    session = await Session.start("worker", program=PROGRAM)
    await session.becomes_live(report)
    report.check("systemd runs the broker", active(SERVICE) == "active", machine.states())
    program = os.readlink("/proc/%d/exe" % machine.main_pid())
    report.check("with this program", program == PROGRAM, program)
    pid = machine.main_pid()
    done = ours("service", "install")
    report.check("a third time, while it runs, disturbs no session", done.ok and machine.main_pid() == pid, machine.states())
    done = machine.run("systemd-analyze", "--user", "verify", "--man=no", *(machine.show(u, "FragmentPath") for u in UNITS))
    report.check("systemd-analyze verify finds nothing", done.ok and not done.out + done.err, done)
    await session.end()
    done = ours("service", "status")
    report.check("service status says that it runs", done.ok and "run" in done.out, done)
    await new_login(report)


async def new_login(report: Report) -> None:
    """The next login finds the sockets, as after a restart of the machine."""
    machine.run("sudo", "systemctl", "restart", "user@1000.service")
    states = [active(SOCKET), active(TCP_SOCKET), active(SERVICE)]
    report.check("after the next login the sockets listen", states == ["active", "active", "inactive"], machine.states())
    done = ours("peers")
    report.check("and serve", done.ok and active(SERVICE) == "active", done)


def stop_and_start(report: Report) -> None:
    for _ in range(2):
        done = ours("service", "stop")
        report.check("service stop", done.ok and active(SOCKET) == active(SERVICE) == "inactive", "%s\n%s" % (done, machine.states()))
    done = ours("service", "status")
    report.check("service status says so with 3", done.code == 3, done)
    for _ in range(2):
        done = ours("service", "start")
        report.check("service start", done.ok and active(SOCKET) == "active", "%s\n%s" % (done, machine.states()))
    for _ in range(2):
        done = ours("service", "restart")
        report.check("service restart", done.ok and active(SERVICE) == "active", "%s\n%s" % (done, machine.states()))


def uninstalls(report: Report, before: list[str]) -> None:
    for number in range(2):
        done = ours("service", "uninstall")
        report.check("service uninstall%s" % (", again" if number else ""), done.ok, done)
    report.check("no unit, link or directory is left", tree() == before, (before, tree()))
    listed = systemctl("list-units", "--all", "--plain", "--no-legend", "claude-peers*").out
    report.check("the manager knows no unit of ours", not listed.strip(), listed)
    left = machine.leftovers([RUNTIME + "/*.sock"])
    report.check("no socket is left", not left, left)
    brokers = [line for line in machine.processes(PROGRAM).values() if " broker" in line]
    report.check("no broker is left", not brokers, brokers)
    report.check("the database stays", os.path.getsize(machine.DATABASE) > 0)


def odd_path(report: Report, before: list[str]) -> None:
    """systemd itself starts no program whose path has a quote or a backslash."""
    program = os.path.join(HOME, 'the "new" $HOME\\one', "o'brien=1", "claude-peers")
    os.makedirs(os.path.dirname(program))
    machine.run("cp", "/binary", program)
    done = machine.run(program, "service", "install")
    report.check("service install from a path with quotes and a backslash", done.ok, done)
    done = machine.run(program, "peers")
    started = os.readlink("/proc/%d/exe" % machine.main_pid()) if active(SERVICE) == "active" else ""
    report.check("systemd starts that program", done.ok and started == program, (done, started))
    machine.run(program, "service", "uninstall")
    report.check("and uninstall leaves nothing", tree() == before, tree())


def half_installed(report: Report, before: list[str]) -> None:
    """Unit files that were removed by hand while a broker runs."""
    units = os.path.join(HOME, ".config/systemd/user")
    ours("service", "install")
    ours("peers")
    for unit in UNITS:
        os.remove(os.path.join(units, unit))
    done = ours("service", "uninstall")
    report.check("uninstall removes what is left of it", done.ok and tree() == before, (done, tree()))
    report.check("and ends what runs", active(SOCKET) == active(SERVICE) == "inactive", machine.states())

    os.makedirs(units)
    with open(os.path.join(units, SERVICE), "w", encoding="ascii") as file:
        file.write("[Service]\nExecStart=/bin/true\n")
    done = ours("service", "install")
    report.check("a unit that is not ours is not overwritten", not done.ok and "was not written by" in done.err, done)
    os.remove(os.path.join(units, SERVICE))
    done = machine.run("env", "XDG_CONFIG_HOME=" + HOME + "/elsewhere", PROGRAM, "service", "install")
    report.check("where systemd does not look nothing is written", not done.ok and "XDG_CONFIG_HOME=" in done.err and not os.path.exists(HOME + "/elsewhere"), done)
    shutil.rmtree(os.path.join(HOME, ".config/systemd"), ignore_errors=True)


def port_masked(report: Report, before: list[str]) -> None:
    """A masked port unit means that the broker does not serve the port either."""
    systemctl("mask", TCP_SOCKET)
    done = ours("service", "install")
    report.check("service install respects a masked port", done.ok, done)
    ours("peers")
    listens = machine.run("ss", "--no-header", "--listening", "--tcp", "--numeric").out
    report.check("the broker serves and does not listen on it", active(SERVICE) == "active" and ":7899" not in listens, listens)
    done = ours("doctor", "--no-claude")
    report.check("doctor names it, and how to allow it", "is masked" in done.out and "systemctl --user unmask " + TCP_SOCKET in done.out, done)
    ours("service", "uninstall")
    systemctl("unmask", TCP_SOCKET)
    shutil.rmtree(os.path.join(HOME, ".config/systemd"), ignore_errors=True)
    systemctl("daemon-reload")
    report.check("it is all gone again", tree() == before, tree())


def beside_the_package(report: Report) -> None:
    """An installed package is used, and not changed."""
    before = tree()
    done = machine.install()
    report.check("the package is installed", done.ok and active(SOCKET) == "active", done)
    done = ours("service", "install")
    report.check("service install beside the package succeeds", done.ok, done)
    report.check("its units are in force", machine.show(SERVICE, "FragmentPath").startswith("/usr/lib/systemd"), machine.show(SERVICE, "FragmentPath"))
    report.check("and no copies were written", not [p for p in tree() if "claude-peers" in p and os.path.isfile(os.path.join(HOME, p))], tree())
    done = ours("service", "uninstall")
    report.check("service uninstall leaves the package's units", done.ok and os.path.exists("/usr/lib/systemd/user/" + SERVICE), done)
    report.check("and says what it does not do, in one line", "sudo apt remove" in done.out and max(map(len, done.out.splitlines())) <= 100, done)
    ours("peers")
    done = ours("service", "stop")
    report.check("so does service stop", "stop --help" in done.out and max(map(len, done.out.splitlines())) <= 100, done)
    done = ours("service", "stop", "--help")
    report.check("whose help has the command", "systemctl --user mask --now " + " ".join(UNITS) in done.out, done)
    done = ours("service", "uninstall")
    report.check("and nothing of its own", [p for p in tree() if p not in before] == [] or "masked" not in done.out, (tree(), done))


def without_systemd(report: Report) -> None:
    """A user without a service manager, as in a container: a clear message, and nothing half-done."""
    home = "/home/bystander"
    places = {
        "no manager runs for the user": ["setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "env", "-i"],
        "no systemd at all": [
            "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && mount --bind /dev/null /usr/bin/systemctl && exec "$@"', "sh",
            "setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "env", "-i",
        ],
    }
    for what, prefix in places.items():
        shell = [*prefix, "HOME=" + home, "PATH=/usr/bin:/bin", "/binary"]
        for command in ("install", "install", "start", "restart", "uninstall"):
            done = machine.root(*shell, "service", command, timeout=40)
            clear = "hint: " in done.err and "systemd" in done.err and not done.out
            if command == "uninstall":
                clear = clear or done.ok
            report.check("%s: service %s says so (exit %d)" % (what, command, done.code), clear and (done.code != 0 or command == "uninstall"), done)
        found = machine.root("find", home, "-newer", PROGRAM, "-path", "*systemd*").out
        report.check("%s: nothing was written" % what, not found, found)
        done = machine.root(*shell, "peers", timeout=40)
        report.check("%s: a fallback broker serves" % what, done.ok, done)
        done = machine.root(*shell, "status", timeout=40)
        report.check("%s: status says why" % what, "not used" in done.out or "systemd" in done.out or "manager" in done.out, done)
        machine.root(*shell, "kill-broker", timeout=40)


def tree() -> list[str]:
    """Everything in the user's configuration of systemd."""
    found = glob.glob(".config/systemd/**", root_dir=HOME, recursive=True, include_hidden=True)
    return sorted(found)
