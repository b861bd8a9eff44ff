"""A run's page on a real server: everything that happened, what was sent, what may be done."""

from __future__ import annotations

import asyncio
import html
import json
import re
import uuid
from typing import Any

import aiohttp
import msgspec
import pytest

from agentsite.engine.messages import Message
from agentsite.engine.ports import ModelRequest, ToolSpec
from agentsite.providers.anthropic import to_messages, to_tools
from tests.folding import assert_folds
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.staff import Page, Staff, make_staff, quote, run_path
from tests.wire_client import Client, eventually


@pytest.fixture
async def staff(lab: Lab, http: aiohttp.ClientSession) -> Staff:
    """An operator with every right."""
    await asyncio.to_thread(make_staff, lab, "operator", superuser=True)
    return await Staff(http, lab.servers[0].url).sign_in("operator")


async def ended(lab: Lab, run_id: str) -> str:
    """The reason of a run's end, once it has ended."""

    async def look() -> Any:
        rows = lab.query("SELECT status, reason FROM sessions_app_run WHERE id = %s", run_id)
        return rows and rows[0][0] == "done" and rows[0]

    return str((await eventually(look))[1])


def audited(lab: Lab, action: str, subject: str) -> dict[str, Any]:
    """The one entry of the audit log about it."""
    rows = lab.query(
        "SELECT actor, details FROM operations_auditentry WHERE action = %s AND subject = %s",
        action,
        subject,
    )
    assert len(rows) == 1
    assert rows[0][0] == "operator"
    return dict(json.loads(rows[0][1]))


def words(page: Page) -> str:
    assert page.status == 200, page.text[:300]
    return html.unescape(page.text)


@requirement("admin.timeline")
async def test_a_page_tells_what_happened_and_leads_to_the_cause(
    client: Client, lab: Lab, staff: Staff
) -> None:
    said = plan({"text": "Let me see. ", "tools": [call("fail", note="odd")]}, {"text": "No luck."})
    stream = await client.talk(said, scope_id="page-tells")
    page = words(await staff.get(run_path(stream.run_id)))
    for shown in (
        "Let me see.",
        "No luck.",
        '"note": "odd"',
        "fail ended with error",
        "The run ended",
    ):
        assert shown in page
    cause = re.search(r'href="#(tc_\w+)">fail ended', page)
    assert cause
    assert f'id="{cause[1]}"' in page
    at = page.index(f'id="{cause[1]}"')
    assert page.rindex("Let me see.") < at < page.rindex("No luck.")
    assert len(re.findall(r"<strong>Model call</strong>", page)) >= 2


@requirement("admin.prompt")
async def test_the_prompt_is_what_was_sent_to_the_byte(
    client: Client, lab: Lab, staff: Staff
) -> None:
    word = f"whole{uuid.uuid4().hex}"
    tools = [call("read_tool_result", call_id="none")]
    first = await client.talk(plan({"tools": tools}, {"text": "Right."}, say=f"Read {word}."))
    await client.talk("And then?", first.session_id)
    sent = [each.body for each in lab.fake.requests(word) if "tools" in each.body]
    assert len(sent) == 3
    rows = lab.query(
        "SELECT c.id, c.prompt_id FROM sessions_app_modelcall c WHERE c.session_id = %s"
        " AND c.purpose = 'main' ORDER BY c.id",
        first.session_id,
    )
    assert len(rows) == 3
    for (call_id, prompt_id), body in zip(rows, sent, strict=True):
        prompt = read(lab, first.session_id, prompt_id)
        assert body["system"][0]["text"] == prompt.system
        assert body["tools"] == to_tools(prompt)["tools"]
        assert body["messages"] == to_messages(prompt.messages, thinking=False)
        page = words(await staff.get(f"/admin/sessions_app/modelcall/{call_id}/change/"))
        # System prompt, tools, and the stable end of the conversation.
        marks = json.dumps(body).count("cache_control")
        assert page.count("cache mark:") == marks
        assert word in page
    pieces = lab.query(
        "SELECT count(*) FROM sessions_app_promptpiece WHERE session_id = %s", first.session_id
    )
    # System, tools, and each message once: three of the user and the tool, two answers.
    assert pieces[0][0] == 2 + 5


