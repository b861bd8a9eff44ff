"""What is refused before anything is written, and how it is said."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
from typing import Any

import pytest

from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client, Reply

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40).decode()
NOWHERE = "sess_" + "a" * 26


def count_rows(lab: Lab) -> int:
    return int(lab.query("SELECT count(*) FROM sessions_app_run")[0][0])


def image(**source: Any) -> list[dict[str, Any]]:
    """A message with one picture."""
    return [{"type": "text", "text": "Look."}, {"type": "image", "source": source}]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, '"message" is required'),
    "null": ({"message": None}, '"message" is required'),
    "number": ({"message": 5}, "message"),
    "empty": ({"message": ""}, "empty"),
    "blank": ({"message": " \n"}, "empty"),
    "no parts": ({"message": []}, "empty"),
    "too long": ({"message": "x" * 200_001}, "200000"),
    "strange part": ({"message": [{"type": "audio"}]}, "message.0"),
    "part without text": ({"message": [{"type": "text"}]}, '"message.0.text"'),
    "part that is a word": ({"message": ["x"]}, "message.0"),
    "image without data": (
        {"message": image(type="base64", mediaType="image/png")}, "message.1.source.data"
    ),
    "image without type": ({"message": image(type="base64", data=PNG)}, "mediaType"),
    "image of no kind": (
        {"message": image(type="base64", mediaType="image/tiff", data=PNG)}, "1.source.mediaType"
    ),
    "no base64": (
        {"message": image(type="base64", mediaType="image/png", data="!!!")}, "base64"
    ),
    "local file": ({"message": image(type="url", url="file:///etc/passwd")}, "url"),
    "six images": (
        {"message": "x", "images": [{"mimeType": "image/png", "data": PNG}] * 6}, "images"
    ),
    "unknown key": ({"message": "x", "mesage": "x"}, 'Did you mean "message"?'),
    "busy mode": ({"message": "x", "onBusy": "wait"}, "onBusy"),
    "negative cap": ({"message": "x", "max_session_tokens": -1}, "max_session_tokens"),
    "text for a number": ({"message": "x", "max_session_tokens": "5"}, "max_session_tokens"),
    "long scope": ({"message": "x", "scope_id": "s" * 201}, "scope_id"),
    "empty scope": ({"message": "x", "scope_id": ""}, "scope_id"),
    "scope with a line": ({"message": "x", "scope_id": "a\nb"}, "scope_id"),
    "context of numbers": ({"message": "x", "context": {"a": 1}}, "context"),
    "pin without model": ({"message": "x", "model": {"provider": "anthropic"}}, "model"),
    "automation from outside": ({"message": "x", "session_type": "automation"}, "session_type"),
}  # fmt: skip


@requirement("http.message", "http.unknown-key", "http.error-shape")
@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_body_is_refused_by_the_name_of_its_field(client: Client, case: str) -> None:
    body, told = WRONG[case]
    for path in ("/chat/stream", "/chat", "/chat/sync"):
        reply = await client.post(path, {"agentId": "plain", **body})
        assert reply.status == 400, reply.raw
        assert told in reply.json["error"]["message"], reply.json
        assert reply.code in ("invalid_field", "unknown_field")


@requirement("http.error-shape")
async def test_methods_and_media_types_are_checked(client: Client) -> None:
    reply = await client.ask("GET", "/chat/stream")
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "POST"
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        reply = await client.post("/chat", {"message": "x"}, content_type=kind)
        assert (reply.status, reply.code) == (415, "unsupported_media_type")
    kind = "application/json; charset=utf-8"
    assert (await client.post("/chat", client.body("x"), content_type=kind)).status == 200
    reply = await client.post("/chat", client.body("x", agentId="nobody"))
    assert (reply.status, reply.code) == (404, "agent_not_found")


@requirement("http.null-key", "http.spellings", "http.scope-aliases")
async def test_spellings_nulls_and_aliases_are_read(client: Client) -> None:
    first = await client.say("Hello", scope_id="spelled", sessionId=None)
    session_id = first["sessionId"]
    body = {"message": "x", "agentId": "plain", "agent": None, "onBusy": None, "images": None}
    for scope in ("scope_id", "scopeId", "userId", "user_id"):
        for name in ("sessionId", "session_id"):
            reply = await client.post("/chat", {**body, scope: "spelled", name: session_id})
            assert reply.status == 200, (scope, name, reply.raw)
    both = {"sessionId": session_id, "session_id": NOWHERE}
    reply = await client.post("/chat", {**body, "scope_id": "spelled", **both})
    assert reply.json["sessionId"] == session_id
    reply = await client.post("/chat", {**body, "scope_id": "spelled", "scopeId": "other", **both})
    assert reply.status == 404  # the camelCase one of two scopes wins
    reply = await client.post("/chat", {**body, "scope_id": "spelled", "userId": "other", **both})
    assert reply.status == 200  # an alias for a person does not beat the scope
    reply = await client.post("/chat", {**body, "scope_id": "spelled", "agent": "nobody"})
    assert reply.status == 200  # `agentId` stands beside it


@requirement("http.not-found")
async def test_unknown_foreign_and_expired_sessions_look_the_same(client: Client, lab: Lab) -> None:
    mine = (await client.say("Hello", scope_id="mine"))["sessionId"]
    gone = (await client.say("Hello", scope_id="theirs"))["sessionId"]
    lab.change("UPDATE sessions_app_session SET status = 'expired' WHERE id = %s", gone)
    said = [
        await client.post("/chat/stream", client.body("x", session_id, scope_id="theirs"))
        for session_id in (NOWHERE, mine, gone, "no such id at all")
    ]
    assert {(reply.status, reply.raw) for reply in said} == {(404, said[0].raw)}
    assert said[0].code == "session_not_found"
    followed = [
        await client.post("/chat/stream", {"sessionId": session_id, "scope_id": "theirs"})
        for session_id in (NOWHERE, mine, gone)
    ]
    assert {(reply.status, reply.raw) for reply in followed} == {(404, said[0].raw)}
    answered = [
        await client.answer(session_id, approved=True, scope_id="theirs")
        for session_id in (NOWHERE, mine)
    ]
    assert {(reply.status, reply.raw) for reply in answered} == {(404, said[0].raw)}
    stopped = [
        await client.post(f"/sessions/{session_id}/interrupt?scope_id=theirs", {})
        for session_id in (NOWHERE, mine)
    ]
    assert {(reply.status, reply.raw) for reply in stopped} == {(404, said[0].raw)}


@requirement("http.bad-input")
async def test_hostile_bodies_are_refused_in_a_sentence(client: Client, lab: Lab) -> None:
    deep = b'{"message":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    bodies = {
        "broken UTF-8": b'{"message": "\xff\xfe"}',
        "cut UTF-8": b'{"message": "\xe2\x82"}',
        "deep": deep,
        "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "deep context": b'{"message":"x","context":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        "not JSON": b"message=x",
        "nothing": b"",
        "a list": b"[]",
        "a word": b'"message"',
        "two objects": b'{"message":"x"}{"message":"y"}',
        "NaN": b'{"message":"x","max_session_tokens":NaN}',
        "huge number": b'{"message":"x","max_session_tokens":1e999}',
        "endless number": b'{"message":"x","max_session_tokens":' + b"9" * 5_000 + b"}",
    }
    before = count_rows(lab)
    for name, body in bodies.items():
        for path in ("/chat/stream", "/ask-user-response", "/widget-actions"):
            reply = await client.post(path, body)
            assert reply.status == 400, (name, path, reply.status, reply.raw[:200])
            assert_harmless(reply)
    assert count_rows(lab) == before


def assert_harmless(reply: Reply) -> None:
    """An error says its sentence and nothing of the inside."""
    assert reply.json["error"].keys() <= {"code", "message", "details"}
    for word in (b"Traceback", b'File "', b"postgres", b"psycopg", b"/agentsite/"):
        assert word not in reply.raw


@requirement("http.bad-input")
async def test_texts_that_no_column_takes_are_stored_as_near_as_can_be(client: Client) -> None:
    raw = b'{"agentId":"scripted","message":"nul \\u0000, lone \\ud800 and pair \\ud83d\\ude42"}'
    reply = await client.post("/chat", raw)
    assert reply.status in (200, 400), reply.raw
    if reply.status == 200:
        detail = await client.detail(reply.json["sessionId"])
        assert "\x00" not in json.dumps(detail, ensure_ascii=False)
        assert detail["messages"][0]["text"].endswith("pair 🙂")
    reply = await client.post("/chat", b'{"agentId":"scripted","message":"nul \\u0000."}')
    assert reply.status == 200, reply.raw
    detail = await client.detail(reply.json["sessionId"])
    assert detail["messages"][0]["text"] == "nul \ufffd."
    for body in ({"scope_id": "a\x00"}, {"context": {"a\x00": "b\x00"}}, {"agentId": "x\x00"}):
        reply = await client.post("/chat", {**client.body("x"), **body})
        assert reply.status in (200, 400, 404), (body, reply.raw)
        assert_harmless(reply) if reply.status != 200 else None


@requirement("http.bad-input")
async def test_a_model_may_write_what_no_column_takes(client: Client) -> None:
    tools = [call("gate", note="a\x00b")]
    stream = await client.talk(plan({"text": "x\x00y", "tools": tools}, {"text": "z"}))
    assert stream.reason == "model_stop"
    assert stream.text.startswith("x\ufffdy")
    assert stream.all("tool_call_result")[0].data["result"] == "passed a\ufffdb"


@requirement("http.bad-input")
async def test_ids_cannot_smuggle_headers_or_rows(client: Client) -> None:
    evil = ("a%0d%0aX-Evil:%201", "a%00b", "a'--", "x" * 5_000, "%ff")
    for word in evil:
        for method, path in (
            ("GET", f"/sessions/{word}"),
            ("GET", f"/sessions/{word}/events"),
            ("GET", f"/sessions/{word}/state"),
            ("POST", f"/sessions/{word}/interrupt"),
            ("DELETE", f"/sessions/{word}"),
        ):
            reply = await client.ask(method, path)
            assert 400 <= reply.status < 500, (path, reply.status)
            assert "X-Evil" not in reply.headers
    for name in ("interactionId", "sessionId", "scope_id"):
        body = {"sessionId": NOWHERE, "approved": True, name: "a\r\nX: 1\x00"}
        reply = await client.post("/ask-user-response", body)
        assert reply.status in (400, 404), reply.raw
        assert_harmless(reply)
    for number in ("-1", "x", "1e3", "9" * 30, "\uff11"):
        reply = await client.ask("GET", f"/sessions/{NOWHERE}/events?after={number}")
        assert reply.status in (400, 404)


@requirement("http.body-limit")
async def test_bodies_above_the_limit_are_refused(client: Client, lab: Lab) -> None:
    before = count_rows(lab)
    for path in ("/chat", "/chat/stream"):
        huge = io.BytesIO(b'{"message":"' + b"x" * (41 * 1024 * 1024) + b'"}')
        reply = await client.post(path, huge)
        assert (reply.status, reply.code) == (413, "body_too_large")
    reply = await client.post(
        "/ask-user-response", io.BytesIO(b'{"a":"' + b"x" * 1024 * 1024 + b'"}')
    )
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert count_rows(lab) == before


@requirement("http.idempotency")
async def test_an_idempotency_key_must_be_printable_and_short(client: Client) -> None:
    key = uuid.uuid4().hex
    for wrong in (key * 7, "tab\there"):
        reply = await client.post("/chat", client.body("x"), idempotency_key=wrong)
        assert (reply.status, reply.code) == (400, "invalid_field")


async def test_requests_that_are_cut_short_leave_the_server_well(client: Client, lab: Lab) -> None:
    port = lab.servers[0].port
    head = b"POST /chat HTTP/1.1\r\n"
    short = head + b"Host: localhost\r\nContent-Length: 50\r\n\r\n{"
    for sent in (b"", head, b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", short):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
    assert (await client.get("/health"))["status"] == "ok"
