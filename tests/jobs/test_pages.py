"""celery-beat's rows in the admin: one's own can be changed, ours can be seen."""

from __future__ import annotations

import pytest
from django.test import Client
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from agentsite.celery import ENTRIES, app
from agentsite.jobs.scheduler import LeaderScheduler
from automations_app.clock import arm
from automations_app.models import Automation
from tests.requirements import requirement

TASKS = "/admin/django_celery_beat/periodictask/"
CRONTABS = "/admin/django_celery_beat/crontabschedule/"


@pytest.fixture
def ours(db: None) -> PeriodicTask:
    """Of an automation."""
    automation = Automation.objects.create(
        agent="desk", name="report", prompt="Go.", trigger="cron", schedule="0 9 * * *"
    )
    arm(automation)
    return PeriodicTask.objects.get(pk=automation.periodic_task_id)


@pytest.fixture
def theirs(db: None) -> PeriodicTask:
    """Of an operator's."""
    every = IntervalSchedule.objects.create(every=1, period="hours")
    return PeriodicTask.objects.create(name="mine", task="their.task", interval=every)


@requirement("automations.beat-rows")
def test_operators_see_what_beat_sends(
    admin_client: Client, ours: PeriodicTask, theirs: PeriodicTask
) -> None:
    page = admin_client.get(TASKS).content.decode()
    assert ours.name in page
    assert theirs.name in page
    seen = admin_client.get(f"{TASKS}{ours.pk}/change/")
    assert seen.status_code == 200
    assert 'name="_save"' not in seen.content.decode()
    for model in ("periodictask", "crontabschedule", "intervalschedule", "clockedschedule",
                  "solarschedule"):  # fmt: skip
        assert admin_client.get(f"/admin/django_celery_beat/{model}/add/").status_code == 200


def test_ours_cannot_be_changed_there(
    admin_client: Client, ours: PeriodicTask, theirs: PeriodicTask
) -> None:
    assert admin_client.post(f"{TASKS}{ours.pk}/change/", {"name": "x"}).status_code == 403
    assert admin_client.post(f"{TASKS}{ours.pk}/delete/", {"post": "yes"}).status_code == 403
    crontab = f"{CRONTABS}{ours.crontab_id}/"
    assert admin_client.post(f"{crontab}change/", {"minute": "1"}).status_code == 403
    assert admin_client.post(f"{crontab}delete/", {"post": "yes"}).status_code == 403
    both = [ours.pk, theirs.pk]
    admin_client.post(TASKS, {"action": "disable_tasks", "_selected_action": both})
    switched = dict(PeriodicTask.objects.filter(pk__in=both).values_list("pk", "enabled"))
    assert switched == {ours.pk: True, theirs.pk: False}

    def delete(page: str, chosen: list[int]) -> int:
        data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
        return admin_client.post(page, data).status_code

    assert delete(TASKS, both) == 403
    assert delete(CRONTABS, [ours.crontab_id]) == 403
    assert CrontabSchedule.objects.filter(pk=ours.crontab_id).exists()
    assert delete(TASKS, [theirs.pk]) == 302
    assert list(PeriodicTask.objects.filter(pk__in=both)) == [ours]


def test_ones_own_can_be_changed_there(admin_client: Client, theirs: PeriodicTask) -> None:
    given = {
        "name": "renamed", "task": "their.task", "interval": theirs.interval_id, "args": "[]",
        "kwargs": "{}", "enabled": "on", "headers": "{}", "description": "",
    }  # fmt: skip
    saved = admin_client.post(f"{TASKS}{theirs.pk}/change/", given)
    assert saved.status_code == 302, saved.content.decode()
    theirs.refresh_from_db()
    assert theirs.name == "renamed"


@pytest.mark.django_db(transaction=True)
@requirement("automations.beat-rows")
def test_the_regular_work_of_the_site_is_seen(admin_client: Client) -> None:
    """Every entry is a row that beat has made, of a task that workers know."""
    app.loader.import_default_modules()
    beat = LeaderScheduler(app)
    beat.setup_schedule()
    shown = admin_client.get(TASKS).content.decode()
    for name, entry in ENTRIES.items():
        assert name in shown
        assert entry["task"] in app.tasks
        assert PeriodicTask.objects.get(name=name).enabled
