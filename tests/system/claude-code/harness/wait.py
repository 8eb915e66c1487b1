"""Waits for other processes. The timeouts are generous: they only end a test that hangs."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")

PATIENCE = 60.0


def wait_until(probe: Callable[[], T], timeout: float = PATIENCE, step: float = 0.05) -> T:
    """Calls `probe` until it returns something true or the timeout ends. Returns its last result."""
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)
