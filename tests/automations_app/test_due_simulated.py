"""Three schedulers on one database under a simulated clock; leaders die, messages get lost."""

from __future__ import annotations

import datetime as dt
import heapq
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from zoneinfo import ZoneInfo

import pytest
import time_machine
from celery import Celery
from django.db import connections

from agentsite.celery import ENTRIES
from agentsite.jobs.scheduler import LeaderScheduler
from automations_app.clock import FIRE, arm
from automations_app.due import LATE_SECONDS, claim_due, find_due
from automations_app.models import Automation, AutomationRun, Occurrence
from tests.automations_app.zones import FIRST, LAST, MINUTE, ZONES, Fits, expected, read_clock
from tests.requirements import requirement

SWEEP = "Automations: whatever is due"
SCHEDULERS = 3
KILLED, LOST, DOUBLED = 0.25, 0.15, 0.2
TYPICAL_DOWN, LONGEST_DOWN = dt.timedelta(minutes=40), dt.timedelta(hours=40)
"""Of a killed scheduler: half are back within twice the first, and a few stay away for long."""
SPRING = dt.datetime(2026, 3, 27, tzinfo=dt.UTC), dt.datetime(2026, 4, 6, tzinfo=dt.UTC)
"""Clocks change in Europe, Beirut, Chile, Australia, New Zealand."""
SOME = (
    "America/Santiago", "Asia/Beirut", "Atlantic/Azores", "Australia/Lord_Howe", "Europe/Berlin",
    "Pacific/Auckland",
)  # fmt: skip
CHANGING_DAYS = (4, 5, 6)
SCHEDULES: dict[str, Fits] = {
    "30 2 * * 5,6,0": lambda wall: (
        (wall.hour, wall.minute) == (2, 30) and wall.weekday() in CHANGING_DAYS
    ),
    "15 0 * * FRI-SAT,SUN": lambda wall: (
        (wall.hour, wall.minute) == (0, 15) and wall.weekday() in CHANGING_DAYS
    ),
}
CATCH_UP = ("none", "last", "all")
WORLDS = 10


