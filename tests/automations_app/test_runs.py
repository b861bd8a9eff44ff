"""Runs of automations: ordinary runs in sessions of their own, and what comes of how they end."""

from __future__ import annotations

from typing import Any

from tests.automations_app.made import failures, make_automation, queue_delivery, queue_run, run
from tests.folding import assert_folds
from tests.gates import Gates
from tests.lab import SIMPLE, Lab, call, plan, task
from tests.requirements import requirement
from tests.wire_client import Client, Stream, eventually

FAILS = {"error": {"status": 400}}


async def start(client: Client, name: str, status: int = 200, agent: str = "plain") -> Any:
    """Run an automation by hand, to its end."""
    reply = await client.post(f"/automations/{name}/run?agentId={agent}", {})
    assert reply.status == status, reply.raw
    return reply.json


@requirement("automations.run", "automations.session", "http.fold")
async def test_a_run_is_an_ordinary_run_in_an_archived_session_of_its_own(
    client: Client, workshop: Lab
) -> None:
    prompt = plan({"text": "Looking.", "tools": [call("gate", note="")]}, {"text": "All well."})
    make_automation(workshop, "checks", prompt, title="Check it", write_enabled=True)
    told = await start(client, "checks")
    assert told["status"] == "completed" and told["automation"] == "checks"
    assert told["output"] == "All well."
    session = await assert_folds(client, workshop, told["sessionId"])
    assert session["status"] == "archived"
    assert session["automation"] == "checks"
    assert session["tags"] == ["checks", told["runId"]]
    assert session["title"] == "Check it"
    listed = (await client.get("/sessions?automation=checks"))["sessions"]
    assert [each["id"] for each in listed] == [told["sessionId"]]
    again = await start(client, "checks")
    assert again["sessionId"] != told["sessionId"]
    row = run(workshop, told["runId"], "status", "scope_id", "cause", "output", "summary")
    assert row == ("success", "", "manual", "All well.", "All well.")
    kinds = workshop.query(
        "SELECT session_type FROM sessions_app_session WHERE id = %s", told["sessionId"]
    )
    assert kinds == [("automation",)]


@requirement("automations.continuity")
async def test_the_next_run_is_told_what_the_last_one_reported(
    client: Client, workshop: Lab
) -> None:
    make_automation(workshop, "goes-on", plan({"text": "Seven are open."}, say="continuity-1"))
    await start(client, "goes-on")
    await start(client, "goes-on")
    first, second = [r.body for r in workshop.fake.requests("continuity-1")]
    assert "lastRunSummary" not in str(first)
    assert "lastRunSummary: Seven are open." in str(second)


@requirement("automations.continuity", "automations.partitions")
async def test_no_partition_is_told_what_another_one_reported(
    client: Client, workshop: Lab
) -> None:
    prompt = plan({"text": "Of a tenant."}, say="continuity-2")
    made = make_automation(workshop, "of-each", prompt, partition="each")
    path = "/automations/of-each/run?agentId=plain"
    for scope in ("first", "second", "first"):
        assert (await client.post(path, {"scope_id": scope})).status == 200
    told = [str(r.body) for r in workshop.fake.requests("continuity-2")]
    assert ["lastRunSummary" in each for each in told] == [False, False, True]
    workshop.change("DELETE FROM automations_app_automationrun WHERE automation_id = %s", made)
    assert (await client.post(path, {"scope_id": "first"})).status == 200
    assert "lastRunSummary" not in str(workshop.fake.requests("continuity-2")[-1].body)


@requirement("automations.summary")
async def test_a_long_output_is_summed_up_by_the_simple_model(
    client: Client, workshop: Lab
) -> None:
    long = "wordy-output " * 200
    make_automation(workshop, "wordy", plan({"text": long}))
    told = await start(client, "wordy")
    asked = [r for r in workshop.fake.requests("wordy-output") if r.body["model"] == SIMPLE]
    assert len(asked) == 1
    (summary,) = run(workshop, told["runId"], "summary")
    assert summary and len(summary) <= 1_200 and "wordy-output" not in summary
    purposes = workshop.query(
        "SELECT purpose, count(*) FROM sessions_app_modelcall WHERE session_id = %s GROUP BY 1",
        told["sessionId"],
    )
    assert sorted(purposes) == [("main", 1), ("summary", 1)]


@requirement("automations.failure-logged", "automations.no-retry")
async def test_a_failed_run_is_told_and_logged_with_its_last_call(
    client: Client, workshop: Lab
) -> None:
    prompt = plan({"tools": [call("gate_safe", note="")]}, FAILS)
    make_automation(workshop, "fails-once", prompt)
    told = await start(client, "fails-once", 500)
    assert told["matched"] is True and told["error"]
    status, error, last = run(workshop, told["runId"], "status", "error", "last_tool_call")
    assert status == "failed" and error == told["error"] and last.startswith("gate_safe tc_")
    (line,) = [
        each for each in workshop.servers[0].log.splitlines() if 'automation "fails-once"' in each
    ]
    for part in (told["runId"], told["sessionId"], last, error):
        assert part in line
    assert failures(workshop, "fails-once") == [("", 1)]
    assert len((await client.get("/automations/fails-once/runs?agentId=plain"))["runs"]) == 1


