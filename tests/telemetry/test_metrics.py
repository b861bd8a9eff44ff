"""Counters of several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentsite.telemetry.metrics import Standing, expose
from tests.requirements import requirement
from tests.telemetry.samples import read, total

WORKER = """
import sys
from agentsite.telemetry.metrics import LIVE_RUNS, RUNS_BEGUN
RUNS_BEGUN.labels("desk").inc()
LIVE_RUNS.inc()
print("counted", flush=True)
sys.stdin.read()
"""


@requirement("ops.metrics")
def test_processes_answer_as_one_and_the_dead_do_not_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "counted\n"
    both = read(expose(Standing([("queued_runs", "waiting", 3)]), str(tmp_path)).decode())
    assert total(both, "agentsite_runs_begun_total", agent="desk") == 2
    assert total(both, "agentsite_live_runs") == 2
    assert both["agentsite_queued_runs", frozenset()] == 3
    workers[0].kill()
    workers[0].communicate()
    one = read(expose(Standing([]), str(tmp_path)).decode())
    assert total(one, "agentsite_live_runs") == 1
    assert total(one, "agentsite_runs_begun_total", agent="desk") == 2
    workers[1].communicate()
