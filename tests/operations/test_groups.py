"""Viewers see, operators act, automation editors edit automations."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import RequestFactory

from agentsite.operations.groups import APPS, RIGHTS
from tests.requirements import requirement

pytestmark = pytest.mark.django_db


def member(group: str) -> User:
    """A member of staff in one group."""
    user = User.objects.create_user(group.replace(" ", "-"), is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


def pages() -> list[admin.ModelAdmin]:  # type: ignore[type-arg]
    """Those of our own tables."""
    return [page for model, page in admin.site._registry.items() if model._meta.app_label in APPS]


def allowed(user: User, what: str) -> set[str]:
    """The tables on which a user may do something."""
    request = RequestFactory().get("/admin/")
    request.user = user
    return {
        page.opts.model_name or ""
        for page in pages()
        if getattr(page, f"has_{what}_permission")(request)
    }


@requirement("runs.groups")
def test_viewers_see_every_table_and_change_none() -> None:
    viewer = member("viewers")
    assert allowed(viewer, "view") == {page.opts.model_name for page in pages()}
    assert not allowed(viewer, "add") | allowed(viewer, "change") | allowed(viewer, "delete")


@requirement("runs.groups")
def test_operators_act_and_nobody_changes_the_log_of_it() -> None:
    operator = member("operators")
    assert allowed(operator, "view") == {page.opts.model_name for page in pages()}
    assert {"scope", "apikey", "budget", "priceoverride"} <= allowed(operator, "change")
    for what in ("add", "change", "delete"):
        assert "auditentry" not in allowed(operator, what)
        assert not operator.has_perm(f"operations.{what}_auditentry")
        assert not operator.has_perm(f"sessions_app.{what}_modelcall")


@requirement("runs.groups")
def test_automation_editors_have_automations_alone() -> None:
    editor = member("automation editors")
    permissions = editor.get_all_permissions()
    changing = {each for each in permissions if ".view_" not in each}
    assert changing and all(each.startswith("automations_app.") for each in changing)
    assert "sessions_app.view_run" in permissions
    assert "memory_app.view_memoryentry" not in permissions


def test_the_groups_are_those_of_the_table() -> None:
    assert set(RIGHTS) <= set(Group.objects.values_list("name", flat=True))
