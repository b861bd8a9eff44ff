"""Every table is either a tenant's or known not to be; a partition is exported and erased whole."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, models
from django.test import Client

from agentsite.operations.models import AuditEntry
from agentsite.rows import tenants
from agentsite.rows.secrets import Sealed, renew_all
from agentsite.rows.tenants import erase_partition, export_partition, tenant_tables
from sessions_app.models import Session, Subagent, ToolCall
from sessions_app.scopes import Scope, ScopeCredential, open_credential, save_credentials
from tests.requirements import requirement

NO_TENANTS = {
    "sessions_app.apikey": "a key may act for many scopes",
    "automations_app.automation": "belongs to an agent",
    "automations_app.occurrence": "belongs to an agent's automation",
    "operations.auditentry": "a chain for operators alone, which nobody may cut",
    "operations.evalresult": "what an agent came to in a scope of its own",
    "operations.evalrun": "evals belong to an agent",
    "operations.mcpserver": "belongs to an agent",
    "operations.priceoverride": "a price is the vendor's",
    "sessions_app.agentday": "what all scopes of an agent cost together",
    "sessions_app.keyday": "a key may act for many scopes",
    "operations.pinnedtool": "belongs to an agent's server",
    "signin.signinlink": "staff",
}
OURS = ("sessions_app", "stores_app", "memory_app", "automations_app")
pytestmark = pytest.mark.django_db


def is_ours(model: type[models.Model]) -> bool:
    return model.__module__.startswith(("agentsite.", *OURS))


@requirement("scope.export", "scope.erase")
def test_every_table_is_decided_about() -> None:
    ours = {model._meta.label_lower for model in apps.get_models() if is_ours(model)}
    tenants = {table.model._meta.label_lower for table in tenant_tables()}
    assert tenants | set(NO_TENANTS) == ours
    assert not tenants & set(NO_TENANTS)
    named = {
        model._meta.label_lower
        for model in apps.get_models()
        if any(field.name == "scope_id" for field in model._meta.concrete_fields)
    }
    assert named <= tenants


def fill(agent: str, scope_id: str) -> dict[str, int]:
    """One row in every tenant table, with whatever it needs; how many there are of each."""
    made: dict[type[models.Model], models.Model] = {}

    def make(model: type[models.Model]) -> models.Model:
        if model not in made:
            given: dict[str, Any] = {}
            for field in model._meta.concrete_fields:
                value = invent(field, agent, scope_id, make)
                if value is not None:
                    given[field.name] = value
            made[model] = model._base_manager.create(**given)
        return made[model]

    for table in reversed(tenant_tables()):
        make(table.model)
    return {
        table.model._meta.label_lower: table.rows(agent, scope_id).count()
        for table in tenant_tables()
    }


def invent(field: Any, agent: str, scope_id: str, make: Any) -> Any:
    """A value for a column that must have one; None where it need not."""
    if field.name in ("agent", "scope_id"):
        return agent if field.name == "agent" else scope_id
    if field.is_relation:
        return None if field.null else make(field.related_model)
    unneeded = field.has_default() or field.has_db_default() or field.null or field.generated
    if field.choices or (unneeded and not field.primary_key) or isinstance(field, models.AutoField):
        return None
    if isinstance(field, models.DateField):
        return dt.datetime.now(dt.UTC)
    if isinstance(field, models.JSONField):
        return {}
    if isinstance(field, models.BinaryField):
        return b"[]" if field.__class__ is models.BinaryField else "a secret of the test"
    if isinstance(field, models.UUIDField):
        return None
    if isinstance(field, models.IntegerField | models.FloatField | models.DecimalField):
        return 1
    return f"{agent[:3]}{scope_id[:3]}{field.name}"[: field.max_length or 100]


@requirement("scope.export", "scope.erase")
def test_a_partition_is_exported_and_erased_whole_and_alone() -> None:
    mine = fill("desk", "one")
    assert all(mine.values()), mine
    others = [("desk", "two"), ("bar", "one"), ("desk", "")]
    kept = {pair: fill(*pair) for pair in others}
    said = msgspec.json.decode(b"".join(piece() for piece in export_partition("desk", "one")))
    assert (said["agent"], said["scope_id"]) == ("desk", "one")
    assert {name: len(rows) for name, rows in said["tables"].items()} == mine
    assert said["tables"]["sessions_app.scopecredential"][0]["value"] == "[sealed]"
    gone = erase_partition("desk", "one")
    assert gone == mine
    for table in tenant_tables():
        assert not table.rows("desk", "one").exists()
    for (agent, scope_id), counted in kept.items():
        assert counted == {
            table.model._meta.label_lower: table.rows(agent, scope_id).count()
            for table in tenant_tables()
        }


@requirement("admin.audited")
def test_erasing_asks_first_and_names_the_agent(capsys: Any, tmp_path: Path) -> None:
    scope = Scope.objects.create(agent="desk", scope_id="gone")
    with pytest.raises(CommandError, match="for good"):
        call_command("erasescope", "gone")
    call_command("exportscope", "gone", "--out", str(tmp_path / "gone.json"))
    call_command("erasescope", "gone", "--yes")
    assert "sessions_app.scope" in capsys.readouterr().out
    told = AuditEntry.objects.order_by("number").values_list("actor", "action", "subject")
    assert list(told) == [
        ("exportscope", "scope.export", str(scope.pk)),
        ("erasescope", "scope.deleted", str(scope.pk)),
    ]
    Scope.objects.create(agent="desk", scope_id="both")
    Scope.objects.create(agent="bar", scope_id="both")
    with pytest.raises(CommandError, match="one of: bar, desk"):
        call_command("exportscope", "both")


@requirement("scope.rotation", "scope.credentials")
def test_secrets_move_to_the_newest_key(settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.AGENT_SECRET_KEYS = [old]
    save_credentials("desk", "s", {"A": "first", "B": "second"})
    settings.AGENT_SECRET_KEYS = [new, old]
    assert open_credential("desk", "s", "A") == "first"
    assert open_credential("desk", "t", "A") is None
    assert renew_all() == (2, 0)
    settings.AGENT_SECRET_KEYS = [new]
    assert open_credential("desk", "s", "B") == "second"
    settings.AGENT_SECRET_KEYS = [Fernet.generate_key().decode()]
    assert renew_all() == (0, 2)
    with pytest.raises(CommandError, match="2 secrets cannot be read"):
        call_command("rotatesecrets")
    row = ScopeCredential.objects.get(name="A")
    assert isinstance(row.value, Sealed)
    assert "first" not in repr(row.value)


@requirement("scope.erase")
def test_a_scope_stays_blocked_until_all_else_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("desk", "one")
    empty, late = tenants._empty, iter([True, False])

    def empty_beside_a_run(table: tenants.TenantTable, agent: str, scope_id: str) -> int:
        """A run writes once more while its session goes, so that the database refuses."""
        if table.model is Session and next(late, False):
            raise IntegrityError("a row refers to it")
        if table.model is not Scope:
            assert Scope.objects.filter(agent=agent, scope_id=scope_id).exists()
        return empty(table, agent, scope_id)

    monkeypatch.setattr(tenants, "_empty", empty_beside_a_run)
    gone = erase_partition("desk", "one")
    assert gone["sessions_app.session"] == gone["sessions_app.scope"] == 1
    assert not any(table.rows("desk", "one").exists() for table in tenant_tables())


@requirement("scope.erase", "admin.audited")
def test_what_is_written_for_ever_is_told_and_stays_blocked(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Scope.objects.create(agent="desk", scope_id="busy")
    monkeypatch.setattr(tenants, "_empty", lambda table, agent, scope_id: 1)
    with pytest.raises(CommandError, match="stays blocked"):
        call_command("erasescope", "busy", "--yes")
    scope = Scope.objects.get(scope_id="busy")
    assert scope.blocked_at is not None
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    given = {"action": "erase", "_selected_action": [scope.pk], "sure": "yes"}
    page = staff.post("/admin/sessions_app/scope/", given, follow=True)
    assert "stays blocked" in page.content.decode()
    told = AuditEntry.objects.order_by("number").values_list("actor", "action", "subject")
    failed = ("scope.erasing_failed", str(scope.pk))
    assert list(told) == [("erasescope", *failed), ("ada", *failed)]
    assert not LogEntry.objects.exists()
    monkeypatch.undo()
    staff.post("/admin/sessions_app/scope/", given)
    assert list(told.all())[2:] == [("ada", "scope.deleted", str(scope.pk))]
    assert LogEntry.objects.get().object_id == str(scope.pk)


@requirement("scope.erase")
def test_calls_of_subagents_are_erased_with_them() -> None:
    fill("circle", "round")
    call = ToolCall.objects.get(session__agent="circle")
    inner = Subagent.objects.get(call=call)
    call.pk, call.message, call.subagent = f"{call.pk}2", None, inner
    call.save(force_insert=True)
    erase_partition("circle", "round")
    assert not any(table.rows("circle", "round").exists() for table in tenant_tables())
