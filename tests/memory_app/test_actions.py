"""Entries: budgets under concurrency, merging, removing exactly one, searching."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from memory_app import actions
from memory_app.actions import Budget, Partition, Source
from memory_app.models import MemoryEntry
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
ROOM = Budget(50, 8_000)
RUN = Source("sess_1", "run_1")
LONG = "The customer has three dogs and wants large parcels left with the neighbour on Oak Road"


@pytest.fixture
def partition() -> Partition:
    return Partition("desk", f"t-{uuid.uuid4().hex}")


def contents(partition: Partition) -> list[str]:
    return [entry.content for entry in actions.list_entries(partition)]


def place(partition: Partition, entry_id: str, content: str = "x") -> None:
    """An entry with an id of our choice."""
    MemoryEntry.objects.create(
        id=entry_id, agent=partition.agent, scope_id=partition.scope_id, content=content
    )


def test_an_entry_tells_where_it_comes_from(partition: Partition) -> None:
    added = actions.add_entry(partition, "Likes tea", ROOM, RUN, "taste")
    (entry,) = actions.list_entries(partition)
    assert not added.merged
    assert (entry.source_session, entry.source_run, entry.category) == ("sess_1", "run_1", "taste")
    assert entry.created_at is not None
    assert entry.last_recalled_at is None


def test_partitions_know_nothing_of_each_other(partition: Partition) -> None:
    others = [Partition("shop", partition.scope_id), Partition("desk", "")]
    added = actions.add_entry(partition, "Likes tea", ROOM, RUN)
    for other in others:
        assert "Likes tea" not in contents(other)
        assert actions.search_entries(other, "tea") == []
        with pytest.raises(actions.EntryNotFound):
            actions.remove_entry(other, added.entry.pk)
    assert contents(partition) == ["Likes tea"]
    with pytest.raises(TypeError):
        MemoryEntry.objects.for_partition("desk", None)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        actions.list_entries(Partition("desk", None))  # type: ignore[arg-type]  # that is the point


def test_too_many_entries_are_refused_with_figures(partition: Partition) -> None:
    for word in ("one", "two"):
        actions.add_entry(partition, word, Budget(2, 100), RUN)
    with pytest.raises(actions.BudgetExceeded) as refused:
        actions.add_entry(partition, "three", Budget(2, 100), RUN)
    assert refused.value.facts == {"entries": 2, "maxEntries": 2}
    assert actions.add_entry(partition, "ONE!", Budget(2, 100), RUN).merged


def test_too_many_characters_are_refused_with_figures(partition: Partition) -> None:
    actions.add_entry(partition, "a" * 60, Budget(5, 100), RUN)
    with pytest.raises(actions.BudgetExceeded) as refused:
        actions.add_entry(partition, "b" * 41, Budget(5, 100), RUN)
    assert refused.value.facts == {"currentChars": 60, "maxTotalChars": 100}
    actions.add_entry(partition, "b" * 40, Budget(5, 100), RUN)


@requirement("scope.memory-merge")
def test_the_fuller_wording_stays_and_names_its_run(partition: Partition) -> None:
    actions.add_entry(partition, LONG, ROOM, RUN)
    fuller = actions.add_entry(partition, f"{LONG} today", ROOM, Source("sess_2", "run_2"))
    assert fuller.merged
    (entry,) = actions.list_entries(partition)
    assert (entry.content, entry.source_run) == (f"{LONG} today", "run_2")
    poorer = actions.add_entry(partition, LONG, ROOM, RUN)
    assert (poorer.merged, poorer.entry.content) == (True, f"{LONG} today")
    with pytest.raises(actions.BudgetExceeded):
        actions.add_entry(partition, f"{LONG} today please", Budget(1, len(LONG) + 8), RUN)


@requirement("scope.memory-remove")
@pytest.mark.parametrize("given", ["%", "_", "a", "abcde", "ab%def", "______", "abcdef*", "", "'"])
def test_wildcards_and_short_prefixes_are_no_ids(partition: Partition, given: str) -> None:
    place(partition, "abcdef" + "0" * 26)
    with pytest.raises(actions.NotAnId):
        actions.remove_entry(partition, given)
    assert len(contents(partition)) == 1


@requirement("scope.memory-remove")
def test_exactly_one_entry_goes(partition: Partition) -> None:
    place(partition, "abcdef01" + "0" * 24, "first")
    place(partition, "abcdef02" + "0" * 24, "second")
    with pytest.raises(actions.AmbiguousId) as refused:
        actions.remove_entry(partition, "abcdef")
    assert len(refused.value.ids) == 2
    with pytest.raises(actions.EntryNotFound):
        actions.remove_entry(partition, "fedcba")
    gone, left = actions.remove_entry(partition, " ABCDEF02 ")
    assert (gone.content, [entry.content for entry in left]) == ("second", ["first"])
    assert contents(partition) == ["first"]
    dashed = str(uuid.UUID("abcdef01" + "0" * 24))
    assert actions.remove_entry(partition, dashed)[1] == []


def test_search_finds_words_their_beginnings_and_forms(partition: Partition) -> None:
    for text in ("Prefers invoices by e-mail", "Owns a Ridge 2 tent", "Rechnungen auf Deutsch"):
        actions.add_entry(partition, text, ROOM, RUN)
    found = {
        query: [entry.content[:7] for entry in actions.search_entries(partition, query)]
        for query in ("invoice preferred", "TENTS", "rechn", "%", "tent & | ! :*", "' OR", "the")
    }
    assert found["invoice preferred"] == ["Prefers"]
    assert found["TENTS"] == found["tent & | ! :*"] == ["Owns a "]
    assert found["rechn"] == ["Rechnun"]
    assert found["%"] == found["' OR"] == found["the"] == []
    touched = MemoryEntry.objects.for_partition("desk", partition.scope_id)
    assert touched.filter(last_recalled_at=None).count() == 0


@requirement("scope.memory-budget")
@pytest.mark.django_db(transaction=True)
def test_budgets_hold_under_concurrency(partition: Partition) -> None:
    def add(number: int) -> bool:
        try:
            actions.add_entry(partition, f"fact {number % 12}", Budget(5, 100), RUN)
            return True
        except actions.BudgetExceeded:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        kept = list(threads.map(add, range(36)))
    found = contents(partition)
    assert len(found) == len(set(found)) == 5
    assert sum(kept) >= 5
