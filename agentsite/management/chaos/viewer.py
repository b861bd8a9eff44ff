"""Somebody who only watches a session, from its beginning, on ever other processes."""

from __future__ import annotations

import asyncio
import random

from agentsite.management.chaos.asking import Asking
from agentsite.management.chaos.recording import Recording
from agentsite.management.chaos.world import World


async def watch(world: World, rng: random.Random, recording: Recording) -> None:
    """Follow until cancelled."""
    asking = Asking(world, rng)
    while True:
        ending = await asking.resume(recording, lambda frame: False)
        world.met[f"streams {ending}"] += 1
        await asyncio.sleep(rng.uniform(0, 0.3))
