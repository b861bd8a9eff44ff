"""Files of automations as rows: defaults that staff may change, and secrets that stay sealed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsite.manifest.automations import AutomationFile, AutomationSpec
from agentsite.operations.models import AuditEntry
from automations_app.models import Automation
from automations_app.sync import FILE_GONE, sync_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
AGENT = "synced"
HOOK = {
    "webhookAuth": {"secret": "inbound-secret", "header": "X-Hub-Signature-256"},
    "delivery": {
        "targets": [
            {"type": "webhook", "url": "https://a.example/in", "secret": "outbound-secret"},
            {"type": "slack", "url": "https://hooks.example/T/secret-path"},
            {"type": "email", "to": ["a@example.com"]},
            {"type": "webhook", "url": "https://b.example/named-in-env"},
        ],
        "template": "{{result}}",
    },
    "failureAlert": {"after": 2, "targets": [{"type": "email", "to": ["b@example.com"]}]},
}


def file(name: str, **keys: Any) -> AutomationFile:
    return AutomationFile(name, AutomationSpec(**{"title": "T", "prompt": "P", **keys}))


def load(*files: AutomationFile, secrets: frozenset[str] = frozenset()) -> None:
    sync_agent(AGENT, files, secrets)


def row(name: str) -> Automation:
    return Automation.objects.get(agent=AGENT, name=name)


@requirement("automations.files")
def test_a_file_becomes_a_row_and_its_changes_follow() -> None:
    load(file("daily", schedule="0 9 * * 1-5", timezone="Europe/Berlin", scope="each"))
    made = row("daily")
    assert (made.origin, made.trigger, made.partition) == ("file", "cron", "each")
    assert made.periodic_task is not None and made.armed_since is not None
    before = made.updated_at
    load(file("daily", schedule="0 9 * * 1-5", timezone="Europe/Berlin", scope="each"))
    assert row("daily").updated_at == before
    load(file("daily", schedule="0 10 * * *", title="Later", writeEnabled=True))
    made = row("daily")
    assert (made.schedule, made.timezone, made.title) == ("0 10 * * *", "", "Later")
    assert made.write_enabled is True and made.changed == []


@requirement("automations.files")
def test_what_staff_changed_here_survives_the_next_load() -> None:
    load(file("kept"))
    changed = Automation.objects.filter(agent=AGENT, name="kept")
    changed.update(prompt="Mine", changed=["prompt"], paused=True, pause_reason="by me")
    load(file("kept", prompt="Theirs", title="New"))
    made = row("kept")
    assert (made.prompt, made.title, made.paused) == ("Mine", "New", True)
    assert made.file_values["prompt"] == "Theirs"


@requirement("automations.files")
def test_a_file_for_what_staff_had_made_leaves_it_as_it_is() -> None:
    Automation.objects.create(agent=AGENT, name="made", title="T", prompt="Mine")
    load(file("made", prompt="Theirs"))
    made = row("made")
    assert (made.origin, made.prompt, made.changed) == ("file", "Mine", ["prompt"])


@requirement("automations.file-gone")
def test_a_vanished_file_pauses_its_row_until_it_is_back() -> None:
    Automation.objects.create(agent=AGENT, name="ours", title="T", prompt="P")
    load(file("gone", schedule="0 9 * * *"), file("stays"))
    load(file("stays"))
    made = row("gone")
    assert (made.paused, made.pause_reason, made.file_values) == (True, FILE_GONE, None)
    assert made.periodic_task is not None and made.periodic_task.enabled is False
    assert not row("stays").paused and not row("ours").paused
    load(file("gone", schedule="0 9 * * *"), file("stays"))
    made = row("gone")
    assert (made.paused, made.pause_reason) == (False, "")
    load(file("stays"))
    Automation.objects.filter(pk=made.pk).update(paused=False, pause_reason="")
    load(file("stays"))
    assert not row("gone").paused


@requirement("automations.files", "automations.file-gone")
def test_what_a_file_changes_stands_in_the_log_without_secrets() -> None:
    load(file("told", schedule="0 9 * * *", **{"delivery": HOOK["delivery"]}))
    load(file("told", schedule="0 9 * * *", title="New", **{"delivery": HOOK["delivery"]}))
    load(file("told", schedule="0 9 * * *", title="New", **{"delivery": HOOK["delivery"]}))
    load()
    load(file("told", schedule="0 9 * * *", title="New", **{"delivery": HOOK["delivery"]}))
    entries = AuditEntry.objects.filter(subject=str(row("told").pk)).order_by("number")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("the file", f"automation.{verb}") for verb in ("created", "changed", "paused", "resumed")
    ]
    told = [json.loads(entry.details) for entry in entries]
    assert (told[1]["before"], told[1]["after"]) == ({"title": "T"}, {"title": "New"})
    assert told[2]["after"] == {"paused": True, "reason": FILE_GONE}
    assert told[0]["after"]["target_secrets"] == "changed"
    assert "outbound-secret" not in json.dumps(told) and "secret-path" not in json.dumps(told)


@requirement("automations.file-secrets")
def test_secrets_of_a_file_stand_sealed_and_nowhere_else() -> None:
    load(file("hook", **HOOK), secrets=frozenset({"https://b.example/named-in-env"}))
    made = row("hook")
    assert made.trigger == "webhook" and made.webhook_secret.open() == "inbound-secret"
    assert made.webhook_auth == {
        "type": "hmac-sha256", "header": "X-Hub-Signature-256", "tolerance": 300
    }  # fmt: skip
    assert json.loads(made.target_secrets.open()) == {
        "delivery.0": {"secret": "outbound-secret"},
        "delivery.1": {"url": "https://hooks.example/T/secret-path"},
        "delivery.3": {"url": "https://b.example/named-in-env"},
    }
    shown = json.dumps([made.webhook_auth, made.delivery, made.failure_alert, made.file_values])
    for secret in ("inbound-secret", "outbound-secret", "secret-path", "named-in-env"):
        assert secret not in shown
    before = made.updated_at
    load(file("hook", **HOOK), secrets=frozenset({"https://b.example/named-in-env"}))
    assert row("hook").updated_at == before
    other = {**HOOK, "webhookAuth": {**HOOK["webhookAuth"], "secret": "another"}}
    load(file("hook", **other), secrets=frozenset({"https://b.example/named-in-env"}))
    assert row("hook").webhook_secret.open() == "another"
