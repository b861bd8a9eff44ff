"""Why a run can write no more: another process holds it, or the database refuses what it says."""

from __future__ import annotations

import logging

from django.db import DataError, Error as DatabaseError, IntegrityError, ProgrammingError

from agentsite.host.patience import patient_unit
from agentsite.host.recovery import end_refused
from sessions_app.actions import LeaseLost, RunRef

logger = logging.getLogger(__name__)

REFUSALS = (DataError, IntegrityError, ProgrammingError, TypeError, ValueError)
"""What a write raises whose content is at fault; a lost lease is an `IntegrityError` too."""


async def end_if_refused(ref: RunRef, owner: str, lost: LeaseLost) -> bool:
    """End a run at once that is still ours: every further attempt would write the same."""
    ended = False
    if isinstance(lost.__cause__, REFUSALS):
        try:
            ended = await patient_unit(end_refused, ref, owner)
        except DatabaseError:
            logger.exception("run %s cannot be ended", ref.run_id)
    if ended:
        logger.error("run %s was ended: it cannot be written", ref.run_id, exc_info=lost)
    else:
        logger.warning("run %s was taken over by another process", ref.run_id)
    return ended
