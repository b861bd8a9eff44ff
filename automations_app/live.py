"""Automations as part of a process with a host: files become rows, ended runs are finished.

Law: a module of `settings.LIFESPAN`, after the host. The host knows nothing of it but listeners.
"""

from __future__ import annotations

import asyncio
import logging

from django.conf import settings
from django.db import Error as DatabaseError, InterfaceError, OperationalError

from agentsite.host.site import site
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.problems import ManifestError
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from automations_app.overview import OVERVIEW
from automations_app.starting import WHY, finish_of
from automations_app.sweep import Left, carry_on, find_left
from automations_app.sync import sync_agent

logger = logging.getLogger(__name__)

_tasks: set[asyncio.Task[None]] = set()


async def startup() -> None:
    """Bring rows up to the files, and listen."""
    here = site()
    here.runs.listeners.append(finish_of)
    here.manifest_news.listeners.append(learn)
    with acting_for_all(WHY):
        for name in here.agents.sources.sources:
            await unit(_learn_first, name)
        await unit(_read_overview)
    _tasks.add(asyncio.create_task(sweep_for_ever(), name="runs of automations"))


def stopping(grace: float) -> None:
    """Nothing is begun that the grace would not be enough for."""
    for task in _tasks:
        task.cancel()


async def shutdown() -> None:
    """Let go of the sweep."""
    stopping(0)
    if _tasks:
        await asyncio.wait(_tasks)
    _tasks.clear()


def _learn_first(name: str) -> None:
    try:
        learn(name, site().agents.current(name).bundle)
    except ManifestError:  # it is told of where it is asked for
        return


def learn(name: str, bundle: Bundle) -> None:
    """Take over what an agent's files say now. Synchronous, where all scopes are acted for."""
    try:
        sync_agent(name, bundle.automations, bundle.secrets)
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        logger.exception("the automations of %s could not be taken over", name)


async def sweep_for_ever() -> None:
    """Carry on what crashes left, now and then."""
    while True:
        await asyncio.sleep(settings.RUN_HEARTBEAT_SECONDS)
        try:
            with acting_for_all(WHY):
                left = await unit(_look)
            await carry_on(left)
        except DatabaseError as error:
            logger.warning("the sweep of automations failed: %s", error)
        except Exception:
            logger.exception("the sweep of automations failed")


def _look() -> Left:
    """One unit for health and sweep: an idle process asks the database as little as it can."""
    _read_overview()
    return find_left()


def _read_overview() -> None:
    try:
        OVERVIEW.read(site().agents.sources.sources)
    except (InterfaceError, OperationalError):
        raise
    except Exception:  # what cannot be told of keeps nothing from running
        logger.exception("the automations could not be read for /health")
