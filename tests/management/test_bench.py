"""`manage.py bench`: every figure is measured, and each bar says whether it holds."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentsite.management.bench.fake import STAMP, Stamped
from agentsite.management.bench.figures import Bar, Figures, quantile
from agentsite.management.bench.report import (
    ADMIN,
    BARS,
    FIRST,
    FLAT,
    IDLE,
    MEMORY,
    REAL_TIME,
    SECURITY,
    STORES,
    WEBHOOKS,
    show,
)
from agentsite.management.bench.security import note
from tests.requirements import requirement

ROOT = Path(__file__).resolve().parent.parent.parent


@requirement("automations.webhook-acceptance")
@pytest.mark.timeout(400)
def test_a_tiny_run_measures_everything(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, ROOT / "manage.py", "bench", "--quick", "--streams", "1", "2",
         "--seconds", "0.3", "--documents", "300", "--messages", "200",
         "--made-runs", "100", "--made-events", "1000"],
        env={**kept, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=380,
        check=True,
    )  # fmt: skip
    tables = (FIRST, SECURITY, REAL_TIME, FLAT, MEMORY, IDLE, STORES, WEBHOOKS, ADMIN)
    for table in (*tables, "fsync on", "synchronous_commit on"):
        assert table in ran.stdout
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert not [row for row in rows if "-" in row]
    # Of 60 webhooks 48 are distinct and genuine, and none ran twice, never or forged.
    assert [row[2:4] for row in rows if row[:2] == ["60", "webhooks"]] == [["48", "0"]]
    bars = [row for row in rows if row and row[-1] in {"holds", "MISSES"}]
    # Alone, row-level security, one stream flat out, growth of memory: what a small run can say.
    assert len(bars) == 4
    assert list(tmp_path.iterdir()) == []


def test_bars_are_judged_by_the_median_beside_the_direct_way() -> None:
    figures = Figures()
    for wait in (4.0, 9.0, 5.0):
        figures.add(FIRST, "alone", added_p50=wait, direct_p50=0.5)
    for rate in (30_000.0, 10_000.0, 15_000.0):
        figures.add(FLAT, "1 stream", **{"deltas/s": rate, "direct": 90_000.0})
    told = show(figures)
    first, flat = (line.split() for line in told.splitlines() if line.endswith(("holds", "MISSES")))
    assert first[-8:] == ["≤", "5", "5", "4", "to", "9", "0.50", "holds"]
    assert flat[-8:] == ["≥", "20,000", "15,000", "10,000", "to", "30,000", "90,000", "MISSES"]


@pytest.mark.parametrize(("on", "told"), [(6.4, "holds"), (6.6, "MISSES")])
def test_the_cost_of_row_level_security_is_a_part_of_the_added_time(on: float, told: str) -> None:
    figures = Figures()
    note(figures, {True: [on, on, 90.0], False: [6.0, 6.0, 50.0]}, [0.9, 1.0, 30.0])
    assert figures.values(SECURITY, "on", "added p50") == [pytest.approx(on - 1)]
    assert figures.values(SECURITY, "off", "added p50") == [5.0]
    (line,) = [line for line in show(figures).splitlines() if "costs, percent" in line]
    assert line.split()[-1] == told


def test_a_bar_holds_at_its_limit() -> None:
    assert Bar("t", "r", "c", 5).holds(5)
    assert not Bar("t", "r", "c", 5).holds(math.nan)
    assert Bar("t", "r", "c", 5, at_least=True).holds(5)
    assert {bar.table for bar in BARS} == {
        FIRST,
        SECURITY,
        REAL_TIME,
        FLAT,
        MEMORY,
        IDLE,
        STORES,
        WEBHOOKS,
        ADMIN,
    }


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.95) == 4
    assert math.isnan(quantile([], 0.5))


def test_stamps_replace_the_text_and_nothing_else() -> None:
    frame = b'x {"type":"text_delta","text":"%s"} y' % (b"a" * STAMP)
    stamped = Stamped([frame, frame])
    one, both = stamped[0], stamped[0:2]
    assert len(stamped) == len(both) == 2
    assert len(one) == len(frame)
    assert one.startswith(b'x {"type":"text_delta","text":"')
    assert one.endswith(b'"} y')
    digits, stop = one.split(b'"')[-2][:-1], one.split(b'"')[-2][-1:]
    assert digits.isdigit()
    assert stop == b"."
