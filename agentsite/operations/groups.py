"""Which group of staff may do what: the one table.

Law: `viewers` see everything, `operators` see and act, `automation editors` edit automations and
see what came of them. Every migration gives the groups what is said here; it takes nothing away
from them. Members need the staff flag besides. The audit log is nobody's to change.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

VIEWERS, OPERATORS, EDITORS = "viewers", "operators", "automation editors"
APPS = ("sessions_app", "memory_app", "stores_app", "automations_app", "operations")
"""Apps whose tables staff work with."""
EVERYTHING = ("view", "add", "change", "delete")
LOOKED_AT = {"auditentry", "usageday", "modelcall"}
"""Tables that nobody changes in the admin."""
RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    VIEWERS: dict.fromkeys(APPS, ("view",)),
    OPERATORS: dict.fromkeys(APPS, EVERYTHING),
    EDITORS: {"automations_app": EVERYTHING, "sessions_app": ("view",)},
}
"""By group and app, the actions on its tables."""


def may(group: str, app: str, action: str, model: str) -> bool:
    """Whether a group has a right on a table."""
    allowed = RIGHTS[group].get(app, ())
    return action in allowed and (action == "view" or model not in LOOKED_AT)


def make_groups(app_config: AppConfig, **_: Any) -> None:
    """Give the groups what they lack of one app; a receiver of `post_migrate`."""
    from django.contrib.auth.models import Group, Permission

    if app_config.label not in APPS:
        return
    rights = Permission.objects.filter(content_type__app_label=app_config.label)
    found = list(rights.values_list("pk", "codename"))
    for name in RIGHTS:
        group, _created = Group.objects.get_or_create(name=name)
        group.permissions.add(
            *(
                pk
                for pk, codename in found
                for action, _sep, model in [codename.partition("_")]
                if may(name, app_config.label, action, model)
            )
        )