@requirement("automations.retries")
async def test_a_run_is_tried_again_as_often_as_the_automation_says(
    client: Client, workshop: Lab
) -> None:
    make_automation(workshop, "fails-twice", plan(FAILS), retries=2)
    told = await start(client, "fails-twice", 500)
    rows = workshop.query(
        "SELECT r.id, r.tries, r.cause, r.status FROM automations_app_automationrun r"
        " JOIN automations_app_automation a ON a.id = r.automation_id"
        " WHERE a.name = 'fails-twice' ORDER BY r.tries"
    )
    assert [row[1:] for row in rows] == [
        (1, "manual", "failed"),
        (2, "retry", "failed"),
        (3, "retry", "failed"),
    ]
    assert told["runId"] == rows[-1][0]
    assert failures(workshop, "fails-twice") == [("", 1)]


@requirement("automations.read-only")
async def test_nothing_is_written_unless_the_automation_may(
    client: Client, workshop: Lab, gates: Gates
) -> None:
    gates.auto = "through"
    tools = [call(name, port=gates.port, note=name) for name in ("gate", "gate_safe", "wipe")]
    prompt = plan({"tools": tools}, {"text": "Done."})
    make_automation(workshop, "reads", prompt)
    told = await start(client, "reads")
    assert await results(client, told["sessionId"]) == {
        "gate": "Write operations are not allowed in read-only mode",
        "gate_safe": "through",
        "wipe": "Write operations are not allowed in read-only mode",
    }
    assert gates.notes == ["gate_safe"]
    make_automation(workshop, "writes", plan({"tools": tools[:1]}, {}), write_enabled=True)
    told = await start(client, "writes")
    assert await results(client, told["sessionId"]) == {"gate": "through"}


@requirement("automations.read-only")
async def test_sub_agents_of_a_read_only_run_write_nothing_either(
    client: Client, workshop: Lab, gates: Gates
) -> None:
    inner = task({"tools": [call("gate", port=gates.port, note="inner")]}, {"text": "Tried."})
    dispatch = call("dispatch", agent_name="porter", task=inner)
    make_automation(workshop, "delegates", plan({"tools": [dispatch]}, {"text": "Done."}))
    told = await start(client, "delegates")
    inside = workshop.query(
        "SELECT name, status FROM sessions_app_toolcall"
        " WHERE session_id = %s AND subagent_id IS NOT NULL",
        told["sessionId"],
    )
    assert inside == [("gate", "error")]
    assert gates.notes == []


async def results(client: Client, session_id: str) -> dict[str, str]:
    """What each tool of a session has answered, by name."""
    messages = (await client.detail(session_id))["messages"]
    calls = [each for message in messages for each in message.get("toolCalls") or ()]
    return {each["toolName"]: each["result"] for each in calls}


@requirement("automations.no-person")
async def test_nobody_is_there_to_confirm(client: Client, workshop: Lab, gates: Gates) -> None:
    gates.auto = "through"
    tools = [call(name, port=gates.port, note=name) for name in ("wipe", "gate")]
    prompt = plan({"tools": tools}, {"text": "I could not."})
    make_automation(workshop, "asks-nobody", prompt, write_enabled=True)
    told = await start(client, "asks-nobody")
    assert told["output"] == "I could not."
    said = await results(client, told["sessionId"])
    assert "nobody is there to be asked" in said["wipe"]
    assert "another action" in said["gate"]
    assert gates.notes == []
    asked = workshop.query(
        "SELECT count(*) FROM sessions_app_interaction WHERE session_id = %s", told["sessionId"]
    )
    assert asked == [(0,)]


@requirement("automations.wait-for-person")
async def test_a_run_may_wait_for_the_admin(client: Client, workshop: Lab, gates: Gates) -> None:
    gates.auto = "through"
    prompt = plan({"tools": [call("wipe", port=gates.port, note="w")]}, {"text": "Wiped."})
    make_automation(workshop, "waits", prompt, write_enabled=True, wait_for_person=True)
    told = await start(client, "waits", 202)
    assert told["status"] == "waiting"
    assert run(workshop, told["runId"], "status") == ("waiting",)
    assert (await client.answer(told["sessionId"], approved=True)).status == 200

    async def ended() -> bool:
        return bool(run(workshop, told["runId"], "status")[0] == "success")

    await eventually(ended)
    assert run(workshop, told["runId"], "output") == ("Wiped.",)
    assert gates.notes == ["w"]


