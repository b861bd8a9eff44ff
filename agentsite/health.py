"""`/health`: the process lives. `/ready`: it can serve, or which part cannot.

Law: no secrets, no details of the inside. Liveness asks nothing of the database,
so that its failure does not get healthy processes killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from agentsite import __version__
from agentsite.host.edges import api
from agentsite.host.errors import error_body
from agentsite.host.site import Site, site
from agentsite.jobs.absence import NO_LEADER, NO_WORKER
from agentsite.jobs.leading import is_leaderless
from agentsite.jobs.queue import are_tasks_left, find_problem
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import Agents
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from automations_app.overview import OVERVIEW

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0


@api("GET", "HEAD")
async def health(request: HttpRequest) -> HttpResponseBase:
    """Liveness, with what this process has in hand."""
    here = site()
    return JsonResponse(
        {
            "status": "ok",
            "version": __version__,
            "uptime_ms": round((time.monotonic() - here.started_at) * 1000),
            "active_sessions": here.count_sessions(),
            "live_runs": len(here.runs),
            "automations": OVERVIEW.told,
        }
    )


class NotReady(Exception):
    """What keeps a part from serving, in a sentence fit for anybody."""


@api("GET", "HEAD")
async def ready(request: HttpRequest) -> HttpResponseBase:
    """Readiness: every part by name, 503 while one of them cannot serve."""
    here = site()
    act_for_all("readiness is no scope's")
    parts = {name: await _judge(name, check, here) for name, check in CHECKS.items()}
    failing = [name for name, part in parts.items() if not part["ok"]]
    if not failing:
        return JsonResponse({"status": "ready", "checks": parts})
    text = " ".join(f"{name}: {parts[name]['problem']}" for name in failing)
    answer = {"status": "unavailable", "failing": failing, "checks": parts}
    return JsonResponse({**answer, **error_body("not_ready", text)}, status=503)


async def _judge(name: str, check: Check, here: Site) -> dict[str, Any]:
    """What is told of a part: `ok`, with `warnings` where it has some, or its `problem`."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            warnings = await check(here)
    except NotReady as error:
        problem = str(error)
    except TimeoutError:
        problem = "No answer in time."
    except Exception:
        logger.exception("the check of %s failed", name)
        problem = "It does not answer."
    else:
        return {"ok": True, "warnings": warnings} if warnings else {"ok": True}
    return {"ok": False, "problem": problem}


async def _check_server(here: Site) -> None:
    if not here.runs.accepting:
        raise NotReady("The process is about to stop.")


async def _check_database(here: Site) -> None:
    await unit(_ask_database)


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _check_migrations(here: Site) -> None:
    if _applied.cache_info().currsize:  # they do not go away again
        return
    await unit(_applied)


@cache
def _applied() -> None:
    """Raises as long as a migration is missing; only success is remembered."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotReady(f"{len(missing)} migrations are not applied.")


async def _check_manifest(here: Site) -> list[str]:
    """Returns warnings: models whose calls will fail to authenticate, by agent and place."""
    broken = sorted(here.agents.sources.problems)
    if broken:
        names = ", ".join(broken)
        raise NotReady(f"The newest files of {names} have errors: see `manage.py validate`.")
    return await asyncio.to_thread(_find_keyless, here.agents.sources)  # it may read files


def _find_keyless(agents: Agents) -> list[str]:
    found = []
    for name, source in agents.sources.items():
        with contextlib.suppress(ManifestError):  # one that was never right serves nobody
            for warning in source.current().warnings:
                if warning.code == "ENV_NOT_SET" and warning.path.startswith("models."):
                    found.append(f"{name}: {warning.path} has no key")
    return found


async def _check_listener(here: Site) -> None:
    if not here.listener.listening:
        raise NotReady("Notifications of the database do not arrive.")


async def _check_scheduler(here: Site) -> None:
    if NO_LEADER.lasts(await unit(is_leaderless)):
        raise NotReady("No beat process fires what is due: see `celery -A agentsite.celery beat`.")


async def _check_broker(here: Site) -> None:
    problem = await asyncio.to_thread(find_problem)
    if problem is not None:
        raise NotReady(problem)
    if NO_WORKER.lasts(await unit(are_tasks_left)):
        raise NotReady(
            "Tasks wait and no worker takes them: see `celery -A agentsite.celery worker`."
        )


Check = Callable[[Site], Awaitable[list[str] | None]]
CHECKS: dict[str, Check] = {
    "server": _check_server,
    "database": _check_database,
    "migrations": _check_migrations,
    "manifest": _check_manifest,
    "listener": _check_listener,
    "scheduler": _check_scheduler,
    "broker": _check_broker,
}
