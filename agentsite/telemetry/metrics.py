"""The counters of this process, and how all processes of `up` answer as one.

Law: labels are few and bounded: agents, models, tools and outcomes, never scopes, sessions or
ids. With `PROMETHEUS_MULTIPROC_DIR` the processes keep their numbers in files of that folder, and
whichever is asked adds them up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FIRST_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
CALL_SECONDS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
RUN_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)
TOOL_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 120)

RUNS_BEGUN = Counter("agentsite_runs_begun", "Attempts of runs that began here.", ["agent"])
RUNS_ENDED = Counter("agentsite_runs_ended", "Runs that ended, by reason.", ["agent", "reason"])
RUN_TIME = Histogram(
    "agentsite_run_seconds", "Running time of an attempt.", ["agent"], buckets=RUN_SECONDS
)
LIVE_RUNS = Gauge("agentsite_live_runs", "Runs at work.", multiprocess_mode="livesum")
OPEN_STREAMS = Gauge(
    "agentsite_open_streams", "Streams with a reader.", multiprocess_mode="livesum"
)
LOOP_LAG = Gauge(
    "agentsite_event_loop_lag_seconds",
    "How late the event loop was at the last heartbeat; the worst process.",
    multiprocess_mode="livemax",
)
MODEL_CALLS = Counter(
    "agentsite_model_calls",
    "Requests to models; `error` is the kind of the failure, empty when it succeeded.",
    ["agent", "provider", "model", "purpose", "error"],
)
FIRST_TOKEN = Histogram(
    "agentsite_first_token_seconds",
    "From a request to a model to the first piece of its answer.",
    ["provider", "model"],
    buckets=FIRST_SECONDS,
)
MODEL_TIME = Histogram(
    "agentsite_model_call_seconds",
    "Whole requests to models.",
    ["provider", "model"],
    buckets=CALL_SECONDS,
)
TOKENS = Counter(
    "agentsite_tokens",
    "Tokens in disjoint classes: input, cache_read, cache_write, output, reasoning.",
    ["agent", "provider", "model", "kind"],
)
COST = Counter(
    "agentsite_cost_micros", "Known cost in micro-dollars.", ["agent", "provider", "model"]
)
UNPRICED = Counter(
    "agentsite_unpriced_calls", "Requests whose price is unknown.", ["provider", "model"]
)
TOOL_CALLS = Counter("agentsite_tool_calls", "Calls of tools.", ["agent", "tool", "status"])
TOOL_TIME = Histogram(
    "agentsite_tool_call_seconds", "Calls of tools.", ["tool"], buckets=TOOL_SECONDS
)


class Standing:
    """What stands in the database at the moment of asking, as gauges."""

    def __init__(self, values: Iterable[tuple[str, str, float]]) -> None:
        """`values`: name, what it is, how much."""
        self._values = tuple(values)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family a value."""
        for name, what, value in self._values:
            yield GaugeMetricFamily(f"agentsite_{name}", what, value=value)


def forget_dead(folder: Path) -> None:
    """Take back what processes that are gone said of themselves; what they counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        number = file.stem.rpartition("_")[2]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            mark_process_dead(int(number), str(folder))  # type: ignore[no-untyped-call]


@contextmanager
def shared_folder(folder: Path) -> Iterator[None]:
    """An empty folder for the counters of all child processes; they find it by their environment.

    `folder` belongs to one server at a time.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def expose(standing: Standing, folder: str) -> bytes:
    """Prometheus's text format; `folder` is that of all processes, empty for this one alone."""
    registry = CollectorRegistry()
    if folder:
        forget_dead(Path(folder))
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(standing)
    return generate_latest(registry)
