"""Workers, beat and web processes start at once: each declares the queue, none is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from agentsite.celery import app
from agentsite.jobs.queue import install_queue
from tests.requirements import requirement

STARTING = 6


def declare() -> None:
    """As a consumer of a process of its own does it."""
    with app.connection_for_read() as broker, broker.channel() as channel:
        app.amqp.queues["celery"](channel).declare()


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.filterwarnings("ignore:list_queues")  # kombu silences it, not safely among threads
@requirement("automations.worker")
def test_many_may_declare_the_queue_at_once() -> None:
    install_queue()
    with ThreadPoolExecutor(STARTING) as threads:
        for _ in range(5):
            for declared in [threads.submit(declare) for _ in range(STARTING)]:
                declared.result(60)
