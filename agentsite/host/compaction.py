"""Making room: the older part of a session becomes one summary, by the simple model.

Law: originals stay in the rows; the summary is a marker with the positions that it
covers. Whether it helped is measured, not assumed.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from agentsite.engine import steps
from agentsite.engine.assemble import Assembly
from agentsite.engine.compaction import (
    SUMMARY_INSTRUCTION,
    render_for_summary,
    split_for_compaction,
    summary_message,
)
from agentsite.engine.history import repair
from agentsite.engine.messages import Message, user_message
from agentsite.engine.ports import ModelRequest, Purpose
from agentsite.engine.transcript import summary_to_api
from agentsite.host.agents import Agent
from agentsite.host.answer import Meter
from agentsite.host.clock import new_id, now_ms
from agentsite.providers.base import ProviderError
from agentsite.providers.fallback import stream_with_fallback
from sessions_app import actions
from sessions_app.history import Remembered
from sessions_app.metering import FinishedCall

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

logger = logging.getLogger(__name__)

SUMMARY_TOKENS = 4_000
SUMMARY_SECONDS = 90.0
CHARS_PER_TOKEN = 3
"""Pessimistic, so that the record fits the summariser's own window."""


class Summary(msgspec.Struct, frozen=True):
    """A summary that is ready to be recorded."""

    message: Message
    covers_until: int
    at: int
    history: tuple[Remembered, ...]
    """The history without what it covers, the summary not yet in front."""

    def record(self, driver: Driver, position: int) -> None:
        """Add it to the driver's step; `position` is the number of its event."""
        driver.step.write(
            actions.record_message,
            driver.ref,
            self.message,
            position=position,
            at=self.at,
            covers_until=self.covers_until,
        )
        driver.conversation.summarise(Remembered(position, self.message), self.history)


async def compact(driver: Driver) -> None:
    """Summarise the older part; posts `Compacted` or `CompactionFailed`."""
    conversation = driver.conversation
    before = conversation.last_estimate
    history = conversation.history
    split = split_for_compaction(repair([item.message for item in history]), conversation.window)
    if not split.older:
        driver.post(steps.Compacted(before, before, 0, fits=False))
        return
    agent = conversation.agent
    limit = int(agent.window("simple") * CHARS_PER_TOKEN * 0.8) - SUMMARY_TOKENS
    text, rows = await ask_simply(
        agent, "compaction", SUMMARY_INSTRUCTION, render_for_summary(split.older, limit)
    )
    driver.spend(rows)
    if not text:
        driver.post(steps.CompactionFailed())
        return
    cut = next(item.position for item in history if item.message.id == split.recent[0].id)
    message, at = summary_message(text, new_id("msg")), now_ms()
    kept = tuple(item for item in history if item.position >= cut and not _is_summary(item))
    driver.summary = Summary(message, cut - 1, at, kept)
    after = conversation.estimate_history((Remembered(0, message), *kept))
    driver.post(
        steps.Compacted(
            tokens_before=before,
            tokens_after=after,
            compaction_tokens=sum(row.usage.total for row in rows),
            fits=after <= conversation.threshold,
            message=summary_to_api(message.id, message.text, at, driver.ref.run_id),
        )
    )


def _is_summary(item: Remembered) -> bool:
    return item.message.role == "summary"


async def ask_simply(
    agent: Agent, purpose: Purpose, instruction: str, text: str, max_tokens: int = SUMMARY_TOKENS
) -> tuple[str, list[FinishedCall]]:
    """One question to the simple model; an empty answer when it failed. Plus what it cost."""
    request = ModelRequest(
        system=instruction, messages=(user_message(text),), max_tokens=max_tokens
    )
    meter, assembly = Meter(agent, purpose, 0), Assembly()
    try:
        async with asyncio.timeout(SUMMARY_SECONDS):
            asked = stream_with_fallback(agent.models("simple"), request, meter)
            async with aclosing(asked) as stream:
                async for batch in stream:
                    meter.saw_delta()
                    assembly.feed(batch)
    except (ProviderError, TimeoutError) as error:
        logger.warning("%s by the simple model failed: %s", purpose, error)
        meter.close(assembly.usage, error.kind if isinstance(error, ProviderError) else "timeout")
        return "", meter.rows
    meter.close(assembly.usage)
    return assembly.text.strip(), meter.rows
