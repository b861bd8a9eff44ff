"""The bus is told when another version of an agent serves, or an edit of it has errors.

Law: a version is told once, whichever process sees it first; what is wrong with an edit, each
process says in its own log as well. In development files are looked at every other second; in
production, where they do not change, once at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.db import Error as DatabaseError, connection, transaction

from agentsite.bus.catalogue import FilesChanged, ManifestChanged, ManifestFailed, encode
from agentsite.bus.models import BusEvent
from agentsite.bus.writing import tell
from agentsite.host.agents import ServedAgents
from agentsite.host.redaction import LOGS
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.problems import ManifestError
from agentsite.rows.tenancy import act_for_all, acting_for_all
from agentsite.rows.units import unit

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
LOCK = 0x6275736D
News = ManifestChanged | ManifestFailed


class ManifestNews:
    """What this process has told of its agents."""

    def __init__(self, agents: ServedAgents) -> None:
        self._agents = agents
        self._told: dict[str, News] = {}
        self.listeners: list[Callable[[str, Bundle], None]] = []
        """Told of each version of an agent that serves from now on, in the unit that found it."""

    async def watch_for_ever(self) -> None:
        """Look, and look again where files may change."""
        act_for_all("agents are no scope's")
        while True:
            try:
                await unit(self.look)
            except DatabaseError as error:  # then what it was to tell is told at the next look
                logger.warning("the event bus could not be written: %s", error)
            else:
                if settings.PRODUCTION:
                    return
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell what is new since the last look. Reads files: for `unit`."""
        for name in self._agents.sources.sources:
            news = self._describe(name)
            if news is not None and self._told.get(name) != news:
                _tell_once(name, news)
                if isinstance(news, ManifestChanged):
                    bundle = self._agents.current(name).bundle
                    for tell in self.listeners:
                        tell(name, bundle)
                else:
                    logger.error("The files of %s have errors: %s", name, news.problem)
                self._told[name] = news

    def _describe(self, name: str) -> News | None:
        try:
            bundle = self._agents.current(name).bundle
        except ManifestError as error:
            return ManifestFailed(LOGS.redactor.text(str(error)))
        problem = self._agents.sources.source(name).problem
        if problem is not None:
            return ManifestFailed(LOGS.redactor.text(problem))
        return ManifestChanged(bundle.version, bundle.hash)


async def tell_file(agent: str, path: str) -> None:
    """Tell staff that a file of an agent has changed; it has, even where nobody can be told."""
    with acting_for_all("an agent's files are no scope's"):
        try:
            await unit(partial(tell, agent, "", FilesChanged(path), audience="staff"))
        except DatabaseError as error:
            logger.warning("the event bus could not be told of %s: %s", path, error)


def _tell_once(agent: str, news: News) -> None:
    """Write it unless it is what was told last, by another process perhaps."""
    audience = "staff" if isinstance(news, ManifestFailed) else "everyone"
    kinds = ("manifest_changed", "manifest_failed")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        rows = BusEvent.objects.filter(agent=agent, type__in=kinds).order_by("-id")
        if rows.values_list("data", flat=True).first() != encode(news).decode():
            tell(agent, "", news, audience=audience)
