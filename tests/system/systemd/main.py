"""Runs one scenario inside the booted system. Started by `run` by way of with-systemd.sh."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
# Reports and waiting are shared with the system test of the client.
sys.path.append(os.path.join(HERE, "..", "claude-code"))

from harness.report import Abandoned, Report  # noqa: E402


def main() -> int:
    name = sys.argv[1]
    module = importlib.import_module("scenarios." + name)
    report = Report(strict=True)
    since = time.monotonic()
    report.scenario(name, module.__doc__)
    try:
        asyncio.run(module.run(report))
    except Abandoned:
        pass
    except Exception:
        report.check("the scenario runs to its end", False, traceback.format_exc())
    status = report.close()
    print("%s took %.0f s" % (name, time.monotonic() - since))
    return status


if __name__ == "__main__":
    sys.exit(main())
