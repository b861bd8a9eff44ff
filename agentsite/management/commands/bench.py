"""`manage.py bench`: how fast it is on this machine, beside what it must reach.

Law: it measures, it does not judge: the exit code is 0 whatever comes out.
"""

from __future__ import annotations

import gc
import os
import resource
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from agentsite.management.bench import admin, rest, security, stores, streams, webhooks
from agentsite.management.bench.figures import Figures
from agentsite.management.bench.load import RAMP
from agentsite.management.bench.report import ADMIN, STORES, show
from agentsite.management.bench.rows import STORE
from agentsite.management.bench.stack import Stack, running

SUBJECTS = ("streams", "security", "flat", "memory", "idle", "stores", "webhooks", "admin")
HOW = (
    "Everything runs on this machine and shares its {cores} cores: Postgres (fsync {fsync}, "
    "synchronous_commit {commit}), the fake model, one web process (anthropic adapter), and this "
    "client.\nStreams start one after the other, {ramp:.1f} ms apart (flat out: 1 ms), not at "
    "the same moment. `added` is through the server less the median of the direct way, asked in "
    "turn.\nA delta is one that the model sent; those that arrive together travel together. "
    "It ends with a full stop: a letter that could begin a secret waits for the next delta."
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
    documents: int = 1_000_000
    messages: int = 100_000
    made_runs: int = 1_000_000
    made_events: int = 10_000_000
    webhooks: int = 2_000
    pages_asked: int = 12
    """Times that each page of the admin is asked for."""
    afresh: bool = True
    """Each subject with a server of its own."""


class Command(BaseCommand):
    """Starts everything afresh, measures, and prints tables."""

    help = "Measure this server beside the bars that it must reach."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure, and for how long."""
        names = f"any of {', '.join(SUBJECTS)}; all without one"
        parser.add_argument("subjects", nargs="*", type=subject, metavar="subject", help=names)
        parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=())
        parser.add_argument("--streams", type=int, nargs="+", help="how many streams at once")
        parser.add_argument("--seconds", type=float, help="of each measurement (6)")
        parser.add_argument("--runs", type=int, help="the tables show their medians (3)")
        parser.add_argument("--documents", type=int, help="in the store (1,000,000)")
        parser.add_argument("--messages", type=int, help="in past sessions (100,000)")
        parser.add_argument("--made-runs", type=int, help="behind the admin (1,000,000)")
        parser.add_argument("--made-events", type=int, help="of those runs (10,000,000)")
        parser.add_argument(
            "--data-dir",
            type=Path,
            help="with the database of an earlier `makedata`, to measure the admin by; it stays",
        )
        parser.add_argument("--webhooks", type=int, help="sent (2,000)")
        parser.add_argument("--quick", action="store_true", help="a look: one run, small figures")

    def handle(self, *args: Any, **given: Any) -> None:
        """Measure all runs, then show the medians."""
        sizes = Sizes(frozenset((*given["subjects"], *given["only"])) or frozenset(SUBJECTS))
        if given["quick"]:
            sizes = msgspec.structs.replace(
                sizes, streams=(1, 10), seconds=1.0, runs=1, sessions=(20, 60), idle=50,
                flat_share=0.05, afresh=False, documents=2_000, messages=1_000,
                made_runs=400, made_events=4_000, webhooks=60, pages_asked=1,
            )  # fmt: skip
        options = (
            "seconds", "runs", "documents", "messages", "webhooks", "made_runs", "made_events",
        )  # fmt: skip
        chosen = {name: given[name] for name in options if given[name] is not None}
        if given["streams"]:
            chosen["streams"] = tuple(given["streams"])
        sizes = msgspec.structs.replace(sizes, **chosen)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        gc.disable()  # pauses of the client would count as the server's
        figures = Figures()
        with running(settings.ROOT, given["data_dir"]) as stack:
            self.stdout.write(describe(stack) + "\n")
            if not sizes.afresh:
                furnish(stack)
            for number in range(sizes.runs):
                self.stdout.write(f"run {number + 1} of {sizes.runs}")
                self.stdout.flush()
                measure(stack, figures, sizes)
                gc.collect()
        self.stdout.write("\n" + show(figures))


def subject(name: str) -> str:
    """One of the subjects."""
    if name not in SUBJECTS:
        raise ArgumentTypeError(f"{name!r} is none of {', '.join(SUBJECTS)}")
    return name


def furnish(stack: Stack) -> None:
    """Give the agent what any subject needs, so that one server serves all of them."""
    stack.add_store(STORE)
    stack.add_automation(webhooks.NAME, webhooks.FILE)


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


async def measure_security(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """First delta with row-level security and without."""
    await security.measure_security(stack, figures, sizes.seconds)


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


async def measure_stores(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """A large store and many past sessions; they are filled once."""
    if STORES not in figures.tables():
        if sizes.afresh:
            stack.stop_server()
            stack.add_store(STORE)
            stack.start_server()
        await stores.measure_stores(stack, figures, sizes.documents, sizes.messages)


async def measure_admin(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """Every page of the admin that shows runs, with many of them behind it; made once."""
    if ADMIN not in figures.tables():
        runs, events = sizes.made_runs, sizes.made_events
        await admin.measure_pages(stack, figures, runs, events, sizes.pages_asked)


async def measure_webhooks(stack: Stack, figures: Figures, sizes: Sizes) -> None:
    """Signed webhooks that are answered when they are stored."""
    if sizes.afresh:
        stack.stop_server()
        stack.add_automation(webhooks.NAME, webhooks.FILE)
        stack.start_server()
    await webhooks.measure_webhooks(stack, figures, sizes.webhooks)


MEASURES = {
    "streams": measure_streams,
    "security": measure_security,
    "flat": measure_flat,
    "memory": measure_memory,
    "idle": measure_idle,
    "stores": measure_stores,
    "admin": measure_admin,
    "webhooks": measure_webhooks,
}


def describe(stack: Stack) -> str:
    """What is measured, and how."""
    with stack.connect() as connection:
        row = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
        ).fetchone()
    fsync, commit = row or ("?", "?")
    return HOW.format(cores=os.cpu_count(), fsync=fsync, commit=commit, ramp=RAMP * 1000)
