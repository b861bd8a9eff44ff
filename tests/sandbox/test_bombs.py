"""Programs that multiply something: they end within their bounds and leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsite.sandbox import watchdog
from agentsite.sandbox.base import MIB, Backend, Bounds, Job, Outcome
from agentsite.sandbox.bwrap import Bubblewrap
from agentsite.sandbox.landlock import Landlock
from agentsite.sandbox.process import run
from agentsite.sandbox.unconfined import Unconfined
from tests.requirements import requirement

SMALL = Bounds(
    seconds=1.2,
    memory=64 * MIB,
    processes=40,
    file_size=16 * MIB,
    workspace=16 * MIB,
    kept_output=1000,
    most_output=MIB,
)
BACKENDS: dict[str, Backend] = {
    "bwrap": Bubblewrap(),
    "bwrap without groups": Bubblewrap(use_groups=False),
    "landlock without groups": Landlock(use_groups=False),
}


def ended(*endings: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.ending in endings


def says(text: str) -> Callable[[Outcome], bool]:
    return lambda outcome: text in outcome.stdout.decode()


WAIT = "from select import select\ndef wait(s): select([], [], [], s)\n"
MANY = "import os\nfor _ in range(12):\n    if os.fork() == 0:\n        "
BOMBS: dict[str, tuple[str, Callable[[Outcome], bool]]] = {
    "memory": ("x = bytearray(1 << 30); print('GOT')", lambda o: "GOT" not in o.stdout.decode()),
    "memory of many": (
        f"{MANY}x = bytearray(20 << 20); wait(9)\nwait(9)",
        ended("memory", "timeout"),
    ),
    "shared memory of many": (
        f"{MANY}import mmap; x = mmap.mmap(-1, 20 << 20); x.write(b'x' * (20 << 20)); wait(9)"
        "\nwait(9)",
        ended("memory", "timeout"),
    ),
    "forks": (
        "import os\nn = 0\ntry:\n    while n < 4000:\n        n += 1\n"
        "        if os.fork() == 0: wait(9)\nexcept OSError: print('STOPPED', n < 60)",
        lambda o: "STOPPED True" in o.stdout.decode() or o.ending in ("memory", "timeout"),
    ),
    "threads": (
        "import threading\ne = threading.Event()\ntry:\n"
        "    for n in range(4000): threading.Thread(target=e.wait, daemon=True).start()\n"
        "except RuntimeError: print('STOPPED', n < 60, flush=True)\nimport os; os._exit(0)",
        says("STOPPED True"),
    ),
    "descriptors": (
        "import os\ntry:\n    for n in range(4000): os.open('/dev/null', 0)\n"
        "except OSError: print('STOPPED', n < 300)",
        says("STOPPED True"),
    ),
    "one big file": (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ntry:\n"
        "    open('f', 'wb').write(bytes(17 << 20))\nexcept OSError: print('STOPPED')",
        lambda o: "STOPPED" in o.stdout.decode() or o.ending == "disk",
    ),
    "many files": (
        "try:\n    for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))\n"
        "except OSError: print('STOPPED')\nwait(0.5)",
        lambda o: "STOPPED" in o.stdout.decode() or o.ending == "disk",
    ),
    "other folders": (
        "import os\nfor place in ('/tmp', '/dev/shm', '/run', '/var/tmp', '/dev', '/'):\n"
        "    try:\n        for n in range(40): open(f'{place}/{n}', 'wb').write(bytes(1 << 20))\n"
        "        print('FILLED')\n    except OSError: pass\nprint('THROUGH')",
        lambda o: o.ending == "memory" or o.stdout.decode() == "THROUGH\n",
    ),
    "output": ("while True: print('x' * 1000)", ended("output")),
    "errors": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", ended("output")),
    "time": ("while True: pass", ended("timeout")),
    "deaf to signals": (
        "import signal\nfor n in range(1, 32):\n"
        "    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\nwait(99)",
        ended("timeout"),
    ),
    "runaway": (
        "import os\nfor _ in range(3):\n    if os.fork(): wait(0.1); os._exit(0)\n"
        "    os.setsid()\nwait(99)",
        lambda o: o.code == 0,
    ),
    "stopped children": (
        "import os, signal\nfor _ in range(5):\n    if os.fork() == 0:\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\nprint('LEFT')",
        says("LEFT"),
    ),
}


@requirement("agent.bombs")
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("name", BOMBS)
async def test_nothing_goes_beyond_its_bounds(name: str, backend: Backend, tmp_path: Path) -> None:
    program, as_wanted = BOMBS[name]
    script = tmp_path / "bomb.py"
    script.write_text(WAIT + program)
    before = set(watchdog.descendants(os.getpid()))
    job = Job(["/usr/bin/env", "python3", "/tool/bomb.py"], files={"bomb.py": script}, bounds=SMALL)
    outcome = await run(backend, job)
    assert as_wanted(outcome), outcome
    assert len(outcome.stdout) <= 1000 and len(outcome.stderr) <= 1000
    assert set(watchdog.descendants(os.getpid())) <= before


async def test_what_is_unconfined_ends_with_all_its_processes_too() -> None:
    before = set(watchdog.descendants(os.getpid()))
    program = "(setsid sleep 99 &); (setsid sh -c 'sleep 99; sleep 99' &); sleep 99"
    outcome = await run(Unconfined(), Job(["/bin/sh", "-c", program], bounds=Bounds(seconds=0.5)))
    assert outcome.ending == "timeout"
    assert set(watchdog.descendants(os.getpid())) <= before
