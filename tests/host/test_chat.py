"""`POST /chat*`: the frames, their keys, and the JSON answer."""

from __future__ import annotations

from tests.gates import Gates
from tests.lab import MAIN, SIMPLE, Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client, eventually

IDS = {"sessionId", "session_id", "runId"}


@requirement("http.stream", "http.frame", "http.headers", "http.bounds")
async def test_a_stream_is_framed_as_the_page_says(client: Client) -> None:
    async with client.stream(plan({"text": "Hello there, you.", "chars": 4})) as stream:
        await stream.to_end()
        headers = stream.response.headers
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers
    assert stream.events[0] == "init"
    assert stream.events[-1] == "done"
    assert stream.events.count("done") == stream.events.count("init") == 1
    assert [frame.id for frame in stream.frames] == list(range(1, len(stream.frames) + 1))
    assert stream.text == "Hello there, you."
    assert b"[DONE]" not in stream.raw


@requirement("http.one-write")
async def test_every_write_holds_whole_frames(client: Client) -> None:
    message = plan({"deltas": 40, "rate": 400, "tools": [call("long", chars=30_000)]})
    stream = await client.talk(message)
    assert len(stream.writes) > 10
    assert [write for write in stream.writes if not write.endswith(b"\n\n")] == []


@requirement("http.keepalive")
async def test_silence_is_filled_with_comments(client: Client, gates: Gates) -> None:
    async with client.stream(plan({"tools": [call("gate", port=gates.port)]})) as stream:
        gate = await gates.next()
        await stream.until(lambda stream: stream.keepalives >= 2)
        gate.open()
        await stream.to_end()


@requirement("http.superset", "runs.tools-parallel")
async def test_events_carry_the_keys_of_both_clients(client: Client, gates: Gates) -> None:
    gates.auto = "through"
    tools = [
        call("gate", port=gates.port, note="a", chatty=True),
        call("present", widget="metric", data={"label": "Rain", "value": 3}),
        call("fail"),
    ]
    stream = await client.talk(plan({"text": "I look.", "tools": tools}, {"text": "Three."}))
    seen = set(stream.events)
    assert seen >= {"tool_log", "tool_call_progress", "tool_label_update", "widget"}
    for start in stream.all("tool_call_start"):
        assert start.data["tool_name"] == start.data["name"]
        assert start.data["tool_id"] == start.data["id"]
        assert start.data["parameters"] == start.data["args"]
    widget = stream.all("widget")[0].data
    assert widget["type"] == widget["widget_type"] == "metric"
    assert widget["data"] == {"label": "Rain", "value": 3}
    failed = next(r for r in stream.all("tool_call_result") if r.data["name"] == "fail").data
    assert failed["status"] == "error"
    assert failed["error"] == failed["result"]
    assert "secret of the inside" not in stream.raw.decode()
    labels = stream.all("tool_call_start")[0].data
    assert labels["running_label"] == "Going through a"
    done = stream.frames[-1].data
    assert done["usage"].keys() == {
        "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "total_tokens",
    }  # fmt: skip
    assert done["cost"]["currency"] == "USD"
    assert isinstance(done["cost"]["estimatedCostMicros"], int)
    for delta in stream.all("text_delta"):
        assert delta.data["delta"] == delta.data["content"]


@requirement("http.result-cut")
async def test_long_results_are_cut_in_events_and_whole_in_the_session(client: Client) -> None:
    stream = await client.talk(plan({"tools": [call("long", chars=60_000)]}))
    shown = stream.all("tool_call_result")[0].data["result"]
    assert 50_000 <= len(shown) < 50_100
    detail = await client.detail(stream.session_id)
    assert len(detail["messages"][1]["toolCalls"][0]["result"]) == 60_000


@requirement("http.chat", "http.sync", "http.chat-json")
async def test_chat_and_sync_answer_one_document(client: Client) -> None:
    message = plan(
        {"text": "First.", "tools": [call("gate", note="x"), call("fail")]}, {"text": "Last."}
    )
    for path in ("/chat", "/chat/sync"):
        reply = await client.post(path, client.body(message))
        answer = reply.json
        assert reply.status == 200
        assert answer.keys() >= IDS | {
            "response",
            "toolCalls",
            "tool_calls",
            "usage",
            "cost",
            "reason",
        }
        assert answer["sessionId"] == answer["session_id"]
        assert answer["response"] == "First.\n\nLast."
        assert answer["reason"] == "model_stop"
        assert answer["toolCalls"] == answer["tool_calls"]
        passed, failed = answer["toolCalls"]
        assert passed["name"] == "gate"
        assert passed["args"] == {"note": "x"}
        assert (passed["status"], passed["result"]) == ("success", "passed x")
        assert failed["status"] == "error"
        assert "result" not in failed
        assert failed["error"]


@requirement("http.accept", "http.sync")
async def test_accept_decides_on_chat_and_not_on_sync(client: Client) -> None:
    accept = "text/event-stream"
    reply = await client.post("/chat", client.body("Hello"), accept=accept)
    assert reply.headers["Content-Type"] == accept
    assert reply.raw.startswith(b"id: 1\nevent: init\n")
    reply = await client.post("/chat/sync", client.body("Hello"), accept=accept)
    assert reply.headers["Content-Type"].startswith("application/json")


