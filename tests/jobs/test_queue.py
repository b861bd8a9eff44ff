"""The queue in the site's own database: made once, told of, and refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from agentsite.celery import app
from agentsite.jobs.leading import is_leaderless
from agentsite.jobs.queue import QueueError, are_tasks_left, find_problem, install_queue
from agentsite.jobs.scheduler import LeaderScheduler
from agentsite.jobs.transport import MOST_CONNECTIONS, database_address
from tests.jobs.processes import Background
from tests.processes import within
from tests.requirements import requirement
from tests.servers import test_database_url


@pytest.fixture
def bare(transactional_db: None) -> Iterator[psycopg.Connection]:
    """A database without the queue, and a way to look into it."""
    with psycopg.connect(database_address(), autocommit=True) as looking:
        looking.execute("DROP SCHEMA IF EXISTS pgmq CASCADE")
        yield looking
        looking.execute("DROP SCHEMA IF EXISTS pgmq CASCADE")


@pytest.mark.usefixtures("bare")
def test_many_may_make_the_queue_at_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        for made in [threads.submit(install_queue) for _ in range(4)]:
            made.result(60)
    assert find_problem() is None
    assert not are_tasks_left()


@requirement("automations.broker-told")
def test_tasks_that_nobody_takes_are_told_of(bare: psycopg.Connection) -> None:
    install_queue()
    app.send_task("agentsite.jobs.tasks.purge_bus")
    row = bare.execute("SELECT message->'headers'->>'task' FROM pgmq.q_celery").fetchone()
    assert row == ("agentsite.jobs.tasks.purge_bus",)
    assert not are_tasks_left()
    bare.execute("UPDATE pgmq.q_celery SET enqueued_at = now() - interval '3 minutes'")
    assert are_tasks_left()
    held = bare.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE '%pgmq%' AND pid <> pg_backend_pid()"
    ).fetchone()
    assert held is not None
    assert held[0] <= MOST_CONNECTIONS
    app.pool.force_close_all()


def test_a_user_who_may_not_make_it_is_told_what_to_do(
    bare: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.execute("DROP ROLE IF EXISTS guest_of_tests")
    bare.execute("CREATE ROLE guest_of_tests LOGIN")
    monkeypatch.setitem(connection.settings_dict, "USER", "guest_of_tests")
    try:
        with pytest.raises(QueueError, match="GRANT CREATE ON DATABASE") as refused:
            install_queue()
        assert "REDIS_URL" in str(refused.value)
    finally:
        bare.execute("DROP ROLE guest_of_tests")


@requirement("automations.broker-told")
def test_a_broker_that_is_gone_is_told_of(settings: Any) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    assert find_problem() == "The broker does not answer."
    settings.CELERY_BROKER_URL = "amqp://guest:secret@127.0.0.1:1//"
    assert find_problem() == "The broker does not answer."


@requirement("automations.scheduler-told")
@pytest.mark.django_db(transaction=True)
def test_it_is_seen_whether_somebody_leads() -> None:
    first, second = LeaderScheduler(app, lazy=True), LeaderScheduler(app, lazy=True)
    assert not is_leaderless(), "nothing is to be fired"
    every = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="something", task="celery.ping", interval=every)
    assert is_leaderless()
    assert (first.leads(), second.leads(), first.leads()) == (True, False, True)
    assert not is_leaderless()
    first.let_go()
    assert within(30, is_leaderless)  # the server takes a moment to see that it has gone
    assert second.leads()
    assert not first.leads()
    assert not is_leaderless()
    second.let_go()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_cannot_host_is_refused(tmp_path: Path) -> None:
    refused = Background(
        "worker", tmp_path, "--pool", "processes", DATABASE_URL=test_database_url()
    )
    try:
        assert refused.process.wait(60) == 1
        assert "start it with --pool threads" in refused.log
    finally:
        refused.close()
