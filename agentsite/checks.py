"""System checks: the agents that would be served are read, and every problem is told at once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from agentsite.manifest.env import read_environ
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import Agents


def check_agents(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """One error for each problem of a manifest, one warning for each doubt."""
    found: list[CheckMessage] = []
    try:
        agents = Agents.discover(
            read_environ,
            agent_dir=settings.AGENT_DIR,
            agents_dir=settings.AGENTS_DIR,
            production=settings.PRODUCTION,
        )
    except ManifestError as error:
        return [Error(str(problem), id="agent.E001") for problem in error.problems]
    for source in agents.sources.values():
        try:
            bundle = source.current()
        except ManifestError as error:
            found += [Error(str(problem), id="agent.E001") for problem in error.problems]
        else:
            found += [Warning(str(doubt), id="agent.W001") for doubt in bundle.warnings]
    return found
