"""The project itself as a Django app: it carries the commands and the system checks."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register


class AgentsiteConfig(AppConfig):
    name = "agentsite"
    verbose_name = "Agent site"

    def ready(self) -> None:
        """Have `check` and `up` read the agents."""
        register(check_agents, "agent")


def check_agents(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Read the agents; what that takes to import waits until somebody asks (see `checks.py`)."""
    from agentsite import checks

    return checks.check_agents(app_configs, **kwargs)
