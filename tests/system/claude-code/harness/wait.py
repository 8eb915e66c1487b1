"""Waiting for what another process does. Limits are generous: they only end a test that hangs."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")

PATIENCE = 60.0


def wait_until(probe: Callable[[], T], timeout: float = PATIENCE, step: float = 0.05) -> T:
    """Calls `probe` until it gives something true, or time is up; returns its last answer."""
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)
