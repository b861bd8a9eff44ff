"""`/sessions*`: list, read, change, delete, snapshot, attachments, and the older shapes."""

from __future__ import annotations

import base64
import datetime as dt
import re

import psycopg
import pytest
from django.utils import timezone
from psycopg.types.json import Jsonb

from sessions_app.models import EventBatch, Message, ModelCall, Run, Session
from tests.server import Client, session_of
from tests.servers import test_database_url

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
SESSION_KEYS = {
    "id", "agent", "scope_id", "title", "tags", "status", "message_count", "token_usage",
    "cost", "model", "provider", "created_at", "updated_at",
}  # fmt: skip
MISSING = "sess_" + "a" * 26


def talked(client: Client, text: str = "plain") -> str:
    """A session with one finished run."""
    return session_of(client.say(text))


def test_a_session_is_listed_as_it_is_read(client: Client) -> None:
    session_id = talked(client, "count")
    (listed,) = client.get("/sessions")["sessions"]
    assert set(listed) == SESSION_KEYS
    assert listed["id"] == session_id
    assert (listed["agent"], listed["scope_id"]) == ("trials", client.scope)
    assert (listed["status"], listed["message_count"]) == ("active", 3)
    assert ISO.match(listed["created_at"])
    assert ISO.match(listed["updated_at"])
    usage = listed["token_usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert listed["cost"] == {"currency": "USD", "estimatedCostMicros": 0}
    detail = client.get(f"/sessions/{session_id}")
    assert set(detail) == SESSION_KEYS | {
        "metadata", "lastSeq", "messages", "pendingInteractions"
    }  # fmt: skip


def test_pages_follow_each_other_without_gap_or_double(client: Client) -> None:
    # Copies in a scope of their own: nothing gives them a late title while the pages are turned.
    pages = Client(client.server, f"{client.scope}-pages", client.agent)
    made = [f"sess_{letter * 26}" for letter in "abcde"]
    now = timezone.now()
    with psycopg.connect(test_database_url(), autocommit=True) as database:
        for copy, age in zip(made, (0, 3, 3, 3, 9), strict=True):
            moment = (now - dt.timedelta(seconds=age)).isoformat()
            changed = {"id": copy, "scope_id": pages.scope, "updated_at": moment}
            database.execute(
                "INSERT INTO sessions_app_session SELECT (jsonb_populate_record(s, %s)).*"
                " FROM sessions_app_session s WHERE id = %s",
                [Jsonb(changed), talked(client) if copy == made[0] else made[0]],
            )
    found: list[str] = []
    cursor = None
    for _ in range(3):
        page = pages.get("/sessions", limit=2, cursor=cursor)
        found += [session["id"] for session in page["sessions"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert found == [made[0], *sorted(made[1:4], reverse=True), made[4]]


def test_the_list_is_narrowed(client: Client) -> None:
    first, second = talked(client), talked(client)
    change = {"title": "Blue 100%_whale", "tags": ["sea", "blue"]}
    assert client.ask("PATCH", f"/sessions/{first}", change).status == 200
    assert client.ask("PATCH", f"/sessions/{second}", {"archived": True}).status == 200

    def ids(**query: str) -> list[str]:
        return [session["id"] for session in client.get("/sessions", **query)["sessions"]]

    assert ids(tag="sea") == ids(q="BLUE") == ids(q="%_w") == [first]
    assert ids(status="archived") == [second]
    assert ids(q="100_") == ids(tag="green") == ids(automation="nightly") == []
    assert ids(q="", status="") == ids()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"status": "gone"}, "status"),
        ({"cursor": "no cursor"}, "cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"2026-01-01|x").decode()}, "cursor"),
        ({"q": "a\x00b"}, "q"),
        ({"scope_id": "x" * 201}, "scope_id"),
    ],
)
def test_a_wrong_query_is_named(client: Client, query: dict[str, str], field: str) -> None:
    answer = client.ask("GET", "/sessions", **query)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert field in answer.json["error"]["message"]


def test_changes_are_stored_and_a_title_is_told(client: Client) -> None:
    session_id = talked(client)
    client.events(session_id, until="title_changed")
    change = {"title": " New ", "tags": ["a", "b", "a"], "metadata": {"n": [1, None, {"x": "ü"}]}}
    answer = client.ask("PATCH", f"/sessions/{session_id}", change)
    assert answer.status == 200
    assert (answer.json["title"], answer.json["tags"]) == ("New", ["a", "b"])
    assert answer.json["metadata"] == change["metadata"]
    again = client.ask("PUT", f"/sessions/{session_id}", {"tags": [], "title": None})
    assert (again.json["title"], again.json["tags"]) == ("New", [])
    titles = [
        frame.data["title"] for frame in client.events(session_id, until="title_changed", after=6)
    ]
    assert client.get(f"/sessions/{session_id}")["title"] == "New"
    assert titles[-1] in ("A made title", "New")
    assert [e["event"] for e in client.get(f"/sessions/{session_id}/state")["events"]].count(
        "title_changed"
    ) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tittle": "x"}, '"title"'),
        ({"title": 7}, '"title"'),
        ({"title": "x" * 301}, '"title"'),
        ({"title": "a\x00"}, '"title"'),
        ({"tags": "sea"}, '"tags"'),
        ({"tags": [1]}, '"tags'),
        ({"tags": ["x"] * 51}, '"tags"'),
        ({"metadata": ["x"]}, '"metadata"'),
        ({"metadata": {"a": "\x00"}}, '"metadata"'),
        ({"archived": "yes"}, '"archived"'),
    ],
)
def test_a_wrong_change_is_named(client: Client, change: object, named: str) -> None:
    answer = client.ask("PATCH", f"/sessions/{MISSING}", change)
    assert answer.status == 400
    assert named in answer.json["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff{}", b'{"a":' * 40 + b"1" + b"}" * 40])
