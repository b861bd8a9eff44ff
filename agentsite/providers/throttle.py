"""One brake per key: a vendor's 429 slows every call of that key in this process.

After a refusal nobody asks before the vendor's time is up, and then one by one, further
apart after each new refusal and closer together after each answer. In step with nothing else.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_FIRST_GAP = 0.25
_WIDEST_GAP = 8.0
_MOST_KEYS = 1024
_DEFAULT_PAUSE = 1.0


class _Brake:
    __slots__ = ("gap", "next_start")

    def __init__(self) -> None:
        self.gap = 0.0
        self.next_start = 0.0


class Throttle:
    """Seconds between calls of a key; all methods are synchronous and take no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._brakes: OrderedDict[str, _Brake] = OrderedDict()

    def wait(self, key: str) -> float:
        """Return the seconds before a call of this key may start; 0 when nothing is wrong."""
        brake = self._brakes.get(key)
        return max(0.0, brake.next_start - self._clock()) if brake is not None else 0.0

    def start(self, key: str) -> float:
        """Take the next place in line and return the seconds until it comes."""
        brake = self._brakes.get(key)
        if brake is None:
            return 0.0
        now = self._clock()
        place = max(now, brake.next_start)
        brake.next_start = place + brake.gap
        return place - now

    def slow(self, key: str, retry_after: float | None) -> None:
        """Note a 429: pause for what the vendor asks, and widen the gap between calls."""
        brake = self._brakes.setdefault(key, _Brake())
        self._brakes.move_to_end(key)
        brake.gap = min(_WIDEST_GAP, brake.gap * 2 or _FIRST_GAP)
        pause = _DEFAULT_PAUSE if retry_after is None else retry_after
        brake.next_start = max(brake.next_start, self._clock() + pause)
        while len(self._brakes) > _MOST_KEYS:
            self._brakes.popitem(last=False)

    def ease(self, key: str) -> None:
        """Note an answer: halve the gap, and forget the key once it is negligible."""
        brake = self._brakes.get(key)
        if brake is None:
            return
        brake.gap /= 2
        if brake.gap < _FIRST_GAP / 4 and brake.next_start <= self._clock():
            self._brakes.pop(key, None)


PROCESS = Throttle()
"""The brakes of this process; keys are `limit_key`s of models."""
