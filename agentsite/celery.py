"""The Celery application: `celery -A agentsite.celery worker` and `beat`.

Law: a task is acknowledged before it runs and is short; what must not be lost is a row that a
sweep finds again. A worker is a host like a web process: its runs live beside the tasks, under
leases, and are handed over when it stops.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings

from agentsite.host.hosting import begin_stop_hosting, start_hosting, stop_hosting
from agentsite.jobs.queue import in_database, prepare_queue
from agentsite.management.serve import GRACE_IN_TERMINAL, settle_down

TAKEN_SECONDS = 300
"""After this a task that a worker took and never began is given to another one."""
POOLS = ("thread", "threads", "solo")
"""Kinds of worker that share the process with the host; the first is a module, not an option."""


def _every(seconds: float, task: str) -> dict[str, Any]:
    """An entry of beat's; what no worker has taken by the next one is dropped."""
    return {"task": task, "schedule": seconds, "options": {"expire_seconds": int(max(30, seconds))}}


ENTRIES: dict[str, dict[str, Any]] = {
    "Automations: whatever is due": {
        **_every(60, "automations_app.tasks.sweep_due"),
        "schedule": crontab(),
    },
    "Automations: runs that a crash left": _every(30, "automations_app.tasks.sweep_runs"),
    "Automations: deliveries that are due": _every(30, "automations_app.tasks.send_deliveries"),
    "Automations: delete old history": _every(86400, "automations_app.tasks.purge_history"),
    "Site: take over runs whose process is gone": _every(30, "agentsite.jobs.tasks.take_over"),
    "Site: let sessions age": _every(300, "agentsite.jobs.tasks.age_sessions"),
    "Site: delete expired documents": _every(300, "agentsite.jobs.tasks.purge_documents"),
    "Site: delete old events of the bus": _every(3600, "agentsite.jobs.tasks.purge_bus"),
    "Site: delete old keys and receipts": _every(3600, "agentsite.jobs.tasks.purge_keys"),
    "Site: delete old sign-ins of staff": _every(86400, "agentsite.jobs.tasks.purge_sign_ins"),
}
"""What beat sends besides automations; operators see it in the admin. Its names are its keys."""

app = Celery("agentsite")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    imports=("agentsite.jobs.tasks", "automations_app.tasks"),
    timezone=settings.TIME_ZONE,
    # Nobody waits for a result; what a task did stands in rows.
    task_ignore_result=True,
    result_expires=None,
    task_acks_late=False,
    worker_pool="threads",
    worker_concurrency=4,
    worker_prefetch_multiplier=4,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_scheduler="agentsite.jobs.scheduler:LeaderScheduler",
    beat_schedule=ENTRIES,
    # At once, so that the next leader knows what was sent.
    beat_sync_every=1,
)
if in_database():
    app.conf.update(
        broker_transport="agentsite.jobs.transport:Transport",
        broker_transport_options={
            "visibility_timeout": TAKEN_SECONDS,
            "use_notify": True,
            "wait_time_seconds": 0,
        },
        worker_enable_remote_control=False,  # it would leave tables behind for every worker
    )
elif settings.CELERY_BROKER_URL.startswith("redis"):
    app.conf.broker_transport_options = {"visibility_timeout": TAKEN_SECONDS}


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def keep_logging(**_: Any) -> None:
    """Leave the log as `settings.LOGGING` has it."""


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def prepare(**_: Any) -> None:
    """Make sure of the database and the queue, before the worker connects."""
    prepare_queue()


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def host(sender: Any, **_: Any) -> None:
    """Make the worker a host, or end it: whatever else is raised here Celery logs, and goes on."""
    pool = str(getattr(sender.pool_cls, "__module__", sender.pool_cls))
    if not pool.endswith(POOLS):
        sys.exit(
            "A worker hosts runs beside its tasks, in one process: start it with --pool threads"
            f" (the default here) or solo, not {pool.rpartition('.')[2]}."
        )
    try:
        start_hosting()
    except Exception as problem:  # noqa: BLE001 - whatever it is, nothing can be hosted
        sys.exit(f"The worker cannot host runs: {problem}")
    settle_down()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def begin_stop(sig: str, **_: Any) -> None:
    """Take no more runs."""
    grace = GRACE_IN_TERMINAL if sig == "SIGINT" else settings.SHUTDOWN_GRACE_SECONDS
    begin_stop_hosting(grace)


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def unhost(**_: Any) -> None:
    """Let runs end within their grace, or hand them over."""
    stop_hosting()


@signals.beat_init.connect  # type: ignore[untyped-decorator]
def stop_in_order(sender: Any, **_: Any) -> None:
    """Let beat end between two looks: Celery's own handlers write rows wherever they strike."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sender.stop())
