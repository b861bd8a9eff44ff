"""The host's sources of time and randomness: the engine gets both as values."""

from __future__ import annotations

import os
import time

from agentsite.engine.ids import make_id
from agentsite.engine.transcript import tell_time as tell_time


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    return make_id(prefix, os.urandom(16))
