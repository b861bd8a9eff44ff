"""Kills the process it runs in, as a fault in a C library would."""

import os
import signal
from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"
