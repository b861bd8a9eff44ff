"""Automations over REST: listed, stopped and started, and who may do that."""

from __future__ import annotations

import asyncio

from tests.automations_app.made import automation, make_automation, run
from tests.lab import Lab, plan
from tests.requirements import requirement
from tests.wire_client import Client, Stream, eventually

DAILY = {"trigger": "cron", "schedule": "0 9 * * 1-5", "timezone": "Europe/Berlin"}


@requirement("automations.listed")
async def test_the_list_tells_what_is_to_come_and_what_was(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "fails-daily", plan({"error": {"status": 400}}), **DAILY)
    before = await _find(client, "fails-daily")
    assert before["running"] is True and before["webhookTriggered"] is False
    assert before["schedule"] == "0 9 * * 1-5" and before["timezone"] == "Europe/Berlin"
    assert before["nextRun"].endswith(("07:00:00.000Z", "08:00:00.000Z"))
    assert "lastRun" not in before
    reply = await client.post("/automations/fails-daily/run?agentId=plain", {})
    after = await _find(client, "fails-daily")
    assert after["lastRunStatus"] == "error"
    assert after["lastRunError"] == reply.json["error"]
    assert after["lastRunSessionId"] == reply.json["sessionId"]


@requirement("automations.listed")
async def test_runs_come_page_by_page(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "paged", plan({"text": "Page."}))
    ids = [
        (await client.post("/automations/paged/run?agentId=plain", {})).json["runId"]
        for _ in range(3)
    ]
    path = "/automations/paged/runs?agentId=plain&limit=2"
    first = await client.get(path)
    second = await client.get(f"{path}&cursor={first['nextCursor']}")
    assert [each["id"] for each in first["runs"] + second["runs"]] == ids[::-1]
    assert second["nextCursor"] is None
    assert first["runs"][0]["durationMs"] >= 0
    assert (await client.ask("GET", f"{path}&cursor=x")).code == "invalid_field"


@requirement("automations.started-stopped")
async def test_schedules_are_stopped_and_started(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "hourly", "Look.", trigger="cron", schedule="0 * * * *")
    make_automation(workshop, "called", "Look.", trigger="webhook")
    make_automation(workshop, "by-hand", "Look.")
    assert await _turn(client, "hourly", "start") == (409, '"hourly" is already running.')
    assert await _turn(client, "hourly", "stop") == (200, "stopped")
    assert automation(workshop, "hourly", "paused") == (True,)
    assert (await _find(client, "hourly"))["running"] is False
    assert await _turn(client, "hourly", "stop") == (409, '"hourly" is not running.')
    assert await _turn(client, "hourly", "start") == (200, "started")
    called = '"called" is webhook-triggered — it is always available.'
    assert await _turn(client, "called", "start") == (409, called)
    assert await _turn(client, "by-hand", "start") == (409, '"by-hand" has no schedule.')
    assert (await _turn(client, "nowhere", "run"))[0] == 404
    told = workshop.query(
        "SELECT type, audience, data::jsonb->'intervalMs' FROM bus_busevent"
        " WHERE data LIKE '%%hourly%%' ORDER BY id"
    )
    hour = 3_600_000
    assert told == [
        ("automation_stopped", "everyone", None),
        ("automation_started", "everyone", hour),
    ]
    noted = workshop.query(
        "SELECT action, details::jsonb->'after'->>'paused' FROM operations_auditentry"
        " WHERE details::jsonb->>'automation' = 'hourly' ORDER BY number"
    )
    assert noted == [("automation.paused", "true"), ("automation.resumed", "false")]


async def _find(client: Client, name: str) -> dict[str, object]:
    listed = (await client.get("/automations?agentId=plain"))["automations"]
    (found,) = [each for each in listed if each["name"] == name]
    return dict(found)


async def _turn(client: Client, name: str, verb: str) -> tuple[int, str]:
    reply = await client.post(f"/automations/{name}/{verb}?agentId=plain", {})
    told = reply.json
    return reply.status, told["error"]["message"] if "error" in told else told["status"]