def read(lab: Lab, session_id: str, prompt_id: str) -> ModelRequest:
    """A recorded request, spelled out from its rows."""

    def piece(digest: str) -> bytes:
        rows = lab.query(
            "SELECT body FROM sessions_app_promptpiece WHERE session_id = %s AND digest = %s",
            session_id,
            digest,
        )
        return bytes(rows[0][0])

    def spell(which: str) -> list[str]:
        (row,) = lab.query(
            "SELECT base, kept, messages FROM sessions_app_prompt WHERE id = %s", which
        )
        return [*(spell(row[0])[: row[1]] if row[0] else []), *row[2]]

    ((system, tools),) = lab.query(
        "SELECT system, tools FROM sessions_app_prompt WHERE id = %s", prompt_id
    )
    return ModelRequest(
        system=msgspec.json.decode(piece(system)),
        tools=msgspec.json.decode(piece(tools), type=tuple[ToolSpec, ...]),
        messages=tuple(msgspec.json.decode(piece(d), type=Message) for d in spell(prompt_id)),
    )


@requirement("admin.actions")
async def test_a_live_run_is_stopped(client: Client, lab: Lab, staff: Staff, gates: Gates) -> None:
    held = plan({"tools": [call("gate", port=gates.port, note="held")]}, {})
    async with client.stream(held) as stream:
        await stream.event("tool_call_start")
        await gates.next()
        page = await staff.get(run_path(stream.run_id))
        assert "data-follow=" in page.text
        answer = await staff.post(run_path(stream.run_id, "interrupt"))
        assert answer.status == 302
        await stream.to_end()
    assert await ended(lab, stream.run_id) == "user_abort"
    told = audited(lab, "run.interrupt", stream.run_id)
    assert told["before"] == {"status": "running", "reason": ""}
    assert "Somebody stopped the run" in words(await staff.get(run_path(stream.run_id)))


@requirement("admin.actions")
async def test_a_question_is_answered(client: Client, lab: Lab, staff: Staff, gates: Gates) -> None:
    gates.auto = "wiped"
    asks = plan({"tools": [call("wipe", port=gates.port, note="disk")]}, {"text": "Gone."})
    asked = await client.say(asks)
    (question,) = asked["pendingInteractions"]
    run_id = asked["runId"]
    assert "It waits for a person" in words(await staff.get(run_path(run_id)))
    form = {"question": question["interactionId"], "decision": "approve"}
    assert (await staff.post(run_path(run_id, "answer"), **form)).status == 302
    assert await ended(lab, run_id) == "model_stop"
    assert gates.notes == ["disk"]
    assert audited(lab, "run.answer", run_id)["after"]["status"] == "approved"
    again = await staff.post(run_path(run_id, "answer"), **form)
    assert again.status == 302
    assert "answered it already" in words(await staff.get(run_path(run_id)))


@requirement("admin.actions")
async def test_a_run_is_repeated_and_forked(client: Client, lab: Lab, staff: Staff) -> None:
    picture = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
    tools = [call("dispatch_task", agent="porter", task="Carry it.")]
    said = plan({"text": "First. ", "tools": tools}, {"text": "Done."}, say="Carry this")
    first = await client.talk(said, scope_id="forked", images=[picture])
    there = await staff.post(run_path(first.run_id, "retry"))
    new = re.search(r"run_5F(\w+)", there.url)
    assert new
    assert await ended(lab, f"run_{new[1]}") == "model_stop"
    detail = await client.get(f"/sessions/{first.session_id}?scope_id=forked")
    assert [m["text"] for m in detail["messages"] if m["type"] == "user"] == [said, said]

    fork = await fork_of(staff, first.run_id)
    copy = await client.get(f"/sessions/{fork}?scope_id=forked")
    assert blank(copy["messages"]) == blank(detail["messages"][: len(copy["messages"])])
    assert len(copy["messages"]) == 3
    (block,) = [b for b in copy["messages"][0]["contentBlocks"] if b["type"] == "image"]
    att = block["source"]["attachmentId"]
    got = await client.ask("GET", f"/sessions/{fork}/attachments/{att}?scope_id=forked")
    assert got.status == 200
    assert copy["cost"] != detail["cost"] or copy["cost"] in (0, None)
    more = await client.talk("Go on.", fork, scope_id="forked")
    assert more.reason == "model_stop"
    audited(lab, "run.fork", first.run_id)


