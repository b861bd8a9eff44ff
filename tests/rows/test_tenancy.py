"""On whose behalf units run: one scope in one transaction, or all with a reason, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from agentsite.rows.tenancy import (
    NobodyNamed,
    act_for,
    act_for_all,
    acting_for,
    acting_for_all,
    switch,
    tenant,
)
from agentsite.rows.together import Together, fetch
from agentsite.rows.units import snapshot_unit, unit
from memory_app.models import MemoryEntry
from tests.requirements import requirement

HOSTILE = ("acme", "", "it's", 'a"b', "back\\slash", "s:", "größe", "; RESET ROLE; --", "%s")


@pytest.fixture
def _database(transactional_db: None) -> None:
    """Units commit."""


def where() -> tuple[str, str | None, bool]:
    """As whom, in which scope, and whether in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text, agentsite_scope()")
        user, scope = cursor.fetchone()
    return user, scope, connection.in_atomic_block


def keep(name: str, scope: str) -> None:
    """Write an entry."""
    MemoryEntry.objects.create(id=name, agent="desk", scope_id=scope, content="x")


def count() -> int:
    """All entries that can be seen."""
    return MemoryEntry.objects.count()


@pytest.mark.usefixtures("_database")
@requirement("scope.nobody")
async def test_a_unit_on_nobodys_behalf_is_refused() -> None:
    with pytest.raises(NobodyNamed, match="acting_for"):
        await unit(count)
    with pytest.raises(NobodyNamed):
        await snapshot_unit(count)
    with pytest.raises(ValueError, match="reason"), acting_for_all(""):
        pass
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            act_for(wrong)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="NUL"), acting_for("a\x00b"):
        pass


@pytest.mark.usefixtures("_database")
async def test_a_unit_runs_as_the_tenant_role_in_its_scope_and_leaves_nothing_behind() -> None:
    for scope in HOSTILE:
        with acting_for(scope):
            assert await unit(where) == (settings.DATABASE_TENANT_ROLE, scope, True)
            assert await snapshot_unit(where) == (settings.DATABASE_TENANT_ROLE, scope, True)
        with acting_for_all("a test"):
            user, seen, inside = await unit(where)
        assert (user, seen, inside) == ("postgres", None, False)


@pytest.mark.usefixtures("_database")
async def test_tasks_act_for_those_who_started_them_and_blocks_end() -> None:
    async def ask(name: Callable[[], None]) -> str | None:
        name()
        return (await unit(where))[1]

    with acting_for("outer"):
        others = [asyncio.create_task(ask(lambda s=s: act_for(s))) for s in ("a", "b")]  # type: ignore[misc]  # the default names it
        mine = asyncio.create_task(ask(lambda: None))
        assert await asyncio.gather(*others, mine) == ["a", "b", "outer"]
        with acting_for("inner"):
            assert (await unit(where))[1] == "inner"
        assert (await unit(where))[1] == "outer"
    with pytest.raises(NobodyNamed):
        await unit(where)


@pytest.mark.usefixtures("_database")
@requirement("scope.writes")
async def test_what_a_unit_raises_undoes_all_of_it() -> None:
    def keep_and_fail() -> None:
        keep("a", "acme")
        with tenant("acme"):  # a part of the same transaction
            keep("b", "acme")
        raise LookupError

    act_for("acme")
    with pytest.raises(LookupError):
        await unit(keep_and_fail)
    assert await unit(count) == 0
    await unit(keep, "a", "acme")
    with acting_for("other"):
        assert await unit(count) == 0
    assert await unit(count) == 1


@pytest.mark.usefixtures("_database")
async def test_nobody_goes_from_one_scope_to_another_but_who_acts_for_all() -> None:
    def enter(scope: str) -> None:
        with tenant(scope):
            count()

    def write_both() -> None:
        with tenant("a"):
            keep("1", "a")
            switch("b")
            keep("2", "b")
            together = Together()
            switch("a", together)
            together.insert(MemoryEntry(id="3", agent="desk", scope_id="a", content="x"))
            together.send()
            assert count() == 2

    act_for("a")
    for work in (lambda: enter("b"), lambda: switch("b")):
        with pytest.raises(NobodyNamed):
            await unit(work)
    with pytest.raises(NobodyNamed):
        await unit(write_both)
    act_for_all("a journal")
    await unit(write_both)
    assert await unit(count) == 3


def make(name: str, scope: str) -> MemoryEntry:
    """An entry that is not written yet."""
    return MemoryEntry(id=name, agent="desk", scope_id=scope, content="x")


