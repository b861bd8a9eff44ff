"""A worker and beat for real, over each broker: what is due runs, through crashes and stops."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.automations_app.made import make_automation
from tests.jobs.processes import Background
from tests.processes import within
from tests.requirements import requirement
from tests.servers import fresh_database
from tests.trials import write_trials

Start = Callable[..., Background]
WITHIN = 200
"""Seconds until something has happened, on a machine that may be busy."""


class Database:
    """A database of one's own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        with psycopg.connect(self.url, autocommit=True) as asking:
            asked = asking.execute(sql.encode(), values)
            return asked.fetchall() if asked.description else []

    def look_often(self) -> None:
        """Have beat send the sweep each second: nobody here waits for a minute to begin."""
        self.query(
            "WITH often AS (INSERT INTO django_celery_beat_intervalschedule (every, period)"
            " VALUES (1, 'seconds') RETURNING id)"
            " INSERT INTO django_celery_beat_periodictask (name, task, args, kwargs, enabled,"
            " one_off, total_run_count, date_changed, description, headers, interval_id)"
            " SELECT 'often', 'automations_app.tasks.sweep_due', '[]', '{}', true,"
            " false, 0, now(), '', '{}', id FROM often"
        )

    def miss_again(self, days: int) -> None:
        """Let nothing of the last minutes have been claimed: each time by other `days`."""
        self.query(
            "UPDATE automations_app_occurrence SET due_at = due_at - %s * interval '1 day'", days
        )

    def count(self, status: str) -> int:
        """Runs of automations in that state."""
        sql = "SELECT count(*) FROM automations_app_automationrun WHERE status = %s"
        return int(self.query(sql, status)[0][0])


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    with fresh_database(postgres) as url:
        yield Database(url)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The default, a Redis of the test's own, and one that `--broker` names."""
    if "broker" in metafunc.fixturenames:
        named = metafunc.config.getoption("--broker")
        metafunc.parametrize("broker", ["", "redis", *([named] if named else [])], indirect=True)


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Its address."""
    if request.param == "redis":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        server = shutil.which("redis-server")
        assert server, "redis-server is missing: see `manage.py test`"
        running = subprocess.Popen(
            [server, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
            stdout=subprocess.DEVNULL,
        )
        yield f"redis://127.0.0.1:{port}/0"
        running.terminate()
        running.wait(10)
    else:
        yield request.param


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a process of Celery's; it is ended after the test."""
    agents = tmp_path / "agents"
    write_trials(agents / "trials")
    manifest = agents / "trials" / "amodal.json"
    patient = json.loads(manifest.read_text())
    patient["agent"] |= {"toolTimeout": 3600, "runTimeout": 7200}  # what hangs does so for long
    manifest.write_text(json.dumps(patient))
    with ExitStack() as stack:

        def begin(kind: str, broker: str) -> Background:
            running = Background(
                kind, tmp_path / "data",
                DATABASE_URL=database.url, CELERY_BROKER_URL=broker, AGENTS_DIR=str(agents),
                RUN_LEASE_SECONDS="3", RUN_HEARTBEAT_SECONDS="1", SHUTDOWN_GRACE_SECONDS="1",
            )  # fmt: skip
            stack.callback(running.close)
            return running

        yield begin


def arm(database: Database, name: str, prompt: str, **columns: Any) -> None:
    """An automation of every minute, of which five were missed."""
    known = {"agent": "trials", "trigger": "cron", "schedule": "* * * * *", "catch_up": "all"}
    automation_id = make_automation(database, name, prompt, **{**known, **columns})
    database.query(
        "UPDATE automations_app_automation SET armed_since = now() - interval '5 minutes'"
        " WHERE id = %s", automation_id,
    )  # fmt: skip


@pytest.mark.timeout(600)
@requirement("automations.worker", "automations.catch-up")
def test_what_is_due_runs_in_a_worker(broker: str, database: Database, start: Start) -> None:
    arm(database, "reports", "plain")
    database.look_often()
    worker, beat = start("worker", broker), start("beat", broker)
    assert within(WITHIN, lambda: database.count("success") >= 5), worker.log + beat.log
    overlapping = database.query(
        "SELECT count(*) FROM automations_app_automationrun a JOIN automations_app_automationrun b"
        " ON a.id < b.id AND a.started_at < b.ended_at AND b.started_at < a.ended_at"
    )
    assert overlapping == [(0,)]
    assert (beat.stop(), worker.stop()) == (0, 0), worker.log + beat.log
    assert "Traceback" not in worker.log + beat.log


@pytest.mark.timeout(600)
@requirement("automations.worker", "automations.overlap")
def test_a_killed_workers_run_goes_on_and_a_stopped_one_hands_it_over(
    database: Database, start: Start
) -> None:
    # It may write: what hangs does not say that it is harmless.
    arm(database, "stays", "hang", catch_up="last", write_enabled=True)
    database.look_often()
    first, beat = start("worker", ""), start("beat", "")
    assert within(WITHIN, lambda: database.count("running") == 1), first.log + beat.log
    database.miss_again(1)
    skipped = "SELECT reason FROM automations_app_occurrence WHERE status = 'skipped'"
    assert within(WITHIN, lambda: database.query(skipped)), first.log
    assert "An earlier run still works" in database.query(skipped)[0][0]

    # Killed before it means to call, it would call again, and hang again.
    calling = "SELECT 1 FROM sessions_app_toolcall WHERE name = 'hang' AND status = 'running'"
    assert within(WITHIN, lambda: database.query(calling)), first.log
    first.kill()
    second = start("worker", "")
    attempts = "SELECT max(attempt) FROM sessions_app_run"
    assert within(WITHIN, lambda: database.query(attempts)[0][0] >= 2), second.log
    # Its successor may begin at once: the times of the last two minutes count as on time.
    assert within(WITHIN, lambda: database.count("success") == 1), second.log
    database.miss_again(7)
    assert within(WITHIN, lambda: database.count("running") == 1), second.log
    assert second.stop() == 0, second.log
    assert beat.stop() == 0, beat.log
    held = "SELECT owner, lease_until <= now() FROM sessions_app_run WHERE status = 'running'"
    assert database.query(held) == [("", True)]
