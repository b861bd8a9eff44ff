"""What staff change of automations: the file's own checks, kept secrets, history, no lost edits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from agentsite.manifest.automations import AutomationFile, AutomationSpec
from agentsite.operations.models import AuditEntry
from automations_app.models import Automation
from automations_app.staff import editing
from automations_app.staff.forms import AutomationForm, NewAutomationForm, read_initial
from automations_app.sync import sync_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
AGENT = "edited"
HOOK: dict[str, Any] = {
    "title": "T",
    "prompt": "P",
    "webhookAuth": {"secret": "inbound-secret", "type": "slack"},
    "delivery": {"targets": [{"type": "slack", "url": "https://hooks.example/T/hidden-path"}]},
}


def load(**keys: Any) -> None:
    """The agent's one file."""
    sync_agent(AGENT, (AutomationFile("it", AutomationSpec(**{**HOOK, **keys})),))


def row() -> Automation:
    return Automation.objects.get(agent=AGENT, name="it")


def fill(of: Automation, **changes: Any) -> AutomationForm:
    """The form as a browser sends it back, with some fields changed."""
    shown = AutomationForm(row=of)
    sent = {name: shown[name].value() for name in shown.fields}
    given = {
        name: value for name, value in {**sent, **changes}.items() if value not in (None, False)
    }
    return AutomationForm(given, row=of)


def person() -> User:
    return User.objects.create(username="editor")


@requirement("automations.staff-edit")
def test_secrets_are_never_shown_and_stay_where_nothing_new_is_given() -> None:
    load()
    assert "hidden" not in json.dumps(read_initial(row()))
    form = fill(row(), title="New")
    assert form.is_valid(), form.errors
    assert editing.change(row(), form.columns, row().updated_at, person()) == ["title"]
    kept = row()
    assert kept.webhook_secret is not None and kept.webhook_secret.open() == "inbound-secret"
    assert kept.target_secrets is not None and "hidden-path" in kept.target_secrets.open()
    told = "".join(LogEntry.objects.values_list("change_message", flat=True))
    told += json.dumps(list(AuditEntry.objects.values_list("details", flat=True)))
    assert "title" in told and "inbound-secret" not in told and "hidden-path" not in told


@requirement("automations.staff-edit", "automations.webhook-dialects")
@pytest.mark.parametrize(
    "auth",
    [
        {"type": "hmac-sha256"},
        {"type": "hmac-sha256", "header": "X-Hub-Signature-256", "prefix": "sha256="},
        *({"type": name, "tolerance": 60} for name in ("standard-webhooks", "stripe", "slack")),
    ],
)
def test_a_webhook_of_every_dialect_can_be_edited(auth: dict[str, Any]) -> None:
    load(webhookAuth={**auth, "secret": "inbound-secret"})
    before = row().webhook_auth
    form = fill(row(), title="New")
    assert form.is_valid(), form.errors
    assert editing.change(row(), form.columns, row().updated_at, person()) == ["title"]
    assert row().webhook_auth == before


@requirement("automations.staff-edit", "automations.webhook-dialects")
@pytest.mark.parametrize("prefix", [None, "", "HMAC "])
def test_what_stands_before_a_signature_is_kept_as_it_is(prefix: str | None) -> None:
    told = {} if prefix is None else {"prefix": prefix}
    load(webhookAuth={"secret": "inbound-secret", **told})
    before = row().webhook_auth
    form = fill(row(), title="New")
    assert form.is_valid(), form.errors
    assert editing.change(row(), form.columns, row().updated_at, person()) == ["title"]
    assert row().webhook_auth == before
    for wanted in ("v1 ", ""):
        form = fill(row(), auth_prefix=wanted)
        assert form.is_valid(), form.errors
        assert form.columns["webhook_auth"]["prefix"] == wanted


@requirement("automations.staff-edit", "automations.files")
def test_lines_that_a_browser_sends_are_those_of_the_file() -> None:
    load(prompt="One\nTwo")
    form = fill(row(), title="New", prompt="One\r\nTwo")
    assert form.is_valid(), form.errors
    assert editing.change(row(), form.columns, row().updated_at, person()) == ["title"]
    load(prompt="One\r\nThree")
    assert (row().prompt, row().changed) == ("One\nThree", ["title"])


