"""Making room: the older part of a session becomes one summary, by the simple model.

Law: originals stay in the rows; the summary is a marker with the positions that it
covers. Whether it helped is measured, not assumed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agentsite.engine import steps
from agentsite.engine.compaction import (
    SUMMARY_INSTRUCTION,
    render_for_summary,
    split_for_compaction,
    summary_message,
)
from agentsite.engine.history import repair
from agentsite.engine.messages import Message, user_message
from agentsite.engine.ports import ModelRequest
from agentsite.engine.transcript import summary_to_api
from agentsite.host.agents import Agent
from agentsite.host.asking import Unanswered, ask_model
from agentsite.host.clock import new_id, now_ms
from agentsite.host.meter import Meter
from sessions_app import actions
from sessions_app.history import Remembered

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
    meter = Meter(driver.purse, "compaction")
    try:
        record = render_for_summary(split.older, limit)
        text = await ask_simply(agent, meter, SUMMARY_INSTRUCTION, record)
    finally:  # when it is cancelled, too
        driver.spend(meter.rows)
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
            compaction_tokens=sum(row.usage.total for row in meter.rows),
            fits=after <= conversation.threshold,
            message=summary_to_api(message.id, message.text, at, driver.ref.run_id),
        )
    )


def _is_summary(item: Remembered) -> bool:
    return item.message.role == "summary"


async def ask_simply(
    agent: Agent, meter: Meter, instruction: str, text: str, max_tokens: int = SUMMARY_TOKENS
) -> str:
    """One question to the simple model; an empty answer when it failed. The meter has its cost."""
    request = ModelRequest(
        system=instruction, messages=(user_message(text),), max_tokens=max_tokens
    )
    try:
        answer = await ask_model(agent.models("simple"), request, meter, SUMMARY_SECONDS)
    except Unanswered as problem:
        logger.warning("%s by the simple model failed: %s", meter.purpose, problem)
        return ""
    return agent.redactor.text(answer.text.strip())