@requirement("automations.health")
async def test_health_tells_of_each_automation(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "healthy", plan({"text": "Fine."}), **DAILY)
    reply = await client.post("/automations/healthy/run?agentId=plain", {})
    assert reply.status == 200, reply.raw

    async def told() -> dict[str, object] | None:
        for each in (await client.get("/health"))["automations"]:
            if each["name"] == "healthy" and each["lastRunStatus"] == "success":
                return dict(each)
        return None

    shown = await eventually(told)
    assert shown.keys() == {"name", "agent", "lastRun", "lastRunStatus", "nextRun"}
    assert shown["lastRun"]
    assert shown["nextRun"].endswith(("07:00:00.000Z", "08:00:00.000Z"))


@requirement("automations.run")
async def test_a_body_may_be_left_out_but_is_not_passed_over(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "each-one", plan({"text": "Ran."}), partition="each")
    path = "/automations/each-one/run"
    bare = await client.ask("POST", f"{path}?agentId=plain")
    assert (bare.status, bare.json["output"]) == (200, "Ran.")
    named = await client.post(path, {"agentId": "plain", "scope_id": "mine"})
    assert run(workshop, named.json["runId"], "scope_id") == ("mine",)
    unknown = await client.post(f"{path}?agentId=plain", {"data": 1})
    assert (unknown.status, unknown.code) == (400, "unknown_field")
    text = {"content_type": "text/plain"}
    assert (await client.post(f"{path}?agentId=plain", b"{}", **text)).status == 415
    page = await client.ask("POST", f"{path}?agentId=plain", origin="https://evil.example")
    assert (page.status, page.code) == (403, "origin_forbidden")


@requirement("automations.run", "http.idempotency")
async def test_the_same_request_twice_is_one_run(client: Client, workshop: Lab) -> None:
    made = make_automation(workshop, "once", plan({"text": "Ran."}))
    path, key = "/automations/once/run?agentId=plain", {"idempotency_key": "k-1"}
    first = await client.post(path, {}, **key)
    again = await client.post(path, {}, **key)
    assert (first.status, again.json) == (200, first.json)
    other = await client.post(path, {"agentId": "plain"}, **key)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    opened = client._open(
        "POST", "/automations/once/stream?agentId=plain", {}, {"Idempotency-Key": "k-1"}
    )
    async with opened as stream:
        assert isinstance(await stream.to_end(), Stream)
    assert stream.text == "Ran."
    count = "SELECT count(*) FROM automations_app_automationrun WHERE automation_id = %s"
    assert workshop.query(count, made) == [(1,)]
    noted = "SELECT count(*) FROM operations_auditentry WHERE action = 'automation.run'"
    assert workshop.query(f"{noted} AND subject = %s", str(made)) == [(1,)]
    workshop.change(
        "UPDATE automations_app_automationrun SET created_at = created_at - interval '25 hours'"
        " WHERE automation_id = %s",
        made,
    )
    assert (await client.post(path, {}, **key)).json["runId"] != first.json["runId"]
    assert workshop.query(count, made) == [(2,)]


@requirement("automations.stream", "http.idempotency")
async def test_streams_of_one_request_at_the_same_moment_all_follow_its_run(
    client: Client, workshop: Lab
) -> None:
    made = make_automation(workshop, "at-once", plan({"text": "Ran."}))

    async def follow(key: str) -> str:
        opened = client._open(
            "POST", "/automations/at-once/stream?agentId=plain", {}, {"Idempotency-Key": key}
        )
        async with opened as stream:
            await stream.to_end()
        return stream.text

    for key in ("m-1", "m-2", "m-3"):
        assert await asyncio.gather(*(follow(key) for _ in range(6))) == ["Ran."] * 6
    count = "SELECT count(*) FROM automations_app_automationrun WHERE automation_id = %s"
    assert workshop.query(count, made) == [(3,)]
