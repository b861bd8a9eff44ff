"""Models that fail: another one answers, or the run ends and says why."""

from __future__ import annotations

import pytest

from tests.lab import MAIN, Lab, plan
from tests.requirements import requirement
from tests.wire_client import Client, eventually

KEY_REFUSED = {"error": {"status": 401, "message": "That key opens nothing."}}


@requirement("runs.fallback")
@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_the_fallback_answers_before_any_text(client: Client, status: int) -> None:
    error = {"error": {"status": status, "retry_after": 0.01}}
    agent = "limited" if status == 429 else "hasty"
    stream = await client.of(agent).talk(plan(error))
    switched = stream.all("provider_switched")[0]
    assert switched.data["from"] == f"anthropic/{MAIN}"
    assert switched.data["to"] == "openai/gpt-4.1"
    assert stream.events.index("provider_switched") < stream.events.index("text_delta")
    assert stream.reason == "model_stop"
    assert stream.text


@requirement("runs.fallback", "runs.cost", "admin.alerts")
async def test_a_failed_try_and_its_fallback_are_two_rows(client: Client, lab: Lab) -> None:
    stream = await client.of("hasty").talk(plan(KEY_REFUSED))
    rows = lab.query(
        "SELECT provider, error, cost_micros FROM sessions_app_modelcall"
        " WHERE run_id = %s AND purpose = 'main' ORDER BY id", stream.run_id,
    )  # fmt: skip
    assert [(provider, error) for provider, error, _ in rows] == [
        ("anthropic", "auth"),
        ("openai", ""),
    ]
    assert rows[0][2] == 0
    done = stream.frames[-1].data["cost"]["estimatedCostMicros"]
    assert done == sum(cost for _, _, cost in rows) > 0

    async def told() -> bool:
        alerts = lab.query("SELECT title FROM operations_alert WHERE kind = 'provider'")
        return (f"anthropic/{MAIN} refuses the credentials of hasty",) in alerts

    await eventually(told)


FAILURES = {
    "refused key": (KEY_REFUSED, "provider_auth", False),
    "bad request": ({"error": {"status": 400, "message": "No."}}, "provider_bad_request", False),
    "cut": ({"deltas": 6, "cut_after": 3}, "provider_server", True),
    "clean cut": ({"deltas": 6, "cut_after": 3, "cut": "clean"}, "provider_server", True),
    "error inside": (
        {"deltas": 6, "error": {"status": 529}, "error_event_after": 2}, "provider_server", True
    ),
    "silence": ({"deltas": 6, "silence_after": 2}, "provider_timeout", True),
    "silence from the start": ({"silence_after": 0}, "provider_timeout", True),
}  # fmt: skip


@requirement("runs.provider-errors")
@pytest.mark.parametrize("case", FAILURES)
async def test_a_model_that_fails_ends_the_run_with_an_error(client: Client, case: str) -> None:
    told, code, retryable = FAILURES[case]
    stream = await client.of("alone").talk(plan(told))
    assert stream.reason == "error"
    error = stream.all("error")[0].data
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert error["message"].startswith(f"anthropic/{MAIN}: ")
    assert stream.events[-2:] == ["error", "done"]
    detail = await client.detail(stream.session_id)
    assert detail["messages"][-1]["type"] == "error"
    assert detail["messages"][-1]["text"] == error["message"]
    if stream.text:
        assert detail["messages"][1]["partial"] is True
        assert detail["messages"][1]["text"] == stream.text
    after = await client.of("alone").talk(plan({"text": "Better."}), stream.session_id)
    assert after.reason == "model_stop"


@requirement("runs.provider-errors")
async def test_a_busy_vendor_is_asked_again_and_people_are_told(client: Client) -> None:
    limited = {"error": {"status": 429, "retry_after": 0.05}}
    stream = await client.of("throttled").talk(plan(limited))
    assert "rate_limited" in stream.all("notice")[0].data["message"]
    assert stream.reason == "error"
    assert stream.all("error")[0].data["code"] == "provider_rate_limited"
