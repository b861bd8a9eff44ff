"""The bus as rows: numbers without holes, and what retention leaves."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection

from agentsite.bus import reading
from agentsite.bus.catalogue import CATALOGUE, StoreUpdated, describe
from agentsite.bus.models import BusEvent
from agentsite.bus.writing import tell
from agentsite.rows.tenants import erase_partition

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)


def tell_some(count: int, scope_id: str = "a", audience: str = "scope") -> None:
    for n in range(count):
        tell("agent", scope_id, StoreUpdated("notes", "put", f"key-{n}"), audience=audience)


def test_numbers_follow_each_other() -> None:
    tell_some(3)
    reading.number()
    tell_some(2, "b")
    reading.number()
    assert [told.seq for told in reading.read(0, 10, None)] == [1, 2, 3, 4, 5]
    assert [told.seq for told in reading.read(0, 10, "b")] == [4, 5]
    assert [told.seq for told in reading.read(4, 10, None)] == [5]


def test_what_is_for_staff_is_for_nobody_else() -> None:
    tell_some(1, "", "staff")
    tell_some(1, "", "everyone")
    tell_some(1, "")
    reading.number()
    assert [told.audience for told in reading.read(0, 10, None)] == ["staff", "everyone", "scope"]
    assert [told.audience for told in reading.read(0, 10, "")] == ["everyone", "scope"]
    assert [told.audience for told in reading.read(0, 10, "b")] == ["everyone"]


def test_a_place_in_the_past_is_before_all_that_came_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reading.place_before(5) == 0
    tell_some(4)
    reading.number()
    assert reading.place_before(5) == 0
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE bus_busevent SET created_at = now() - interval '1 minute' WHERE seq < 3"
        )
    assert [reading.place_before(seconds) for seconds in (5, 100)] == [2, 0]
    monkeypatch.setattr(reading, "RECENT", 1)
    assert reading.place_before(5) in (2, 3)  # the last two are of one moment
    with connection.cursor() as cursor:
        cursor.execute("UPDATE bus_busevent SET created_at = now() - interval '1 minute'")
    assert reading.place_before(5) == 4


def test_old_events_go_and_the_count_stays() -> None:
    tell_some(4)
    reading.number()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE bus_busevent SET created_at = now() - interval '2 days'")
    assert reading.purge(DAY) == 3
    assert reading.newest() == 4
    assert not reading.is_kept(0)
    assert reading.is_kept(3)
    assert not reading.is_kept(5)
    tell_some(1)
    assert reading.purge(DAY) == 1
    assert [told.seq for told in reading.read(0, 10, None)] == [5]


def test_erasing_a_scope_does_not_turn_the_count_back() -> None:
    tell_some(2, "kept")
    reading.number()
    tell_some(3, "gone")
    reading.number()
    assert erase_partition("agent", "gone") == {"bus.busevent": 3}
    assert (reading.newest(), reading.is_kept(5)) == (5, True)
    assert [told.seq for told in reading.read(0, 10, None)] == [1, 2]
    assert not BusEvent.objects.filter(scope_id="gone").exists()
    blank = BusEvent.objects.get(seq=5)
    assert (blank.audience, blank.agent, blank.type, blank.data) == ("staff", "", "", "{}")
    tell_some(1, "kept")
    reading.number()
    assert [told.seq for told in reading.read(5, 10, "kept")] == [6]
    assert erase_partition("agent", "gone") == {}


def test_an_empty_bus_is_at_its_beginning() -> None:
    assert reading.purge(DAY) == 0
    assert (reading.newest(), reading.is_kept(0), reading.is_kept(1)) == (0, True, False)
    assert not BusEvent.objects.exists()


def test_every_event_says_what_it_is() -> None:
    assert all(describe(name).startswith("`") for name in CATALOGUE)
