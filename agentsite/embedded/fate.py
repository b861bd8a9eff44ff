"""Tying a process to its parent's life, which only the kernel can do after a `kill -9`."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(how: signal.Signals, parent: int) -> None:
    """Have the kernel send `how` to this process when its parent `parent` dies.

    The parent may have died before this call: then the process ends at once.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(how))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