@requirement("automations.stream")
async def test_a_manual_run_can_be_followed(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "shown", plan({"text": "Here I am."}))
    opened = client._open("POST", "/automations/shown/stream?agentId=plain", {}, {})
    async with opened as stream:
        assert isinstance(await stream.to_end(), Stream)
    assert stream.frames[0].event == "init"
    assert stream.frames[0].data["automation"] == "shown"
    assert (stream.text, stream.reason) == ("Here I am.", "model_stop")


@requirement("automations.sweep")
async def test_what_a_crash_left_queued_is_started_by_whoever_sees_it(
    client: Client, workshop: Lab
) -> None:
    made = make_automation(workshop, "left-over", plan({"text": "Carried on."}, say="left-over-1"))
    queue_run(workshop, made, "arun_left_over")

    async def ended() -> bool:
        return bool(run(workshop, "arun_left_over", "status")[0] == "success")

    await eventually(ended)
    assert run(workshop, "arun_left_over", "output") == ("Carried on.",)
    assert len(workshop.fake.requests("left-over-1")) == 1


@requirement("automations.sweep")
async def test_a_killed_process_loses_and_doubles_nothing(
    client: Client, workshop: Lab, gates: Gates
) -> None:
    victim = workshop.start(SHUTDOWN_GRACE_SECONDS="2").wait_ready()
    prompt = plan({"tools": [call("gate_safe", port=gates.port, note="k")]}, {"text": "Survived."})
    made = make_automation(workshop, "survives", prompt)
    doomed = Client(client.http, victim.url)
    opened = doomed._open("POST", "/automations/survives/stream?agentId=plain", {}, {})
    async with opened as stream:
        await stream.event("tool_call_start")
        await gates.next()
        victim.kill()
    (await gates.next()).open()

    async def ended() -> list[tuple[Any, ...]]:
        return workshop.query(
            "SELECT output FROM automations_app_automationrun"
            " WHERE automation_id = %s AND status = 'success'",
            made,
        )

    assert await eventually(ended, 30) == [("Survived.",)]
    runs = workshop.query(
        "SELECT count(*) FROM automations_app_automationrun WHERE automation_id = %s", made
    )
    assert runs == [(1,)]


@requirement("automations.partitions")
async def test_a_run_belongs_to_the_automations_partition(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "of-acme", plan({"text": "For acme."}), partition="acme")
    told = await start(client, "of-acme")
    assert run(workshop, told["runId"], "scope_id") == ("acme",)
    path = "/automations/of-acme/runs?agentId=plain"
    assert (await client.get(path))["runs"] == []
    page = await client.get(f"{path}&scope_id=acme")
    assert [(each["id"], each["status"]) for each in page["runs"]] == [(told["runId"], "success")]
    listed = await client.get("/automations?agentId=plain")
    (shown,) = [each for each in listed["automations"] if each["name"] == "of-acme"]
    assert "lastRun" not in shown


@requirement("automations.queue")
async def test_due_runs_wait_for_each_other_where_they_shall(
    client: Client, workshop: Lab, gates: Gates
) -> None:
    prompt = plan({"tools": [call("gate_safe", port=gates.port, note="q")]}, {"text": "Next."})
    made = make_automation(workshop, "in-turn", prompt, overlap="queue")
    queue_run(workshop, made, "arun_turn_1", cause="cron")
    first = await gates.next()
    queue_run(workshop, made, "arun_turn_2", cause="cron")
    other = make_automation(workshop, "passes", plan({"text": "Past."}))
    queue_run(workshop, other, "arun_passes")

    async def passed() -> bool:
        return bool(run(workshop, "arun_passes", "status")[0] == "success")

    await eventually(passed)  # the sweep has seen the second one too
    assert run(workshop, "arun_turn_2", "status") == ("queued",)
    first.open()
    (await gates.next()).open()

    async def both() -> bool:
        ids = ("arun_turn_1", "arun_turn_2")
        return all(run(workshop, each, "status")[0] == "success" for each in ids)

    await eventually(both)


@requirement("automations.delivery-retries")
async def test_a_delivery_of_an_agent_that_is_not_served_waits(workshop: Lab) -> None:
    made = make_automation(workshop, "elsewhere", "Go.", agent="nowhere")
    done = queue_run(workshop, made, "arun_elsewhere", status="success")
    key = queue_delivery(
        workshop, made, done, target_type="store", target='{"type": "store", "store": "s"}'
    )

    async def told() -> list[tuple[Any, ...]]:
        return workshop.query(
            "SELECT status, attempts, problem FROM automations_app_delivery"
            " WHERE id = %s AND problem <> ''",
            key,
        )

    problem = 'The agent "nowhere" is not served here.'
    assert await eventually(told, 30) == [("pending", 1, problem)]
    workshop.change("DELETE FROM automations_app_delivery WHERE id = %s", key)
