"""Who a sandboxed program is: as root, a user of its own that nobody else is."""

from __future__ import annotations

import os
import secrets

FIRST, COUNT = 0x10000000, 0x40000000
"""A range above what systems give to people, services and sub-ids."""


def choose_uid() -> int | None:
    """A uid for one sandbox; None when this process may not change its own."""
    return FIRST + secrets.randbelow(COUNT) if os.geteuid() == 0 else None


def become(uid: int | None) -> list[str]:
    """A prefix for a command line that changes to that user."""
    if uid is None:
        return []
    return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]


def count_own_threads() -> int:
    """Threads that this process's user has already: a limit on processes counts them, too."""
    uid, total = os.getuid(), 0
    for name in os.listdir("/proc"):  # noqa: PTH208 - no Path per process
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:  # noqa: PTH116
                total += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
        except OSError:
            continue
    return total
