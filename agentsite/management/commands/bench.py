"""`manage.py bench`: how fast it is on this machine, beside what it must reach.

Law: it measures, it does not judge: the exit code is 0 whatever comes out.
"""

from __future__ import annotations

import gc
import os
import resource
from typing import Any

import msgspec
import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from agentsite.management.bench import rest, streams
from agentsite.management.bench.figures import Figures
from agentsite.management.bench.load import RAMP
from agentsite.management.bench.report import show
from agentsite.management.bench.stack import Stack, running

SUBJECTS = ("streams", "flat", "memory", "idle")
HOW = (
    "Everything runs on this machine and shares its {cores} cores: Postgres (fsync {fsync}, "
    "synchronous_commit {commit}), the fake model, one web process (anthropic adapter), and this "
    "client.\nStreams start one after the other, {ramp:.1f} ms apart (flat out: 1 ms), not at "
    "the same moment. `added` is through the server less the median of the direct way, asked in "
    "turn.\nA delta is one that the model sent; those that arrive together travel together."
)


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    only: frozenset[str]
    streams: tuple[int, ...] = (1, 10, 50, 100, 200, 300)
    seconds: float = 6.0
    runs: int = 3
    sessions: tuple[int, int] = (200, 2000)
    idle: int = 500
    flat_share: float = 1.0
    afresh: bool = True
    """Each subject with a server of its own."""


class Command(BaseCommand):
    """Starts everything afresh, measures, and prints tables."""

    help = "Measure this server beside the bars that it must reach."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure, and for how long."""
        parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
        parser.add_argument("--streams", type=int, nargs="+", help="how many streams at once")
        parser.add_argument("--seconds", type=float, help="of each measurement (6)")
        parser.add_argument("--runs", type=int, help="the tables show their medians (3)")
        parser.add_argument("--quick", action="store_true", help="a look: one run, small figures")

    def handle(self, *args: Any, **given: Any) -> None:
        """Measure all runs, then show the medians."""
        sizes = Sizes(frozenset(given["only"]))
        if given["quick"]:
            sizes = msgspec.structs.replace(
                sizes, streams=(1, 10), seconds=1.0, runs=1, sessions=(20, 60), idle=50,
                flat_share=0.05, afresh=False,
            )  # fmt: skip
        chosen = {name: given[name] for name in ("seconds", "runs") if given[name] is not None}
        if given["streams"]:
            chosen["streams"] = tuple(given["streams"])
        sizes = msgspec.structs.replace(sizes, **chosen)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        gc.disable()  # pauses of the client would count as the server's
        figures = Figures()
        with running(settings.ROOT) as stack:
            self.stdout.write(describe(stack) + "\n")
            for number in range(sizes.runs):
                self.stdout.write(f"run {number + 1} of {sizes.runs}")
                self.stdout.flush()
                measure(stack, figures, sizes)
                gc.collect()
        self.stdout.write("\n" + show(figures))


def measure(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """One run of everything that is wanted, each subject with a fresh server if time allows."""
    for subject, take in MEASURES.items():
        if subject in sizes.only:
            stack.start_server()
            uvloop.run(take(stack, figures, sizes))
            if sizes.afresh:
                stack.stop_server()
    stack.stop_server()


async def measure_streams(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """First delta, delays, cost and memory, from few streams to many."""
    await streams.measure_alone(stack, figures, sizes.seconds)
    for count in sizes.streams:
        await streams.measure_real_time(stack, figures, count, sizes.seconds)


async def measure_flat(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """Full speed, from few streams to many."""
    await streams.warm_up(stack)
    for count in sizes.streams:
        await rest.measure_flat_out(stack, figures, count, sizes.flat_share)


async def measure_memory(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """Memory after few and after many sessions."""
    await rest.measure_sessions(stack, figures, sizes.sessions)


async def measure_idle(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """Connections of open streams, and others beside idle ones."""
    await rest.measure_open(stack, figures, max(sizes.idle * 2 // 5, 1), sizes.seconds)
    await rest.measure_idle(stack, figures, sizes.idle, sizes.seconds)


MEASURES = {
    "streams": measure_streams,
    "flat": measure_flat,
    "memory": measure_memory,
    "idle": measure_idle,
}


def describe(stack: Stack) -> str:
    """What is measured, and how."""
    with stack.connect() as connection:
        row = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
        ).fetchone()
    fsync, commit = row or ("?", "?")
    return HOW.format(cores=os.cpu_count(), fsync=fsync, commit=commit, ramp=RAMP * 1000)