@requirement("automations.staff-edit", "automations.file-secrets")
def test_an_edited_delivery_leaves_the_alerts_secrets_to_the_file_and_the_other_way_round() -> None:
    def of(path: str) -> dict[str, Any]:
        return {"targets": [{"type": "slack", "url": f"https://hooks.example/{path}"}]}

    def taken() -> dict[str, str]:
        sealed = row().target_secrets
        assert sealed is not None
        kept = json.loads(sealed.open())
        return {name: target["url"].rpartition("/")[2] for name, target in kept.items()}

    user = person()
    for ours, theirs in (("delivery", "failure_alert"), ("failure_alert", "delivery")):
        load(delivery=of("file"), failureAlert=of("file"))
        form = fill(row(), **{ours: json.dumps(of("ours"))})
        assert form.is_valid(), form.errors
        editing.change(row(), form.columns, row().updated_at, user)
        assert row().changed == [ours]
        load(delivery=of("newer"), failureAlert=of("newer"))
        assert taken() == {f"{ours}.0": "ours", f"{theirs}.0": "newer"}
        editing.forget_changes(row(), user)
        load(delivery=of("file"), failureAlert=of("file"))
        assert (row().changed, set(taken().values())) == ([], {"file"})


@requirement("automations.staff-edit")
def test_a_new_secret_takes_the_place_of_the_old_one() -> None:
    load()
    form = fill(row(), auth_secret="another")
    assert form.is_valid(), form.errors
    assert editing.change(row(), form.columns, row().updated_at, person()) == ["webhook_secret"]
    changed = row().webhook_secret
    assert changed is not None and changed.open() == "another"


@requirement("automations.staff-edit")
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("schedule", {"trigger": "cron", "schedule": "61 * * * *"}),
        ("timezone", {"trigger": "cron", "schedule": "0 9 * * *", "timezone": "Mars/Base"}),
        ("delivery", {"delivery": '{"targets": [{"type": "pigeon"}]}'}),
        ("delivery", {"delivery": "{broken"}),
        ("failure_alert", {"failure_alert": '{"after": 0, "targets": []}'}),
        ("title", {"title": ""}),
    ],
)
def test_what_is_wrong_is_told_at_its_field(field: str, given: dict[str, Any]) -> None:
    load()
    form = fill(row(), **given)
    assert not form.is_valid()
    assert field in form.errors


@requirement("automations.staff-edit", "automations.files")
def test_an_edit_is_marked_survives_the_file_and_ends_when_it_is_the_files_again() -> None:
    load()
    user = person()
    form = fill(row(), prompt="Ours")
    assert form.is_valid()
    editing.change(row(), form.columns, row().updated_at, user)
    load(title="Newer")
    assert (row().prompt, row().title, row().changed) == ("Ours", "Newer", ["prompt"])
    form = fill(row(), prompt="P")
    assert form.is_valid()
    editing.change(row(), form.columns, row().updated_at, user)
    assert row().changed == []
    form = fill(row(), prompt="Ours again")
    assert form.is_valid()
    editing.change(row(), form.columns, row().updated_at, user)
    editing.forget_changes(row(), user)
    load(title="Newer")
    assert (row().prompt, row().changed) == ("P", [])


@requirement("automations.staff-edit")
def test_of_two_who_edit_at_once_the_second_is_told() -> None:
    load()
    seen = row().updated_at
    first, second = fill(row(), title="First"), fill(row(), title="Second")
    assert first.is_valid() and second.is_valid()
    user, before = person(), row()
    editing.change(row(), first.columns, seen, user)
    with pytest.raises(editing.Outdated):
        editing.change(before, second.columns, seen, user)
    assert row().title == "First"


@requirement("automations.staff-edit")
def test_a_new_one_needs_a_name_that_is_free() -> None:
    load()
    given = {"agent": AGENT, "title": "T", "prompt": "P", "trigger": "manual"}
    bad = NewAutomationForm({**given, "name": "with space"}, agents=[AGENT])
    assert not bad.is_valid() and "name" in bad.errors
    form = NewAutomationForm({**given, "name": "it"}, agents=[AGENT])
    assert form.is_valid(), form.errors
    with pytest.raises(editing.NameTaken):
        editing.create(AGENT, "it", form.columns, person())
    user = User.objects.get(username="editor")
    key = editing.create(AGENT, "other", form.columns, user)
    assert Automation.objects.get(pk=key).origin == Automation.Origin.STAFF
    assert LogEntry.objects.filter(object_id=str(key)).count() == 1