class World:
    """Beat processes and workers at a moment that only the test moves on."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.app = Celery("simulated", broker="memory://", set_as_current=False)
        self.app.conf.update(
            beat_schedule={SWEEP: ENTRIES[SWEEP]}, result_expires=None, beat_sync_every=1
        )
        self.beats: list[LeaderScheduler] = []
        self.back: list[dt.datetime] = []
        """When each of those that were killed is back."""
        self.workers = ThreadPoolExecutor(2)
        self.seen: Counter[str] = Counter()

    def live(self, now: dt.datetime) -> None:
        """One moment."""
        while self.back and self.back[0] <= now:
            back = heapq.heappop(self.back)
            if not self.beats:  # all were down
                self.seen["down"] += 1
                self._live(back)
        self._live(now)

    def _live(self, now: dt.datetime) -> None:
        with time_machine.travel(now, tick=False):
            while len(self.beats) + len(self.back) < SCHEDULERS:
                self.beats.append(LeaderScheduler(self.app))
            for beat in list(self.beats):
                while beat.tick() == 0:
                    if self.chance.random() < KILLED and beat.leads():
                        self.seen["killed"] += 1
                        self.kill(beat)  # before it could write what it has just sent
                        away = TYPICAL_DOWN * self.chance.paretovariate(1)
                        heapq.heappush(self.back, now + min(away, LONGEST_DOWN))
                        break
                else:
                    if beat.should_sync():
                        beat._do_sync()
            self.work(now)

    def kill(self, beat: LeaderScheduler) -> None:
        """Its connections end with it, and nothing more is written."""
        beat.let_go()
        beat._dirty.clear()
        self.beats.remove(beat)

    def work(self, now: dt.datetime) -> None:
        """Workers take what was sent; some die with it, some get it twice."""
        for name, args in self.messages():
            self.seen[name] += 1
            if self.chance.random() < LOST:
                self.seen["lost"] += 1
                continue
            times = 2 if self.chance.random() < DOUBLED else 1
            for done in [self.workers.submit(perform, name, args, now) for _ in range(times)]:
                done.result(60)

    def messages(self) -> Iterator[tuple[str, list[int]]]:
        """What is in the queue."""
        with self.app.connection_for_read() as connection:
            queue = connection.SimpleQueue("celery")
            while True:
                try:
                    message = queue.get_nowait()
                except queue.Empty:
                    return
                message.ack()
                yield message.headers["task"], message.payload[0]

    def close(self) -> None:
        for beat in list(self.beats):
            self.kill(beat)
        self.workers.submit(connections.close_all).result(10)
        self.workers.shutdown()


def perform(name: str, args: list[int], now: dt.datetime) -> None:
    """What the tasks do, on a connection of this thread's own."""
    try:
        for automation_id in args if name == FIRE else find_due(now):
            claim_due(automation_id, now, "simulated")
    finally:
        connections.close_all()


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    made = World(seed=11)
    yield made
    made.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The whole clock in worlds of a few zones each, so that several can be run side by side."""
    if "zones" not in metafunc.fixturenames:
        return
    worlds = [(SOME, SPRING)]
    if metafunc.config.getoption("--whole-clock"):
        worlds = [(ZONES[at::WORLDS], (FIRST, LAST)) for at in range(WORLDS)]
    metafunc.parametrize(("zones", "span"), worlds, ids=map(str, range(len(worlds))))


@requirement("automations.once")
@pytest.mark.timeout(7200)
def test_every_due_time_is_claimed_once_never_early_and_what_was_missed_is_told(
    world: World, zones: tuple[str, ...], span: tuple[dt.datetime, dt.datetime]
) -> None:
    first, last = span
    wanted: dict[int, list[dt.datetime]] = {}
    with time_machine.travel(first, tick=False):
        for number, zone in enumerate(zones):
            shown = read_clock(ZoneInfo(zone), first, last)
            for schedule, fits in SCHEDULES.items():
                automation = Automation.objects.create(
                    agent="desk", name=f"{zone} {schedule}", title="T", prompt="Go.",
                    trigger="cron", schedule=schedule, timezone=zone, overlap="allow",
                    catch_up=CATCH_UP[number % len(CATCH_UP)],
                )  # fmt: skip
                arm(automation, first)
                wanted[automation.pk] = expected(shown, fits, first, last)
    moments = sorted({at for due in wanted.values() for at in due})
    for at in moments:
        world.live(at - MINUTE / 20)  # three seconds early
        world.live(at + MINUTE / 30)
        world.live(at + MINUTE + MINUTE / 30)
    world.back.clear()  # everybody is there again
    for _ in range(20):  # after the last due time everything is looked at until nothing is left
        last += MINUTE
        world.live(last)

    rows = Occurrence.objects.select_related("automation")
    found: dict[int, list[dt.datetime]] = {pk: [] for pk in wanted}
    for row in rows.order_by("due_at"):
        found[row.automation_id].append(row.due_at)
        assert row.claimed_at >= row.due_at
        assert (row.status == Occurrence.Status.MISSED) == bool(row.reason)
        late = (row.claimed_at - row.due_at).total_seconds() > LATE_SECONDS
        if row.automation.catch_up == Automation.CatchUp.NONE:
            assert (row.status == Occurrence.Status.MISSED) == late
        if not late:
            assert row.status == Occurrence.Status.RUN
        assert row.runs.count() == (row.status == Occurrence.Status.RUN)
    assert found == wanted
    statuses = Counter(rows.values_list("status", flat=True))
    assert AutomationRun.objects.count() == statuses[Occurrence.Status.RUN]
    print(f"{len(moments)} moments, {dict(world.seen)}, {dict(statuses)}")
    assert world.seen[FIRE] > len(moments) / 2
    assert world.seen["killed"] > 10
    assert world.seen["down"] > 2
    assert world.seen["lost"] > 10
    assert statuses[Occurrence.Status.MISSED] > 0
    assert statuses[Occurrence.Status.RUN] > statuses[Occurrence.Status.MISSED]
