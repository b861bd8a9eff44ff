"""A replay: the same engine against the record, with nothing outside touched, and money counted."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import aiohttp
import pytest

from agentsite.engine.messages import TextPart
from agentsite.host.replay import Record
from tests.folding import assert_folds
from tests.gates import Gates
from tests.host.test_run_page import audited, ended, words
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.staff import Staff, make_staff, run_path
from tests.wire_client import Client


@pytest.fixture
async def staff(lab: Lab, http: aiohttp.ClientSession) -> Staff:
    """An operator with every right."""
    await asyncio.to_thread(make_staff, lab, "operator", superuser=True)
    return await Staff(http, lab.servers[0].url).sign_in("operator")


async def replay(staff: Staff, run_id: str, **form: str) -> str:
    """Start a replay; its run."""
    there = await staff.post(run_path(run_id, "start"), **form)
    found = re.search(r"run_5F(\w+)", there.url)
    assert found, there
    return f"run_{found[1]}"


@requirement("admin.replay")
async def test_tools_are_answered_from_the_record_and_nothing_is_touched(
    client: Client, lab: Lab, staff: Staff, gates: Gates
) -> None:
    gates.auto = f"weighed {uuid.uuid4().hex}"
    scope = f"replayed-{uuid.uuid4().hex}"
    word = f"scales{uuid.uuid4().hex}"
    tools = [call("gate", port=gates.port, note="once"), call("wipe", port=gates.port, note="disk")]
    said = plan({"text": "One moment. ", "tools": tools}, {"text": "It is so."}, say=f"Use {word}")
    before = await client.talk("Hello", scope_id=scope)
    async with client.stream(said, before.session_id, scope_id=scope) as stream:
        await stream.event("confirmation_required")
        await client.post("/ask-user-response?scope_id=" + scope, {
            "sessionId": stream.session_id, "approved": True})  # fmt: skip
        await stream.to_end()
    assert sorted(gates.notes) == ["disk", "once"]
    asked = len(lab.fake.requests(word))
    form = words(await staff.get(run_path(stream.run_id, "replay")))
    assert 'name="system"' in form
    new = await replay(staff, stream.run_id, system="You are somebody else.", model="")
    assert await ended(lab, new) == "model_stop"

    assert sorted(gates.notes) == ["disk", "once"]
    sent = [each.body for each in lab.fake.requests(word)[asked:]]
    assert [body["system"][0]["text"] for body in sent] == ["You are somebody else."] * 2
    assert gates.auto in str(sent[1]["messages"])
    assert "Hello" in str(sent[0]["messages"])
    both = words(await staff.get(run_path(new, "compare")))
    assert both.count("It is so.") == 2
    assert both.count(gates.auto) == 4
    assert "Changed: system." in both
    sums = lab.query(
        "SELECT r.cost_micros, r.input, sum(c.cost_micros), sum(c.input), array_agg(c.purpose)"
        " FROM sessions_app_run r JOIN sessions_app_modelcall c ON c.run_id = r.id"
        " WHERE r.id = %s GROUP BY r.id",
        new,
    )
    assert sums[0][:2] == sums[0][2:4]
    assert set(sums[0][4]) == {"replay"}
    listed = (await client.get(f"/sessions?scope_id={scope}"))["sessions"]
    assert [row["id"] for row in listed] == [before.session_id]
    told = lab.query("SELECT DISTINCT audience FROM bus_busevent WHERE data LIKE %s", f"%{new}%")
    assert told == [("staff",)]
    assert audited(lab, "run.start", stream.run_id)["after"] == {"run": new, "changed": ["system"]}


@requirement("admin.replay", "http.fold")
async def test_another_model_asks_what_was_not_recorded(
    client: Client, lab: Lab, staff: Staff, gates: Gates
) -> None:
    gates.auto = "through"
    limited = client.of("limited")
    other: dict[str, Any] = {
        "model": "gpt-4.1",
        "tools": [call("gate", port=gates.port, note="never seen")],
    }
    last = {"model": "gpt-4.1", "text": "Oh."}
    # The first model has no part in this plan: it answers something else.
    stream = await limited.talk(plan(other, last))
    new = await replay(staff, stream.run_id, model="openai/gpt-4.1")
    assert await ended(lab, new) == "model_stop"
    assert gates.notes == []
    both = words(await staff.get(run_path(new, "compare")))
    assert "Not recorded: this is a replay" in both
    assert "openai/gpt-4.1" in both
    assert "Oh." in both
    ((session_id,),) = lab.query("SELECT session_id FROM sessions_app_run WHERE id = %s", new)
    detail = await assert_folds(limited, lab, session_id)
    assert detail["title"] == f"Replay of {stream.run_id}"

    wrong = await replay(staff, stream.run_id, model="openai/nobodys")
    assert await ended(lab, wrong) == "error"
    assert "is not a model of this agent" in words(await staff.get(run_path(wrong)))


@requirement("admin.replay")
def test_equal_calls_have_their_results_in_turn() -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"kind": "text", "text": text}]

    record = Record(
        [
            ("look", {"a": 1, "b": [2]}, "ok", said("first")),
            ("look", {"b": [2], "a": 1}, "error", said("second")),
            ("look", {"a": 2}, "denied", None),
        ]
    )
    taken = [record.take("look", {"b": [2], "a": 1}) for _ in range(3)]
    assert [(result.parts, result.error) for result in taken] == [
        ((TextPart("first"),), False),
        ((TextPart("second"),), True),
        ((TextPart("second"),), True),
    ]
    assert record.take("look", {"a": 2}).error
    assert "Not recorded" in record.take("look", {"a": 3}).text
    assert record.take("gaze", {"a": 2}).error
