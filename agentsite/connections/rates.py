"""How often a host may be asked: a sliding window per rate and host."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from agentsite.connections.errors import RateLimited

MOST_WINDOWS = 10_000


class Rate(NamedTuple):
    """At most `limit` requests within `seconds`; `name` separates users of one host."""

    name: str
    limit: int
    seconds: float


class Rates:
    """The windows of one process."""

    def __init__(self) -> None:
        self._windows: dict[tuple[Rate, str], deque[float]] = {}

    def take(self, rate: Rate, host: str) -> None:
        """Count a request; raises `RateLimited` when the window is full."""
        now = time.monotonic()
        key = (rate, host)
        window = self._windows.setdefault(key, deque())
        _drop_old(window, now - rate.seconds)
        if len(window) >= rate.limit:
            wait = window[0] + rate.seconds - now
            raise RateLimited(
                f"{host} was asked {rate.limit} times within {rate.seconds:g} seconds; "
                f"ask again in {max(1, round(wait))} s.",
                wait,
            )
        window.append(now)
        if len(self._windows) > MOST_WINDOWS:
            self._forget(now)

    def _forget(self, now: float) -> None:
        for key in list(self._windows):
            _drop_old(self._windows[key], now - key[0].seconds)
            if not self._windows[key]:
                del self._windows[key]


def _drop_old(window: deque[float], before: float) -> None:
    while window and window[0] <= before:
        window.popleft()
