"""Control groups, where they can be written: the kernel bounds memory and processes itself.

Law: an aid, never a condition. A group is made for one sandbox and removed after it.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from agentsite.sandbox.base import Bounds

OWN = Path("/proc/self/cgroup")
MOUNTS = Path("/proc/self/mountinfo")


def make_groups(bounds: Bounds) -> list[Path]:
    """Groups for one sandbox with its bounds set; none where memory cannot be bound."""
    name = f"agentsite-{secrets.token_hex(6)}"
    for make in (_make_v2, _make_v1):
        groups: list[Path] = []
        try:
            make(name, bounds, groups)
        except OSError:
            remove_groups(groups)
            continue
        if groups:
            return groups
    return []


def remove_groups(groups: list[Path]) -> bool:
    """Remove groups whose processes are gone; whether all are."""
    for group in groups:
        with suppress(OSError):
            group.rmdir()
    return not any(group.exists() for group in groups)


def ran_out_of_memory(groups: list[Path]) -> bool:
    """Whether the kernel ended a process of these groups for its memory."""
    for group in groups:
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                for line in (group / name).read_text().splitlines():
                    key, _, value = line.partition(" ")
                    if key in {"oom_kill", "oom_group_kill"} and int(value) > 0:
                        return True
    return False


def enter_command(groups: list[Path]) -> list[str]:
    """A prefix for a command line: the process enters the groups before it becomes another."""
    if not groups:
        return []
    places = range(1, len(groups) + 1)
    lines = " && ".join(f'echo 0 > "${{{place}}}/cgroup.procs"' for place in places)
    script = f'{lines} && shift {len(groups)} && exec "$@"'
    return ["/bin/sh", "-c", script, "enter", *map(str, groups)]


def _make_v2(name: str, bounds: Bounds, groups: list[Path]) -> None:
    parent = _find("cgroup2", "")
    if parent is None:
        return
    if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
    group = parent / name
    group.mkdir()
    groups.append(group)
    (group / "memory.max").write_text(str(bounds.memory))
    with suppress(OSError):  # a kernel without swap has no such file
        (group / "memory.swap.max").write_text("0")
    (group / "pids.max").write_text(str(bounds.processes + 8))


def _make_v1(name: str, bounds: Bounds, groups: list[Path]) -> None:
    parent = _find("cgroup", "memory")
    if parent is None:
        return
    group = parent / name
    group.mkdir()
    groups.append(group)
    (group / "memory.limit_in_bytes").write_text(str(bounds.memory))
    with suppress(OSError):
        (group / "memory.memsw.limit_in_bytes").write_text(str(bounds.memory))
    parent = _find("cgroup", "pids")
    if parent is not None:
        pids = parent / name
        pids.mkdir()
        groups.append(pids)
        (pids / "pids.max").write_text(str(bounds.processes + 8))


def _find(kind: str, controller: str) -> Path | None:
    """The group that this process is in, of a hierarchy that is mounted and may be written."""
    inside = None
    for line in OWN.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and (controller or not controllers):
            inside = path
    for line in MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        found_kind, _, options = after.split(" ", 2)
        if found_kind == kind and (not controller or controller in options.split(",")):
            root, mounted = before.split(" ")[3:5]
            if inside is not None:
                relative = inside.removeprefix(root) if root != "/" else inside
                return Path(mounted) / relative.lstrip("/")
    return None
