"""The admin's pages of automations: what operators look for, foreign text as text."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client as Browser

from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    InboundDelivery,
    Occurrence,
)
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"


@requirement("automations.admin")
def test_every_page_shows_its_rows_and_runs_nothing(admin_client: Browser) -> None:
    automation = Automation.objects.create(
        agent="a", name="nightly", title="Night", prompt=EVIL, trigger="webhook",
        webhook_secret="hidden-secret", target_secrets='{"delivery.0": {"secret": "also"}}',
    )  # fmt: skip
    due = Occurrence.objects.create(automation=automation, due_at=dt.datetime.now(dt.UTC))
    inbound = InboundDelivery.objects.create(automation=automation, body=b"raw-body", headers={})
    run = AutomationRun.objects.create(
        id="arun_1", automation=automation, cause="webhook", inbound=inbound, occurrence=due,
        output=EVIL, event=EVIL, status="failed", error=EVIL,
    )  # fmt: skip
    sent = Delivery.objects.create(
        id="msg_1",
        automation_run=run,
        automation=automation,
        target_type="webhook",
        payload={"x": EVIL},
    )
    for row in (automation, due, inbound, run, sent):
        kind = f"/admin/automations_app/{row._meta.model_name}/"
        for path in (kind, f"{kind}{row.pk}/change/"):
            shown = admin_client.get(path)
            assert shown.status_code == 200, path
            page = shown.content.decode()
            assert "nightly" in page and EVIL not in page, path
            assert "hidden-secret" not in page and "raw-body" not in page, path
        assert admin_client.get(f"{kind}add/").status_code == 403