def test_a_body_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    answer = client.ask("PATCH", f"/sessions/{MISSING}", body)
    assert (answer.status, answer.code) == (400, "invalid_json")


def test_another_content_type_is_refused(client: Client) -> None:
    kind = {"Content-Type": "text/plain"}
    answer = client.ask("PATCH", f"/sessions/{MISSING}", b"{}", headers=kind)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_archiving_keeps_and_a_message_brings_back(client: Client) -> None:
    session_id = talked(client)
    path = f"/sessions/{session_id}"
    assert client.ask("PATCH", path, {"archived": True}).json["status"] == "archived"
    assert client.ask("PATCH", path, {"archived": True}).json["status"] == "archived"
    assert client.ask("PATCH", path, {"archived": False}).json["status"] == "active"
    client.ask("PATCH", path, {"archived": True})
    client.say("plain", sessionId=session_id)
    assert client.get(path)["status"] == "active"


FOREIGN = [
    ("GET", "", None),
    ("PATCH", "", {"title": "x"}),
    ("PUT", "", {"tags": []}),
    ("DELETE", "", None),
    ("GET", "/state", None),
    ("GET", "/events", None),
    ("POST", "/interrupt", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
def test_foreign_sessions_look_unknown(
    client: Client, method: str, path: str, body: object
) -> None:
    session_id = talked(client)
    stranger = Client(client.server, client.scope + "-other")
    bodies = set()
    for name in (session_id, MISSING, "x%00y", "x" * 500, "%F0%9F%90%B3", "..."):
        answer = stranger.ask(method, f"/sessions/{name}{path}", body)
        assert (answer.status, answer.code) == (404, "session_not_found"), name
        bodies.add(answer.body)
    assert len(bodies) == 1
    older = stranger.ask(method, f"/sessions/history/{session_id}", body) if path == "" else None
    assert older is None or older.status in (404, 405)
    assert client.get(f"/sessions/{session_id}")["id"] == session_id


def test_deletion_takes_all_but_the_metering(client: Client) -> None:
    session_id = talked(client, "count")
    answer = client.ask("DELETE", f"/sessions/{session_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert client.ask("GET", f"/sessions/{session_id}").status == 404
    assert client.ask("DELETE", f"/sessions/{session_id}").status == 404
    assert client.ask("GET", f"/sessions/{session_id}/events").status == 404
    for model in (Message, Run, EventBatch):
        assert not model.objects.filter(session_id=session_id).exists()
    assert ModelCall.objects.filter(session_id=session_id, scope_id=client.scope).count() >= 2


def test_deletion_stops_the_live_run_first(client: Client) -> None:
    with client.stream("hang") as frames:
        first = next(frames)
        session_id = str(first.data["sessionId"])
        assert any(frame.event == "tool_log" for frame in frames)
        assert client.ask("DELETE", f"/sessions/{session_id}").status == 204
        rest = list(frames)
    assert (rest[-1].event, rest[-1].data["reason"]) == ("done", "user_abort")
    assert not Session.objects.filter(pk=session_id).exists()


def test_deletion_of_a_parked_session(client: Client) -> None:
    with client.stream("pay") as frames:
        session_id = str(next(frames).data["sessionId"])
        assert any(frame.event == "confirmation_required" for frame in frames)
        assert client.ask("DELETE", f"/sessions/{session_id}").status == 204
        assert [frame.event for frame in frames][-1] == "done"


def test_a_snapshot_goes_on_where_the_caller_stands(client: Client) -> None:
    frames = client.say("count")
    session_id = session_of(frames)
    client.events(session_id, until="title_changed")
    state = client.get(f"/sessions/{session_id}/state")
    assert state["status"] == "active"
    assert (state["queue"], state["pendingInteractions"]) == ([], [])
    logged = [(frame.id, frame.event, frame.data) for frame in frames]
    found = [(event["id"], event["event"], event["data"]) for event in state["events"]]
    assert found[: len(logged)] == logged
    assert state["lastSeq"] == found[-1][0]
    later = client.get(f"/sessions/{session_id}/state", since=4)
    assert [event["id"] for event in later["events"]] == [number for number, _, _ in found[4:]]
    assert client.get(f"/sessions/{session_id}/state", since=10**9)["events"] == []
    assert client.ask("GET", f"/sessions/{session_id}/state", since="-1").status == 400


def test_a_snapshot_of_a_waiting_run(client: Client) -> None:
    with client.stream("pay") as frames:
        session_id = str(next(frames).data["sessionId"])
        asked = next(frame for frame in frames if frame.event == "confirmation_required")
        state = client.get(f"/sessions/{session_id}/state")
        (pending,) = state["pendingInteractions"]
        assert pending["interactionId"] == asked.data["interactionId"]
        assert state["run"]["firstSeq"] == 1
        assert client.get(f"/sessions/{session_id}")["run"]["id"] == state["run"]["id"]
        busy = client.ask("PATCH", f"/sessions/{session_id}", {"archived": True})
        assert (busy.status, busy.code) == (409, "session_busy")
        client.ask("POST", f"/sessions/{session_id}/interrupt")
        assert [frame.event for frame in frames][-1] == "done"


def test_an_image_is_served_to_its_scope_alone(client: Client) -> None:
    image = {"mimeType": "image/png", "data": base64.b64encode(DOT).decode()}
    session_id = session_of(client.say("plain", images=[image]))
    first = client.get(f"/sessions/{session_id}")["messages"][0]
    source = next(b["source"] for b in first["contentBlocks"] if b["type"] == "image")
    path = f"/sessions/{session_id}/attachments/{source['attachmentId']}"
    answer = client.ask("GET", path)
    assert (answer.status, answer.body) == (200, DOT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")
    stranger = Client(client.server, client.scope + "-other")
    assert stranger.ask("GET", path).status == 404
    assert client.ask("GET", f"/sessions/{session_id}/attachments/att_x%00").status == 404


def test_the_reference_clients_shapes(client: Client) -> None:
    session_id = talked(client, "refused " + "word " * 30)
    other = talked(client, "count")
    client.ask("PATCH", f"/sessions/{other}", {"tags": ["x", "y"]})
    listed = client.get("/sessions/history")
    assert [item["id"] for item in listed] == [other, session_id]
    untitled = listed[1]
    assert untitled["app_id"] == "trials"
    assert untitled["title"] == ("refused " + "word " * 30)[:80] + "…"
    assert [item["id"] for item in client.get("/sessions/history", tags="z,y")] == [other]
    detail = client.get(f"/sessions/history/{session_id}")
    assert [message["type"] for message in detail["messages"]] == ["user", "error"]
    assert detail["metadata"] == {}
    path = f"/sessions/history/{session_id}"
    assert client.ask("PATCH", path, {"title": "T", "tags": ["q"]}).json == {"ok": True}
    assert client.ask("PATCH", path, {"metadata": {}}).status == 400
    assert client.get(path)["title"] == "T"
    assert client.ask("DELETE", path).json == {"ok": True}
    assert client.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/sessions"), ("POST", "/sessions/x/state"), ("DELETE", "/sessions/history"),
     ("GET", "/chat"), ("OPTIONS", "/sessions")],
)  # fmt: skip
def test_other_methods_are_refused(client: Client, method: str, path: str) -> None:
    answer = client.ask(method, path, {} if method == "POST" else None)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"]


def test_an_unknown_address_is_json(client: Client) -> None:
    answer = client.ask("GET", "/nowhere")
    assert (answer.status, answer.code) == (404, "not_found")


def test_a_head_request_is_a_get_without_a_body(client: Client) -> None:
    answer = client.ask("HEAD", "/sessions")
    assert (answer.status, answer.body) == (200, b"")


def test_of_an_expired_session_the_facts_are_left(client: Client) -> None:
    keyed = {"headers": {"Idempotency-Key": f"expired {client.scope}"}}
    first = client.message("plain")
    session_id = client.ask("POST", "/chat", first, **keyed).json["sessionId"]
    with psycopg.connect(test_database_url(), autocommit=True) as database:
        changing = "UPDATE sessions_app_session SET status = 'expired' WHERE id = %s"
        database.execute(changing, [session_id])
    path = f"/sessions/{session_id}"
    detail = client.get(path)
    assert (detail["status"], detail["messages"], detail["message_count"]) == ("expired", [], 2)
    assert client.get(f"{path}/state")["events"] == []
    assert [session["id"] for session in client.get("/sessions")["sessions"]] == [session_id]
    events = client.ask("GET", f"{path}/events")
    assert (events.status, events.code) == (410, "session_expired")
    change = client.ask("PATCH", path, {"title": "x"})
    assert (change.status, change.code) == (410, "session_expired")
    again = client.ask("POST", "/chat", client.message("plain", sessionId=session_id))
    assert (again.status, again.code) == (404, "session_not_found")
    for way in ("/chat", "/chat/stream", "/chat/sync"):  # what was kept is shown to nobody
        repeated = client.ask("POST", way, first, **keyed)
        assert (repeated.status, repeated.code) == (410, "session_expired")
    other = client.ask("POST", "/chat", client.message("count"), **keyed)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert client.ask("DELETE", path).status == 204
