"""Celery's two processes as children of `up`: they say when they are ready and end with it."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from functools import partial
from types import FrameType
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning
from celery.worker import state

from agentsite.celery import app, begin_stop
from agentsite.embedded.fate import die_with_parent
from agentsite.rows.units import close_pools


def work(parent: int, ready: int) -> None:
    """Run the worker until a signal, and end the process."""
    die_with_parent(signal.SIGINT, parent)
    # In a container root is usual; tasks are JSON, so nobody can send code.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.worker_ready.connect(partial(_settle, ready), weak=False)
    worker = app.Worker(quiet=True, without_gossip=True, without_mingle=True)
    worker.start()
    sys.exit(worker.exitcode)


def _settle(ready: int, **_: Any) -> None:
    """Stop as the web processes do, without Celery's words to the terminal; then say so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    _tell(ready)


def _stop(number: int, _frame: FrameType | None) -> None:
    begin_stop(signal.Signals(number).name)
    state.should_stop = 0


def beat(parent: int, ready: int) -> None:
    """Run the scheduler until a signal."""
    die_with_parent(signal.SIGINT, parent)
    signals.beat_init.connect(partial(_tell, ready), weak=False)
    try:
        app.Beat(quiet=True).run()
    finally:
        close_pools()


def _tell(ready: int, **_: Any) -> None:
    os.write(ready, b"1")
    os.close(ready)
