"""Credentials in results are recognised by their shape; ordinary words are left alone."""

from __future__ import annotations

import json

import pytest

from agentsite.engine.events import ToolLogged, ToolProgressed, WidgetShown
from agentsite.engine.messages import TextPart, ToolResultPart
from agentsite.host.output_guard import guard_event, guard_result, scan
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client

FOUND = {
    "AWS key": "AKIA" + "ABCDEFGH23456723",
    "GitHub token": "ghp_" + "a1" * 18,
    "GitLab token": "glpat-" + "a1" * 10,
    "Slack token": "xoxb-" + "12345-67890-abc",
    "Stripe key": "sk_live_" + "a1" * 12,
    "Anthropic key": "sk-ant-" + "api03-" + "a1" * 20,
    "OpenAI key": "sk-proj-" + "a1" * 20,
    "Google key": "AIza" + "a1" * 17 + "b",
    "private key": "-----BEGIN RSA "
    + "PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----",
}


@requirement("agent.output-guard")
@pytest.mark.parametrize("kind", FOUND)
def test_what_has_the_shape_of_a_credential_is_taken_out(kind: str) -> None:
    part = ToolResultPart("tc_1", "t", "ok", (TextPart(f'{{"key": "{FOUND[kind]}"}} and on'),))
    guarded, kinds = guard_result(part)
    assert kinds == {kind}
    assert guarded.content == (TextPart(f'{{"key": "[REDACTED {kind}]"}} and on'),)


@pytest.mark.parametrize(
    "text",
    ["sk-8", "the AKIA prefix", "ghp_short", "BEGIN PUBLIC KEY", "task_live_abc", "a" * 5_000],
)
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert scan(text) == (text, frozenset())


def test_a_key_that_is_cut_off_is_taken_out_to_its_end() -> None:
    text, kinds = scan("x -----BEGIN PRIVATE " + "KEY-----\nMIIEabc")
    assert (text, kinds) == ("x [REDACTED private key]", {"private key"})


@requirement("agent.output-guard")
def test_what_a_tool_tells_while_it_runs_is_searched_too() -> None:
    key = FOUND["AWS key"]
    for event in (
        ToolLogged("tc_1", "t", f"got {key}"),
        ToolProgressed("tc_1", {"rows": [1, {key: [key]}]}),
        WidgetShown("metric", {"label": "key", "value": key}, "tc_1"),
    ):
        guarded, kinds = guard_event(event)
        assert (type(guarded), kinds) == (type(event), {"AWS key"})
        assert key not in str(guarded)
    plain = ToolProgressed("tc_1", {"rows": 2})
    assert guard_event(plain) == (plain, frozenset())


@requirement("agent.output-guard")
async def test_what_a_tool_gives_away_is_shown_to_nobody_and_noted(
    client: Client, gates: Gates, lab: Lab
) -> None:
    key, gates.auto = FOUND["AWS key"], f"the key is {FOUND['AWS key']}"
    turn = {"tools": [call("gate", port=gates.port)]}
    stream = await client.talk(plan(turn, {"text": "Done."}, say="give-away"))
    (result,) = stream.all("tool_call_result")
    assert result.data["result"] == "the key is [REDACTED AWS key]"
    asked = [request.body for request in lab.fake.requests("give-away")]
    assert "[REDACTED AWS key]" in json.dumps(asked[1])
    for place in (stream.raw.decode(), json.dumps(asked), str(lab.entries(stream.session_id))):
        assert key not in place
    noted = "SELECT details FROM operations_auditentry WHERE action = %s AND subject = %s"
    ((details,),) = lab.query(noted, "result.redacted", result.data["id"])
    assert json.loads(details) == {"kinds": ["AWS key"], "tool": "gate"}
