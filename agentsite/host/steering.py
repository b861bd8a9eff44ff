"""Messages that join a running loop, at its turn boundaries.

Law: a steering message is a queued run until the loop takes it in, in one commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentsite.host.lifecycle import load_images
from agentsite.rows.units import unit
from sessions_app import queue
from sessions_app.history import Remembered

if TYPE_CHECKING:
    from agentsite.host.driver import Driver


async def absorb_steering(driver: Driver) -> None:
    """Take the messages that wait into the loop, within the driver's step."""
    if not driver.steered:
        return
    driver.steered = False
    session_id = driver.ref.session_id
    waiting = await unit(queue.list_steering, session_id)
    said = tuple(Remembered(0, message) for _, message in waiting)
    driver.conversation.add_images(await unit(load_images, session_id, said))
    for run_id, message in waiting:
        driver.join(message)
        driver.step.write(queue.absorb, run_id, driver.ref.run_id)