@requirement("http.chat-error", "http.error-shape")
async def test_a_failed_run_answers_502_with_its_session(client: Client) -> None:
    error = {"error": {"status": 400, "message": "This model likes nothing."}}
    reply = await client.post("/chat", client.body(plan(error)))
    assert reply.status == 502
    assert reply.json["error"]["code"] == "provider_bad_request"
    assert "likes nothing" in reply.json["error"]["message"]
    assert reply.json["sessionId"] == reply.json["session_id"]
    detail = await client.detail(reply.json["sessionId"])
    assert detail["messages"][-1]["type"] == "error"


@requirement("http.model-pin")
async def test_a_model_of_the_manifest_can_be_pinned_and_no_other(client: Client, lab: Lab) -> None:
    pin = {"provider": "openai", "model": "gpt-4o-mini"}
    answer = await client.say("A pinned word, aardvark.", model=pin)
    asked = [r for r in lab.fake.requests("aardvark") if r.body.get("stream")]
    assert asked[0].body["model"] == "gpt-4o-mini"
    assert answer["reason"] == "model_stop"
    reply = await client.post(
        "/chat", client.body("Hi", model={"provider": "openai", "model": "x"})
    )
    assert (reply.status, reply.code) == (400, "invalid_field")
    assert f"anthropic/{MAIN}" in reply.json["error"]["message"]


@requirement("http.max-session-tokens")
async def test_a_cap_on_tokens_ends_the_run(client: Client) -> None:
    spent = {"input": 900, "output": 200}
    message = plan({"tools": [call("gate")], "usage": spent}, {"text": "Too late."})
    stream = await client.talk(message, max_session_tokens=1000)
    assert stream.reason == "budget_exceeded"
    assert "Too late." not in stream.text
    again = await client.talk("And now?", stream.session_id, maxSessionTokens=1000)
    assert again.reason == "budget_exceeded"
    assert (await client.talk("And now?", stream.session_id)).reason == "model_stop"


@requirement("runs.title")
async def test_a_title_follows_the_first_done(client: Client) -> None:
    async with client.stream("Name this, please.") as stream:
        await stream.to_end()
    async with client.follow(stream.session_id, stream.last_id) as later:
        title = (await later.event("title_changed")).data["title"]
    assert title
    assert (await client.detail(stream.session_id))["title"] == title
    second = await client.talk("And again.", stream.session_id)
    async with client.follow(stream.session_id) as whole:
        await whole.until(lambda whole: whole.last_id == second.last_id)
        assert whole.events.count("title_changed") == 1


@requirement("runs.title")
async def test_a_title_that_a_person_gives_meanwhile_stays(client: Client, lab: Lab) -> None:
    stream = await client.talk(plan({"text": "Made up", "slow_first_ms": 1500}, model=SIMPLE))
    session_id = stream.session_id
    await client.ask("PATCH", f"/sessions/{session_id}", {"title": "Mine"})
    made = "SELECT 1 FROM sessions_app_modelcall WHERE session_id = %s AND purpose = 'title'"

    async def is_made() -> bool:
        return bool(lab.query(made, session_id))

    await eventually(is_made)
    second = await client.talk("And again.", session_id)
    async with client.follow(session_id) as whole:
        await whole.until(lambda whole: whole.last_id == second.last_id)
    assert [frame.data["title"] for frame in whole.all("title_changed")] == ["Mine"]
    assert (await client.detail(session_id))["title"] == "Mine"
    assert len(lab.query(made, session_id)) == 1


@requirement("runs.title")
async def test_a_title_comes_with_the_first_answer_however_its_run_ends(
    client: Client, gates: Gates
) -> None:
    error = {"error": {"status": 400, "message": "No such luck."}}
    failed = await client.talk(plan(error))
    assert failed.reason == "error"
    better = await client.talk(plan({"text": "Better."}), failed.session_id)
    assert better.reason == "model_stop"
    tools = [call("gate", port=gates.port)]
    async with client.stream(plan({"text": "I look. ", "tools": tools})) as stopped:
        gate = await gates.next()
        await stopped.event("tool_call_start")
        await client.post(f"/sessions/{stopped.session_id}/interrupt", {})
        await stopped.to_end()
        await gate.left()
    assert stopped.reason == "user_abort"
    for session_id in (failed.session_id, stopped.session_id):
        async with client.follow(session_id) as log:
            assert (await log.event("title_changed")).data["title"]


@requirement("http.chat-parked")
async def test_json_answers_wait_for_no_person(client: Client) -> None:
    answer = await client.say(plan({"text": "Shall I?", "tools": [call("wipe", note="disk")]}))
    assert answer["reason"] == "awaiting_confirmation"
    assert [q["kind"] for q in answer["pendingInteractions"]] == ["confirmation"]
    assert answer["response"] == "Shall I?"
