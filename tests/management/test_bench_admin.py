"""What the bench asks of the admin: every list there is, in each of its filters and searches."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import reverse

from agentsite.management.bench.admin import LISTS
from agentsite.management.data.long import LONG

SMALL = {User, Group}
"""Tables of a few rows that people make."""
OF_SCHEDULER = "django_celery_beat"


def names_of(page: Any) -> set[str]:
    """What the list's filters are asked by."""
    found = set()
    for given in page.list_filter:
        if isinstance(given, str):
            found.add(given)
        elif isinstance(given, tuple):
            found.add(given[0])
        else:
            found.add(given.parameter_name.removesuffix("__exact"))
    return found


def test_every_list_of_the_admin_is_measured_in_its_filters_and_searches() -> None:
    lists = 0
    for model, page in admin.site._registry.items():
        meta = model._meta
        if model in SMALL or (meta.app_label == OF_SCHEDULER and meta.model_name != "periodictask"):
            continue
        path = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
        assert "" in LISTS.get(path, ()), path
        lists += 1
        if meta.app_label == OF_SCHEDULER:
            continue
        asked = "&".join(LISTS[path])
        missing = {name for name in names_of(page) if f"{name}=" not in asked.replace("_from_0", "")
                   .replace("__exact", "")}  # fmt: skip
        assert missing <= {"server"}, path
        assert not page.search_fields or "q=" in asked, path
    assert lists > 20


def test_a_timeline_of_twenty_thousand_events_is_measured() -> None:
    assert "20000" in LONG
    assert any("run_5Flong/change" in path for path in LISTS)
