"""Operations, as rows."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OperationsConfig(AppConfig):
    name = "agentsite.operations"
    verbose_name = "Operations"

    def ready(self) -> None:
        """Let every migration leave the groups as `groups.py` says."""
        from agentsite.operations.groups import make_groups

        post_migrate.connect(make_groups, dispatch_uid="agentsite groups")