@pytest.mark.usefixtures("_database")
@requirement("scope.nobody")
async def test_one_statement_is_done_for_all_and_never_before_a_scope_was_named() -> None:
    read = "SELECT id, content FROM memory_app_memoryentry WHERE scope_id = %s"
    for scope in ("a", "b"):
        with acting_for(scope):
            await unit(keep, scope, scope)
    with acting_for_all("a test"):
        assert await unit(fetch, read, ["b"]) == [("b", "x")]
        with pytest.raises(DatabaseError, match="nowhere"):
            await unit(fetch, "SELECT 1 FROM nowhere", [])
    with acting_for("a"), pytest.raises(RuntimeError, match="on whose behalf"):
        await unit(fetch, read, ["b"])


@pytest.mark.usefixtures("_database")
@requirement("scope.writes")
async def test_what_leaves_together_is_the_tenants_from_its_first_statement() -> None:
    def insert(*rows: MemoryEntry) -> tuple[str, str | None, bool]:
        together = Together()
        for row in rows:
            together.insert(row)
        together.send()
        return where()

    act_for("acme")
    assert await unit(insert, make("a", "acme")) == (settings.DATABASE_TENANT_ROLE, "acme", True)
    with pytest.raises(DatabaseError, match="row-level security"):
        await unit(insert, make("b", "acme"), make("c", "other"))
    assert await unit(count) == 1
    await unit(lambda: None)
    with acting_for_all("a test"):
        assert await unit(where) == ("postgres", None, False)
        assert await unit(insert, make("d", "other")) == ("postgres", None, False)


@pytest.mark.usefixtures("_database")
async def test_a_transaction_of_one_trip_is_over_with_it_and_what_follows_is_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[int] = []

    def insert_whole(row: MemoryEntry) -> tuple[str, str | None, bool]:
        together = Together()
        together.insert(row)
        together.send(lambda: seen.append(len(seen)))
        elsewhere = asyncio.run_coroutine_threadsafe(count_elsewhere(), loop).result(10)
        assert elsewhere == len(seen)
        return where()

    async def count_elsewhere() -> int:
        return await unit(count)

    def insert_and_fail() -> None:
        insert_whole(make("b", "acme"))
        keep("c", "acme")
        raise LookupError

    loop = asyncio.get_running_loop()
    act_for("acme")
    assert await unit(insert_whole, make("a", "acme")) == (
        settings.DATABASE_TENANT_ROLE, "acme", True,
    )  # fmt: skip
    with pytest.raises(LookupError):
        await unit(insert_and_fail)
    assert await unit(count) == 2
    with pytest.raises(DatabaseError, match="row-level security"):
        await unit(insert_whole, make("d", "other"))

    def insert_and_be_deaf() -> None:
        together = Together()
        together.insert(make("e", "acme"))
        together.send(lambda: keep("f", "acme"))  # the database is busy: it must not be asked

    def insert_and_refuse() -> None:
        together = Together()
        together.say("SELECT 1 WHERE false", [], LookupError())
        together.send(lambda: None)

    await unit(insert_and_be_deaf)
    assert await unit(count) == 3
    assert "was not" in caplog.text
    with pytest.raises(ValueError, match="refused afterwards"):
        await unit(insert_and_refuse)
    assert await unit(where) == (settings.DATABASE_TENANT_ROLE, "acme", True)


@pytest.mark.usefixtures("_database")
async def test_reads_of_a_snapshot_agree_and_nothing_is_written() -> None:
    def look_twice() -> tuple[int, int]:
        before = count()
        asyncio.run_coroutine_threadsafe(keep_elsewhere(), loop).result(10)
        return before, count()

    async def keep_elsewhere() -> None:
        await unit(keep, "late", "acme")

    loop = asyncio.get_running_loop()
    act_for("acme")
    assert await snapshot_unit(look_twice) == (0, 0)
    assert await unit(count) == 1
    with pytest.raises(Exception, match="read-only transaction"):
        await snapshot_unit(keep, "never", "acme")


@pytest.mark.django_db
def test_a_tenant_within_a_transaction_of_the_owner_gives_it_back() -> None:
    owner = where()
    with tenant("acme"):
        assert where()[:2] == (settings.DATABASE_TENANT_ROLE, "acme")
        with tenant("acme"), transaction.atomic():
            keep("a", "acme")
        with pytest.raises(LookupError), tenant("other"):
            keep("b", "other")
            raise LookupError
        assert where()[1] == "acme"
    assert where() == owner
    assert list(MemoryEntry.objects.values_list("pk", flat=True)) == ["a"]
