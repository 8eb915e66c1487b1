"""Runs a hook command, and kills it after the broker has offered it the newest message and before it has written it.

    killed.py FLAG -- COMMAND hook EVENT

This is done only if the file FLAG exists, which is removed. Otherwise the command runs as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

PATIENCE = 20.0


def main() -> int:
    flag, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]
    try:
        os.unlink(flag)
    except FileNotFoundError:
        os.execv(command[0], command)
    _, full = os.pipe()
    os.set_blocking(full, False)
    try:
        while True:
            os.write(full, b" " * 512)
    except BlockingIOError:
        pass
    os.set_blocking(full, True)
    child = subprocess.Popen(command, stdout=full)
    end = time.monotonic() + PATIENCE
    while not _offered(command[0]) and time.monotonic() < end:
        time.sleep(0.01)
    child.kill()
    return 128 - child.wait()


def _offered(program: str) -> bool:
    """Whether the newest message has been offered."""
    done = subprocess.run([program, "log", "-n", "1", "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)["state"] == "offered"


if __name__ == "__main__":
    sys.exit(main())
