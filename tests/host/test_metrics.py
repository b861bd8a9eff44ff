"""What one request adds to the counters at `/metrics`."""

from __future__ import annotations

import uuid

from tests.lab import call, plan
from tests.requirements import requirement
from tests.telemetry.samples import read, total
from tests.wire_client import Client


async def scrape(client: Client) -> str:
    reply = await client.ask("GET", "/metrics")
    assert reply.status == 200
    return reply.raw.decode()


@requirement("ops.metrics")
async def test_a_run_moves_the_counters(client: Client) -> None:
    before = read(await scrape(client))
    await client.of("scripted").talk("Who were our best customers last month?")
    after = read(await scrape(client))

    def grown(name: str, **of: str) -> float:
        return total(after, name, **of) - total(before, name, **of)

    assert grown("agentsite_runs_ended_total", reason="model_stop") == 1
    assert grown("agentsite_model_calls_total", error="", purpose="main") == 3
    assert grown("agentsite_model_calls_total", error="", purpose="subagent") >= 1
    assert grown("agentsite_tool_calls_total", tool="present", status="ok") == 1
    assert grown("agentsite_tokens_total", kind="input") > 0
    assert after["agentsite_queued_runs", frozenset()] == 0
    assert after["agentsite_open_streams", frozenset()] == before.get(
        ("agentsite_open_streams", frozenset()), 0
    )


@requirement("ops.metrics")
async def test_a_made_up_tool_is_no_label_of_its_own(client: Client) -> None:
    before = read(await scrape(client))
    made_up = f"made_up_{uuid.uuid4().hex}"
    await client.talk(plan({"tools": [call(made_up)]}, {"text": "So it is."}))
    text = await scrape(client)
    assert made_up not in text
    unknown = {"tool": "(unknown)", "status": "error"}
    name = "agentsite_tool_calls_total"
    assert total(read(text), name, **unknown) - total(before, name, **unknown) == 1
