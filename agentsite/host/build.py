"""From a run as the database knows it to the driver that goes on with it."""

from __future__ import annotations

import asyncio

from agentsite.host.children import Children
from agentsite.host.conversation import Conversation
from agentsite.host.driver import Driver
from agentsite.host.journal import Journal, RunLog
from agentsite.host.ledger import Ledger
from agentsite.host.lifecycle import OpenedRun
from agentsite.host.purse import Purse
from agentsite.operations.budgets import Payer


def build_driver(opened: OpenedRun, journal: Journal, ledger: Ledger) -> Driver:
    """The driver of a run that was begun or taken over."""
    ref = opened.ref
    conversation = Conversation(
        agent=opened.agent,
        session_id=ref.session_id,
        run_id=ref.run_id,
        scope_id=ref.scope_id,
        request=opened.request,
        history=opened.history,
        images=opened.images,
        session_usage=opened.session_usage,
        assistant_messages=opened.assistant_messages,
        message_ids=opened.message_ids,
        seconds_used=opened.seconds_used,
        memory=opened.memory,
        sealed=opened.sealed,
        persona=opened.persona,
    )
    payer = Payer(opened.agent.id, ref.scope_id, ref.run_id, ref.attempt, opened.request.key)
    begun = asyncio.Event()
    driver = Driver(
        conversation,
        opened.state,
        journal,
        RunLog(ref, opened.last_seq, opened.block_end),
        children=Children,
        purse=Purse(ledger, opened.agent, payer, begun=begun),
        begun=begun,
        usage=opened.spent,
        cost_micros=opened.spent_micros,
    )
    driver.purpose = opened.request.purpose
    return driver
