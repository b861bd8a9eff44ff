"""Secrets are planted wherever they can come from, and none of them is found outside.

Outside: what clients are sent, the bus, rows, logs, and what a provider is asked.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.host.bus_client import listen
from tests.host.canary import (
    FERNET,
    KEY,
    SCOPE,
    SCOPED,
    SIGNING,
    TOOL,
    escape,
    find_secrets,
    read_rows,
    write_agent,
)
from tests.lab import SIMPLE, Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client, parse_frame

ALL = f"{KEY} {TOOL} {SIGNING} {FERNET} {SCOPED}"


def told_by_model(*plans: dict[str, Any], say: str = "Go on.", model: str | None = None) -> str:
    """A plan in which KEY stands for that secret, unrecognisable before the model says it."""
    more = {} if model is None else {"model": model}
    message = plan(*plans, say=say, **more)
    known = {"<KEY>": KEY, "<TOOL>": TOOL, "<SCOPED>": SCOPED, "<SIGNING>": SIGNING}
    for name, secret in known.items():
        message = message.replace(name, escape(secret))
    return message


def answers_of_models() -> list[str]:
    """Messages that have models and tools say secrets, in pieces of all sizes."""
    leaks = [
        call("leak", note="<TOOL> <SCOPED>"),
        call("leak", fail="kindly"),
        call("leak", fail="x"),
    ]
    memory = call("memory", action="add", content="Remember <KEY>", category="<TOOL>")
    store = call("store_notes", title="<TOOL>", text="<KEY>")
    batch = call("store_notes_batch", items=[{"title": "b", "text": "<TOOL>"}, {"<KEY>": 1}])
    search = call("query_store", store="notes", search="<KEY>", filter={"<TOOL>": "<KEY>"})
    widget = call("present", widget="info-card", data={"title": "<KEY>", "<TOOL>": "<TOOL>"})
    text = "It is <KEY>, and <TOOL>, and <SCOPED>, and <SIGNING>."
    return [
        *(told_by_model({"text": text, "thinking": text, "chars": n}) for n in (1, 3, 7, 999)),
        told_by_model({"text": "Cut at <KEY>", "chars": 5, "cut_after": 6}),
        told_by_model({"tools": leaks, "text": "First <TOOL>"}, {"text": "<KEY>"}),
        told_by_model({"tools": [memory, store, batch, search, widget]}, {}),
        told_by_model({"tools": [call("<KEY>", note="<TOOL>")]}, {}),
        told_by_model({"tools": [call("leak")], "invalid_args": "{<KEY>"}, {}),
        told_by_model({"error": {"status": 401, "message": "bad key <KEY>"}}),
        told_by_model({"error": {"status": 400, "message": "bad key <KEY>"}}),
        told_by_model({"text": "Title <KEY>"}, model=SIMPLE),
    ]


def words_of_callers() -> list[str]:
    """Messages of people who know a secret, in its several forms."""
    coded = base64.b64encode(f"x{ALL}".encode()).decode()
    return [f"I know {ALL}", f"or {coded}", f"or https://x.test/?k={quote(KEY, safe='')}"]


async def call_rest(client: Client, session_id: str) -> list[str]:
    """Secrets in every field that callers may fill, and in names that do not exist."""
    at = f"/sessions/{session_id}"
    asked: list[tuple[str, str, Any]] = [
        ("PATCH", at, {"title": ALL, "tags": [KEY, TOOL], "metadata": {KEY: {"deep": ALL}}}),
        ("PATCH", at, {KEY: 1}),
        ("GET", at, None),
        ("GET", f"/sessions?q={quote(KEY, safe='')}", None),
        ("GET", f"/sessions?cursor={quote(KEY, safe='')}", None),
        ("GET", "/sessions/history", None),
        ("GET", f"{at}/state", None),
        ("GET", f"/sessions/{quote(KEY, safe='')}", None),
        ("POST", "/api/memory", {"content": f"mine is {ALL}", "category": KEY}),
        ("GET", "/api/memory", None),
        ("POST", "/api/stores/notes", {"title": "rest", "text": ALL}),
        ("POST", "/api/stores/notes", {"title": "rest", KEY: ALL}),
        ("PUT", "/api/stores/notes/other", {"title": KEY, "text": ALL}),
        ("GET", "/api/stores/notes", None),
        ("GET", f"/api/stores/notes?sort={quote(KEY, safe='')}", None),
        ("GET", f"/api/stores/notes?similar={quote(ALL, safe='')}", None),
        ("GET", "/api/stores/notes/rest", None),
        ("GET", f"/api/stores/{quote(KEY, safe='')}", None),
        ("POST", "/chat", {"message": "x", KEY: 1}),
        ("POST", "/chat", {"message": "x", "agentId": KEY}),
        ("POST", "/chat", {"message": "x", "model": {"provider": KEY, "model": TOOL}}),
        ("POST", "/widget-actions", {"sessionId": session_id, "action": KEY, "payload": ALL}),
        ("POST", "/ask-user-response", {"sessionId": session_id, "interactionId": KEY}),
    ]
    told = []
    for method, path, body in asked:
        mark = "&" if "?" in path else "?"
        agent = "" if path.startswith(("/sessions", "/chat", "/wid", "/ask")) else "&agentId=canary"
        reply = await client.ask(method, f"{path}{mark}scope_id={SCOPE}{agent}", body)
        told.append(f"{method} {path[:20]} {reply.status} {reply.raw.decode()}")
    return told


@requirement("scope.canary")
async def test_no_secret_is_found_outside(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    environment = {"CANARY_KEY": KEY, "CANARY_TOOL": TOOL, "SECRET_KEY": SIGNING}
    lab = lone_lab(**environment, AGENT_SECRET_KEYS=FERNET, LOG_LEVEL="DEBUG")
    write_agent(lab.agents / "canary")
    client = Client(http, lab.start().wait_ready().url, "canary")
    found: dict[str, list[str]] = {}

    def look(where: str, text: str) -> None:
        if secrets := find_secrets(text):
            found.setdefault(where, []).extend(secrets)

    first = await client.talk("Hello.", scope_id=SCOPE)
    sessions = [first.session_id]
    typed = {"sessionId": first.session_id, "action": "credential_saved", "scope_id": SCOPE}
    saved = await client.ask("POST", "/widget-actions", {**typed, "values": {"PIN": SCOPED}})
    assert saved.status == 200, saved.raw
    came = await client.post("/webhooks/hook?agentId=canary", {"note": ALL, KEY: [SCOPED]})
    assert came.status == 200, came.raw
    look("webhook", came.raw.decode())
    async with listen(client, SCOPE) as bus:
        for number, message in enumerate([*words_of_callers(), *answers_of_models()]):
            body = client.body(message, scope_id=SCOPE)
            reply = await client.post("/chat/stream", body)
            assert reply.status == 200, reply.raw
            look(f"stream {number}", reply.raw.decode())
            sessions.append(parse_frame(reply.raw.split(b"\n\n")[0] + b"\n\n").data["sessionId"])
        again = await client.talk(told_by_model({}), sessions[0], scope_id=SCOPE)
        for told in await call_rest(client, again.session_id):
            look(told[:40], told)
        for session_id in sessions:
            reply = await client.ask("GET", f"/sessions/{session_id}?scope_id={SCOPE}")
            look("session", reply.raw.decode())
        await bus.until(lambda seen: len(sessions) < seen.names.count("run_finished"))
    look("bus", "".join(frame.raw.decode() for frame in bus.frames))
    for table, text in read_rows(lab):
        look(f"table {table}", text)
    for asked in lab.fake.fake.requests:
        look("provider", _flatten(asked.body))
    look("log", lab.servers[0].log)
    assert found == {}
    assert lab.query("SELECT count(*) FROM stores_app_document")[0][0] >= 3
    (event,) = lab.query("SELECT event FROM automations_app_automationrun")
    assert event[0].count("[REDACTED]") >= 7
    assert lab.query("SELECT count(*) FROM memory_app_memoryentry")[0][0] >= 2


def _flatten(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{_flatten(item)}" for key, item in value.items())
    return "\n".join(map(_flatten, value)) if isinstance(value, list) else str(value)
