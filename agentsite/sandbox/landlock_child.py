"""The monitor of one program under Landlock; run as a script, with nothing of ours to import.

Law: it outlives all processes of its program. The program's own process confines itself
before it becomes the program; a step that fails ends it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from types import FrameType
from typing import Any, NoReturn

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
HANDLED_FILES = (1 << 16) - 1
"""All rights over files of ABI 5 and later."""
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14
HANDLED_NET, SCOPED = 3, 3
SET_NO_NEW_PRIVS, SET_SECCOMP, FILTER_MODE = 38, 22, 2
SET_SUBREAPER, SET_DEATH_SIGNAL = 36, 1
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
FAILED = 126
libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: Any) -> int:
    """A system call; raises OSError."""
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def control(option: int, *values: Any) -> None:
    if libc.prctl(option, *values, *(0,) * (4 - len(values))) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def restrict(readable: list[str], writable: list[str]) -> None:
    """Nothing but these paths, no TCP, no signals to the outside."""
    rights = struct.pack("QQQ", HANDLED_FILES, HANDLED_NET, SCOPED)
    ruleset = call(CREATE_RULESET, rights, ctypes.c_size_t(len(rights)), 0)
    for paths, wanted in ((readable, EXECUTE | READ_FILE | READ_DIR), (writable, HANDLED_FILES)):
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            allowed = wanted if os.path.isdir(path) else wanted & OF_A_FILE  # noqa: PTH112
            call(ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, fd), 0)
            os.close(fd)
    call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def filter_calls(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    told = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    control(SET_SECCOMP, FILTER_MODE, ctypes.c_char_p(told))


def drop(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def confine(plan: dict[str, Any]) -> None:
    with open(plan["filter"], "rb") as file:  # noqa: PTH123
        program = file.read()
    drop(plan["uid"])
    control(SET_NO_NEW_PRIVS, 1)
    restrict(plan["readable"], plan["writable"])
    filter_calls(program)


def become(plan: dict[str, Any]) -> NoReturn:
    """Confine this process, then be the program."""
    try:
        os.setsid()
        os.chdir(plan["folder"])
        if plan["confined"]:
            confine(plan)
        os.execvpe(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    os._exit(FAILED)


def kill_all(uid: int | None) -> None:
    """End every process of the program, however it got away."""
    if uid is not None:
        killer = os.fork()
        if killer == 0:
            drop(uid)
            try:
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(killer, 0)
    while True:
        for child in list_children():
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:
                continue
        try:
            os.waitpid(-1, 0)  # what lost its parent comes to us, its nearest reaper
        except ChildProcessError:
            return


def list_children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]


def main() -> NoReturn:
    with open(int(sys.argv[1]), "rb") as file:  # noqa: PTH123
        plan = json.load(file)
    control(SET_SUBREAPER, 1)
    control(SET_DEATH_SIGNAL, signal.SIGTERM)

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        kill_all(plan["uid"])
        os._exit(128 + signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        become(plan)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            break
    kill_all(plan["uid"])
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
