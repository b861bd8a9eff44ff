"""Search over past sessions: the scope is the transaction's, and expired words are gone."""

from __future__ import annotations

import random
import uuid

import psycopg
import pytest
from django.db import connection

from agentsite.rows.tenancy import tenant
from sessions_app.models import Message, Run, Session
from sessions_app.searching import FoundSession, search_sessions
from tests.servers import test_database_url
from tests.sessions_app.rows import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def scope() -> str:
    return f"t-{uuid.uuid4().hex}"


def spoken(scope: str, words: str, **fields: object) -> Session:
    """A session in which these words were said."""
    session = make_session(scope_id=scope, **fields)
    run = Run.objects.create(id=f"run_{session.pk}", session=session, status="running")
    for place, role in enumerate(("user", "assistant")):
        Message.objects.create(
            id=f"msg_{session.pk}_{place}", session=session, run=run, attempt=1, role=role,
            scope_id=scope, position=place, parts=[{"kind": "text", "text": words}],
            created_at=session.created_at,
        )  # fmt: skip
    return session


def find(scope: str, query: str, limit: int = 20) -> list[FoundSession]:
    return search_sessions("desk", scope, "sess_now", query, limit)


def ids(found: list[FoundSession]) -> list[str]:
    return [each.session_id for each in found]


def test_all_words_come_before_some_words(scope: str) -> None:
    some = spoken(scope, "The tent leaks at the seam", age=1)
    both = spoken(scope, "A tent with a broken zip", age=90_000, title="Zips")
    spoken(scope, "Nothing of the kind")
    found = find(scope, "tent zips")
    assert ids(found) == [both.pk, some.pk]
    assert (found[0].title, found[1].title) == ("Zips", "The tent leaks at the seam")
    assert "broken zip" in found[0].snippet
    assert ids(find(scope, "tent zips", 1)) == [both.pk]


@pytest.mark.parametrize(
    ("query", "count"),
    [('"broken zip"', 1), ('"zip broken"', 1), ("tent -zip", 0), ("tent -lyre", 1),
     ("the of and", 0), ("'", 0),
     ("\\", 0), ("a & | ! : * ( <->", 0), ("%", 0), ("zip'; DROP TABLE x", 1), ("\x01zip", 1)],
)  # fmt: skip
def test_queries_are_data(scope: str, query: str, count: int) -> None:
    spoken(scope, "A broken zip on the tent")
    # A phrase that nobody said still finds its words, behind what has the phrase.
    assert len(find(scope, query)) == count


def test_other_partitions_expired_sessions_and_this_one_are_left_out(scope: str) -> None:
    now = spoken(scope, "zither")
    spoken(f"{scope}x", "zither")
    spoken("", "zither")
    spoken(scope, "zither", agent="shop")
    spoken(scope, "zither", status="expired")
    assert search_sessions("desk", scope, now.pk, "zither", 20) == []
    assert ids(find(scope, "zither")) == [now.pk]


def test_the_scope_cannot_be_named_by_words(scope: str) -> None:
    session = spoken(scope, "zither")
    with connection.cursor() as cursor:
        cursor.execute("SELECT hashtextextended(%s, 0)::text", [scope])
        mark = "\x01" + cursor.fetchone()[0]
    assert find("elsewhere", mark) == []
    assert find("elsewhere", f"zither {mark}") == []
    assert ids(find(scope, f"zither {mark}")) == [session.pk]


def test_without_a_scope_there_is_no_answer(db: None) -> None:
    refused = pytest.raises(psycopg.Error, match="no scope is set")
    with psycopg.connect(test_database_url(), autocommit=True) as fresh, refused:
        fresh.execute("SELECT * FROM agentsite_search_sessions('desk', '', 'x', 1)")


def test_common_words_are_found_newest_first(scope: str) -> None:
    made = [spoken(scope, f"order number {n}", age=1000 - n) for n in range(45)]
    found = find(scope, "order", 5)
    assert ids(found) == [session.pk for session in reversed(made[-5:])]


def test_a_huge_message_is_kept_and_found_by_its_beginning(scope: str) -> None:
    letters = [chr(code) for code in range(0x20000, 0x20400)]
    chosen = random.Random(1)  # every word another one, four bytes a letter
    words = " ".join("".join(chosen.choices(letters, k=3)) for _ in range(50_000))
    session = spoken(scope, f"zither {words}")
    assert ids(find(scope, "zither")) == [session.pk]


def test_what_is_not_said_aloud_is_not_found(scope: str) -> None:
    session = spoken(scope, "zither")
    parts = [{"kind": "thinking", "text": "lyre"}, {"kind": "image", "attachment": "lyre"}]
    Message.objects.filter(session=session).update(parts=parts, aside="lyre")
    assert find(scope, "lyre") == []
    with tenant(scope):
        assert Message.objects.filter(session=session).count() == 2