async def fork_of(staff: Staff, run_id: str) -> str:
    """Fork a run; the new session."""
    there = await staff.post(run_path(run_id, "fork"))
    found = re.search(r"sess_5F(\w+)", there.url)
    assert found, there
    return f"sess_{found[1]}"


@requirement("admin.actions", "http.fold")
async def test_a_fork_is_told_what_was_told_beside_runs_before_its_own(
    client: Client, lab: Lab, staff: Staff
) -> None:
    runs = [await client.talk("Hello")]
    session_id = runs[0].session_id
    async with client.follow(session_id) as log:
        await log.event("title_changed")
    for title in ("Between", "Before the last"):
        renamed = await client.ask("PATCH", f"/sessions/{session_id}", {"title": title})
        assert renamed.status == 200
        runs.append(await client.talk("And on.", session_id))
    for run in runs:
        fork = await fork_of(staff, run.run_id)
        await client.talk("Go on.", fork)
        assert (await assert_folds(client, lab, fork))["title"] == "Before the last (fork)"
        numbers = [entry.seq for entry in lab.entries(fork)]
        assert numbers == list(range(1, len(numbers) + 1))


def blank(messages: list[dict[str, Any]]) -> str:
    """Messages without the ids that a copy has anew."""
    return re.sub(r"\b(sess|run|msg|tc|att|agent)_?[a-z0-9]{20,}(_\d+)?|[a-z0-9]{26}(_\d+)?", "id",
                  json.dumps(messages, sort_keys=True))  # fmt: skip


@requirement("admin.actions")
async def test_a_run_is_exported_and_its_session_deleted(
    client: Client, lab: Lab, staff: Staff
) -> None:
    stream = await client.talk(plan({"text": "Kept."}, say="Keep this"))
    told = json.loads((await staff.get(run_path(stream.run_id, "export"))).text)
    assert told["run"]["id"] == stream.run_id
    assert "Keep this" in json.dumps(told["messages"])
    assert len(told["modelCalls"]) >= 1
    assert told["prompts"] and told["promptPieces"] and told["events"]
    address = f"/admin/sessions_app/session/{quote(stream.session_id)}/delete/"
    assert "stays counted" in words(await staff.get(address))
    assert (await staff.post(address, post="yes")).status == 302
    assert (await client.ask("GET", f"/sessions/{stream.session_id}")).status == 404
    left = lab.query(
        "SELECT count(*) FROM sessions_app_modelcall WHERE session_id = %s", stream.session_id
    )
    assert left[0][0] >= len(told["modelCalls"])  # its title may have come since
    audited(lab, "session.delete", stream.session_id)


@requirement("admin.actions")
async def test_who_may_only_look_changes_nothing(
    client: Client, lab: Lab, http: aiohttp.ClientSession
) -> None:
    rights = ("sessions_app.view_run", "sessions_app.view_session", "sessions_app.view_modelcall")
    await asyncio.to_thread(make_staff, lab, "viewer", *rights)
    viewer = await Staff(http, client.url).sign_in("viewer")
    stream = await client.talk(plan({"text": "Seen."}))
    page = await viewer.get(run_path(stream.run_id))
    assert "Seen." in page.text
    assert "../retry/" not in page.text
    for verb in ("interrupt", "retry", "fork", "answer"):
        assert (await viewer.post(run_path(stream.run_id, verb))).status == 403
        assert (await viewer.get(run_path(stream.run_id, verb))).status == 405
    address = f"/admin/sessions_app/session/{quote(stream.session_id)}/delete/"
    assert (await viewer.post(address, post="yes")).status == 403
    assert lab.query("SELECT 1 FROM sessions_app_session WHERE id = %s", stream.session_id)
