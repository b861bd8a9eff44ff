"""Row work that can wait for a database that is away for a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseError, InterfaceError, OperationalError

from agentsite.rows.units import unit

P = ParamSpec("P")
T = TypeVar("T")

RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0)

logger = logging.getLogger(__name__)


async def patient_unit(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`unit`, again while the database does not answer; for what may be done twice.

    Raises what the last try raises.
    """
    for seconds in RETRY_SECONDS:
        try:
            return await unit(fn, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            logger.warning("the database does not answer, trying again: %s", error)
            await asyncio.sleep(seconds)
    return await unit(fn, *args, **kwargs)


async def log_failure(work: Awaitable[None]) -> None:
    """Await something that nobody else awaits; what goes wrong is for the log."""
    try:
        await work
    except DatabaseError as error:
        logger.warning("a piece of work beside the runs failed: %s", error)
    except Exception:
        logger.exception("a piece of work beside the runs failed")
