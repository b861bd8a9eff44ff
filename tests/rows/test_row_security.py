"""The database keeps tenants apart: no table shows or takes a row of another scope."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import ProgrammingError, connection, models, transaction

from agentsite.rows.tenancy import tenant
from tests.requirements import requirement
from tests.rows.made_rows import insert, our_models, tenant_models, without_checks

pytestmark = pytest.mark.django_db
NO_TENANTS = {
    "sessions_app.AgentDay": "what all scopes of an agent cost together",
    "sessions_app.KeyDay": "what was charged to a key, whatever the scope",
    "sessions_app.ApiKey": "keys are looked up before anybody's scope is known",
    "automations_app.Automation": "automations belong to agents; their runs have a scope",
    "automations_app.Occurrence": "due times of those automations",
    "operations.AuditEntry": "tenants write through a function and read nothing",
    "operations.EvalResult": "what an agent came to in a scope of its own",
    "operations.EvalRun": "evals belong to agents",
    "operations.McpServer": "servers belong to agents",
    "operations.PriceOverride": "prices are the vendors'",
    "operations.PinnedTool": "tools of those servers",
    "signin.SignInLink": "a member of staff's way in",
}
"""Our models without a scope, each with the reason why."""
SCOPES = ("acme", "other", "")
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def ask(sql: str, *values: object) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def work_as_tenant() -> None:
    """The tenant role and no scope, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(f'SET LOCAL ROLE "{settings.DATABASE_TENANT_ROLE}"')


def change(sql: str, *values: object) -> int:
    """How many rows a statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


TABLES = tenant_models()
each_table = pytest.mark.parametrize("model", TABLES, ids=lambda m: m._meta.db_table)


@pytest.fixture
def _rows(db: None) -> None:
    """A row in every table and scope."""
    without_checks()
    for model in TABLES:
        for scope in SCOPES:
            insert(model, scope)


@requirement("scope.every-table")
def test_every_model_has_a_scope_or_a_reason() -> None:
    without = {model._meta.label for model in our_models()} - {m._meta.label for m in TABLES}
    assert without == set(NO_TENANTS)
    assert len(TABLES) >= 21


@requirement("scope.every-table")
@each_table
def test_every_table_is_forced_and_has_both_policies(model: type[models.Model]) -> None:
    table = model._meta.db_table
    forced = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = %s::regclass"
    assert ask(forced, table) == [(True,)]
    policies = {
        (name, roles, command)
        for name, roles, command in ask(
            "SELECT policyname, roles::text[], cmd FROM pg_policies WHERE tablename = %s", table
        )
        for roles in [tuple(roles)]
    }
    (owner,) = ask("SELECT current_user::text")[0]
    role = (settings.DATABASE_TENANT_ROLE,)
    assert ("owner", (owner,), "ALL") in policies
    commands = {command for _, roles, command in policies if roles == role}
    assert commands in ({"ALL"}, set(RIGHTS))


def test_the_tenant_role_reaches_no_other_table() -> None:
    tables = {
        str(name)
        for (name,) in ask("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    }
    others = tables - {model._meta.db_table for model in TABLES}
    assert {"auth_user", "django_session", "sessions_app_apikey"} <= others
    reached = [
        (table, right)
        for table in sorted(others)
        for right in RIGHTS
        if ask(
            "SELECT has_table_privilege(%s, %s, %s)", settings.DATABASE_TENANT_ROLE, table, right
        )
        == [(True,)]
    ]
    assert reached == []


@pytest.mark.usefixtures("_rows")
@requirement("scope.no-scope")
def test_without_a_scope_no_row_is_visible_in_any_table() -> None:
    work_as_tenant()
    seen = {m._meta.db_table: m._base_manager.count() for m in TABLES}
    assert {table: count for table, count in seen.items() if count} == {}
    # What a pooled connection has after another's transaction is no scope either.
    ask("SELECT set_config('agentsite.scope', '', true)")
    assert [m for m in TABLES if m._base_manager.exists()] == []


@pytest.mark.usefixtures("_rows")
@requirement("scope.without-filter")
@pytest.mark.parametrize("scope", SCOPES)
def test_without_any_filter_only_the_rows_of_the_scope_are_visible(scope: str) -> None:
    with tenant(scope):
        for model in TABLES:
            rows = model._base_manager.values_list("scope_id", flat=True)
            assert list(rows) == [scope], model
    assert all(model._base_manager.count() == len(SCOPES) for model in TABLES)  # the owner again


@pytest.mark.usefixtures("_rows")
@requirement("scope.writes")
@each_table
def test_no_row_of_another_scope_can_be_written(model: type[models.Model]) -> None:
    table = f'"{model._meta.db_table}"'
    with tenant("acme"):
        insert(model, "acme")
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            insert(model, "other")
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            change(f"UPDATE {table} SET scope_id = 'other'")  # noqa: S608 - our own names
        assert change(f"DELETE FROM {table} WHERE scope_id <> 'acme'") == 0  # noqa: S608
        assert change(f"DELETE FROM {table}") == 2  # noqa: S608
    assert model._base_manager.count() == 2


def test_what_is_shared_is_read_by_every_scope_and_written_by_the_empty_one() -> None:
    without_checks()
    named = {m._meta.model_name: m for m in TABLES}
    for name in ("document", "documentversion", "documentvalue"):
        insert(named[name], "")
        named[name]._base_manager.update(shared=True)
        table = named[name]._meta.db_table
        with tenant("acme"):
            assert named[name]._base_manager.count() == 1
            assert change(f"UPDATE {table} SET shared = false") == 0  # noqa: S608
            assert change(f"DELETE FROM {table}") == 0  # noqa: S608
        with tenant(""):
            assert change(f"UPDATE {table} SET shared = true") == 1  # noqa: S608
    work_as_tenant()
    assert [name for name in named if named[name]._base_manager.exists()] == []


def test_events_for_staff_are_seen_by_no_scope() -> None:
    bus = next(m for m in TABLES if m._meta.label == "bus.BusEvent")
    for audience in ("staff", "everyone", "scope"):
        insert(bus, "")
        newest = bus._base_manager.order_by("-id").values_list("pk", flat=True)[0]
        bus._base_manager.filter(pk=newest).update(audience=audience)
    audiences = bus._base_manager.order_by("id").values_list("audience", flat=True)
    with tenant(""):
        assert sorted(audiences.all()) == ["everyone", "scope"]
    with tenant("acme"):
        assert list(audiences.all()) == ["everyone"]
