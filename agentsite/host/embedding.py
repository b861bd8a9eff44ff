"""Documents get their vectors: claimed in one transaction, embedded in none, stored in another.

Law: rows are the queue. A document whose vector is still to come is found by all other
searches; what fails is tried again after a growing pause, for as long as the document lives.
"""

from __future__ import annotations

import asyncio
import logging
import time

from django.db import Error as DatabaseError

from agentsite.engine.ports import ModelName
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.ledger import Ledger
from agentsite.host.paying import ScopePays
from agentsite.host.purse import BudgetSpent
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.stores import StoreSpec
from agentsite.providers.base import ProviderError
from agentsite.providers.embedding import AT_ONCE, Embedded, embed
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from sessions_app.scopes import open_all, read_sealed
from stores_app import vectors
from stores_app.vectors import Waiting

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks for documents whose pause is over."""
BACKFILL_SECONDS = 60.0


class Embedding:
    """This process's share of the work."""

    def __init__(self, agents: ServedAgents, ledger: Ledger) -> None:
        self._agents, self._ledger = agents, ledger
        self._wake = asyncio.Event()
        self._filled_at = -BACKFILL_SECONDS

    def wake(self) -> None:
        """Documents may have been written."""
        self._wake.set()

    async def work_for_ever(self) -> None:
        """Embed what waits, whenever something was written and now and then."""
        act_for_all("documents of every scope get vectors")
        while True:
            self._wake.clear()
            wanted = [agent for agent in self._agents.latest().values() if wants(agent)]
            try:
                await self._backfill(wanted)
                for agent in wanted:
                    await self._serve(agent)
            except DatabaseError as error:
                logger.warning("documents could not be embedded, trying again: %s", error)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _backfill(self, agents: list[Agent]) -> None:
        if not agents or time.monotonic() - self._filled_at < BACKFILL_SECONDS:
            return
        found = [await unit(vectors.backfill, agent.id, agent.bundle.stores) for agent in agents]
        if max(found) < vectors.BACKFILL:  # else there is more of it
            self._filled_at = time.monotonic()

    async def _serve(self, agent: Agent) -> None:
        specs = [spec for spec in agent.bundle.stores if spec.embed]
        for spec in specs:
            while await self._embed_some(agent, spec):
                pass

    async def _embed_some(self, agent: Agent, spec: StoreSpec) -> bool:
        """Embed one bundle of documents; False when there is nothing to do now."""
        model = agent.bundle.config.models.embedding
        if model is None:
            return False
        waiting = await unit(vectors.claim, agent.id, spec, model.label, AT_ONCE)
        empty = [each for each in waiting if not each.text]
        if empty:
            await unit(vectors.forget, empty)
        waiting = [each for each in waiting if each.text]
        if not waiting:
            return bool(empty)
        done = False
        for scope_id in dict.fromkeys(each.scope_id for each in waiting):  # each pays its own
            pay = ScopePays(self._ledger, agent, scope_id)
            mine = [each for each in waiting if each.scope_id == scope_id]
            texts = await unit(_clean, agent, scope_id, mine)
            done = await _embed_all(agent, model, mine, texts, pay) or done
        return done


def _clean(agent: Agent, scope_id: str, waiting: list[Waiting]) -> list[str]:
    """What is sent of each: a credential may be younger than a document that holds it."""
    redactor = agent.redactor_with(open_all(read_sealed(agent.id, scope_id)))
    return [redactor.text(each.text) for each in waiting]


async def _embed_all(
    agent: Agent, model: ModelConfig, waiting: list[Waiting], texts: list[str], pay: ScopePays
) -> bool:
    async def make(_most: int | None) -> Embedded:
        return await embed(model, texts)

    try:
        name = ModelName(model.provider, model.model)
        found = await pay("embedding", name, "\n".join(texts), make)
    except ProviderError as error:
        if error.kind in ("bad_request", "context_overflow") and len(waiting) > 1:
            # One of them is at fault, and the others shall not wait for it.
            for each, text in zip(waiting, texts, strict=True):
                await _embed_all(agent, model, [each], [text], pay)
            return True
        await _wait(agent, waiting, str(error))
        return False
    except BudgetSpent as spent:
        await _wait(agent, waiting, str(spent))
        return False
    await unit(vectors.keep, waiting, found, model.label)
    return True


async def _wait(agent: Agent, waiting: list[Waiting], problem: str) -> None:
    logger.warning("%d documents of %s wait for vectors: %s", len(waiting), agent.id, problem)
    await unit(vectors.give_back, waiting, problem)


def wants(agent: Agent) -> bool:
    """Whether any store of an agent asks for vectors."""
    return any(spec.embed for spec in agent.bundle.stores)
