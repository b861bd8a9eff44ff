"""The queue of thumbs in the admin."""

from __future__ import annotations

import pytest
from django.test import Client as Browser

from agentsite.operations.feedback import Rated, rate
from agentsite.operations.models import AuditEntry, Feedback
from sessions_app.models import Session
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"


@requirement("ops.feedback")
def test_operators_review_what_people_said(admin_client: Browser) -> None:
    Session.objects.create(id="sess_thumbs", agent="desk")
    key = rate(
        Rated("desk", "", "sess_thumbs", "run_1", "msg_1_1", "down", EVIL, EVIL, "x" * 5000, [], "")
    )
    for path in (
        "/admin/operations/feedback/?reviewed=no",
        f"/admin/operations/feedback/{key}/change/",
    ):
        shown = admin_client.get(path)
        assert shown.status_code == 200
        page = shown.content.decode()
        assert "bad" in page and EVIL not in page
    assert len(Feedback.objects.get(pk=key).response) == 2000
    chosen = {"action": "mark_reviewed", "_selected_action": [str(key)]}
    assert admin_client.post("/admin/operations/feedback/", chosen).status_code == 302
    assert Feedback.objects.get(pk=key).reviewed_by == "admin"
    assert AuditEntry.objects.filter(action="feedback.reviewed").count() == 1
    assert (
        admin_client.get("/admin/operations/feedback/?reviewed=no")
        .content.decode()
        .count("msg_1_1")
        == 0
    )
