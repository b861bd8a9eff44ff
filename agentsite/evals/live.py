"""Eval runs that operators ask for, worked by whichever host is free: one in each process.

Law: a module of `settings.LIFESPAN`, after the host. A look now and then finds what waits and
what another host left; a lease keeps two from working the same.
"""

from __future__ import annotations

import asyncio
import logging

from django.conf import settings
from django.db import Error as DatabaseError

from agentsite.evals.conducting import WHY, conduct
from agentsite.host.site import Site, site
from agentsite.operations import eval_rows
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit

logger = logging.getLogger(__name__)

_tasks: set[asyncio.Task[None]] = set()
END_SECONDS = 2.0


async def startup() -> None:
    """Begin to look."""
    _tasks.add(asyncio.create_task(_work_for_ever(site()), name="evals"))


def stopping(grace: float) -> None:
    """The host says so itself: nothing is begun in it any more."""


async def shutdown() -> None:
    """Leave what is under way to others."""
    for task in _tasks:
        task.cancel()
    if _tasks:
        await asyncio.wait(_tasks, timeout=END_SECONDS)
    _tasks.clear()


async def _work_for_ever(here: Site) -> None:
    while here.runs.accepting:
        await asyncio.sleep(settings.RUN_HEARTBEAT_SECONDS)
        try:
            with acting_for_all(WHY):
                claimed = await unit(
                    eval_rows.claim_next, here.owner, float(settings.RUN_LEASE_SECONDS)
                )
            if claimed is not None:
                await conduct(here, claimed)
        except DatabaseError as error:
            logger.warning("eval runs could not be looked for: %s", error)
        except Exception:
            # Whatever it is: without the next look no eval run would be worked here.
            logger.exception("an eval run broke off")
