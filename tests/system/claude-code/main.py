"""Runs the scenarios, each in a laboratory of its own, and sums up. Started by `run`."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import tempfile
import traceback
from types import ModuleType

import scenarios
from harness.lab import Lab
from harness.report import Abandoned, Report

# The order in which a person would meet them. The other scenarios follow by name.
ORDER = ["registration", "setup", "contract", "permission", "conversation", "resume", "terminal"]


def names() -> list[str]:
    """All scenarios in the folder, in the order in which they run."""
    found = [m.name for m in pkgutil.iter_modules(scenarios.__path__)]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def play(name: str, options: argparse.Namespace, work: str, report: Report) -> None:
    """Runs one scenario, and ends all its processes afterwards."""
    module = importlib.import_module("scenarios." + name)
    report.scenario(name, module.__doc__)
    missing = [tool for tool in getattr(module, "NEEDS", []) if shutil.which(tool) is None]
    if missing:
        report.skip(name, "%s is not installed" % ", ".join(missing))
        return
    try:
        with Lab(os.path.join(work, name), options.claude, options.claude_peers) as lab:
            tell(module, lab, report)
            lab.end_clients()
            lab.stop_broker()
            report.check("kill-broker leaves no broker behind", lab.broker_is_gone())
    except Exception:
        report.check("the laboratory closes", False, traceback.format_exc())


def tell(module: ModuleType, lab: Lab, report: Report) -> None:
    """The story itself; an error in it is a failed check, and the next scenario still runs."""
    try:
        module.run(lab, report)
    except Abandoned:
        pass
    except Exception:
        report.check("the scenario runs to its end", False, traceback.format_exc())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claude", required=True, help="binary of the Claude Code client")
    parser.add_argument("--claude-peers", required=True, help="binary under test")
    parser.add_argument("--only", action="append", choices=names(), metavar="SCENARIO", help=", ".join(names()))
    parser.add_argument("--keep", action="store_true", help="keep the work directory")
    options = parser.parse_args()
    options.claude = os.path.abspath(options.claude)
    options.claude_peers = os.path.abspath(options.claude_peers)

    # A test that is terminated still ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Directly under /tmp: a socket's path may have 104 bytes on macOS.
    work = tempfile.mkdtemp(prefix="cps-", dir="/tmp")
    report = Report(strict=os.environ.get("CI") == "true")
    try:
        for name in options.only or names():
            play(name, options, work, report)
    finally:
        if options.keep or report.failed or sys.exc_info()[0]:
            print("\nlogs and traffic: %s" % work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
