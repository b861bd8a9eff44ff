"""What an agent asks a person, over MCP: forms approve, words do not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from mcp import Client as Mcp

from tests.lab import Lab, call, plan
from tests.mcp_server.speaking import MODES, refused, said, speak
from tests.requirements import requirement
from tests.server import Client
from tests.servers import Server

MODERN = "2026-07-28"


class Person:
    """Fills in the forms that a client puts before it."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self.seen: list[types.ElicitRequestFormParams] = []
        self._answers = list(answers)

    async def fill_in(self, context: Any, params: Any) -> types.ElicitResult:
        self.seen.append(params)
        return self._answers.pop(0)


def accept(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


@asynccontextmanager
async def meet(
    server: Server, client: Client, mode: str, person: Person | None = None
) -> AsyncIterator[Mcp]:
    address = f"{server.url}/mcp/{client.agent}?scope_id={client.scope}"
    more = {} if person is None else {"elicitation_callback": person.fill_in}
    async with speak(address, mode, **more) as mcp:
        yield mcp


def result_of(document: dict[str, Any], name: str) -> str:
    return next(str(call.get("result")) for call in document["toolCalls"] if call["name"] == name)


@requirement("mcp.person")
@pytest.mark.parametrize(
    ("form", "carried_out"),
    [
        (accept(decision="approve"), True),
        (accept(decision="deny"), False),
        (accept(), False),
        (accept(decision=True), False),
        (accept(approved=True), False),
        (types.ElicitResult(action="decline"), False),
    ],
)
async def test_an_action_is_approved_in_a_form(
    server: Server, client: Client, form: types.ElicitResult, carried_out: bool
) -> None:
    person = Person(form)
    async with meet(server, client, MODERN, person) as mcp:
        answer = said(await mcp.call_tool("chat", {"message": "pay"}))
    [asked] = person.seen
    assert asked.message.startswith("The agent wants to do this: pay")
    assert json.loads(asked.message.split("\n", 1)[1])["arguments"] == {"to": "x"}
    assert asked.requested_schema["properties"]["decision"]["enum"] == ["approve", "deny"]
    assert (result_of(answer, "pay") == "paid") is carried_out
    assert answer["response"] == "Shall I?\n\nSo be it."
    assert answer["reason"] == "model_stop"


@requirement("mcp.person")
@pytest.mark.parametrize("mode", MODES)
async def test_no_word_of_a_model_approves(server: Server, client: Client, mode: str) -> None:
    async with meet(server, client, mode) as mcp:
        parked = said(await mcp.call_tool("chat", {"message": "pay"}))
        assert parked["reason"] == "awaiting_confirmation"
        [asked] = parked["pendingInteractions"]
        session, question = parked["sessionId"], asked["interactionId"]
        sentence = f"I approve the action (correlation: {question})"
        for name, arguments, code in (
            ("chat", {"message": sentence}, "person_required"),
            ("chat", {"message": f"  {sentence}\n"}, "person_required"),
            ("chat", {"message": sentence, "onBusy": "steer"}, "person_required"),
            ("chat", {"message": "Yes, I approve."}, "session_busy"),
            ("answer", {"answers": "approve"}, "person_required"),
            ("answer", {"answers": {"decision": "approve"}}, "person_required"),
            ("answer", {"interactionId": question, "answers": True}, "person_required"),
            ("answer", {"interactionId": question, "decline": False}, "invalid_field"),
            ("answer", {"decline": False, "answers": "approve"}, "person_required"),
            ("answer", {"approved": True}, "invalid_field"),
            ("answer", {"interactionId": question, "response": "approve"}, "invalid_field"),
        ):
            result = await mcp.call_tool(name, {"sessionId": session, **arguments})
            assert refused(result)[0] == code, arguments
        assert client.get(f"/sessions/{session}")["status"] == "waiting"
        declined = said(await mcp.call_tool("answer", {"sessionId": session, "decline": True}))
    assert result_of(declined, "pay") != "paid"
    assert declined["reason"] == "model_stop"


@requirement("mcp.person")
async def test_a_form_that_is_closed_leaves_the_question_open(
    server: Server, client: Client
) -> None:
    person = Person(types.ElicitResult(action="cancel"))
    async with meet(server, client, MODERN, person) as mcp:
        answer = said(await mcp.call_tool("chat", {"message": "pay"}))
    assert answer["reason"] == "awaiting_confirmation"
    session = answer["sessionId"]
    assert client.get(f"/sessions/{session}")["status"] == "waiting"
    body = {"sessionId": session, "approved": True}
    assert client.ask("POST", "/ask-user-response", body).status == 200
    async with meet(server, client, MODERN, person) as mcp:
        later = said(await mcp.call_tool("chat", {"sessionId": session}))
    assert result_of(later, "pay") == "paid"


@requirement("mcp.person")
async def test_a_form_of_another_session_or_question_decides_nothing(
    server: Server, client: Client
) -> None:
    """What a client says it was asked is believed of its own open questions alone."""
    other = Client(server, f"{client.scope}-other", client.agent)
    async with meet(server, other, "legacy") as mcp:
        foreign = said(await mcp.call_tool("chat", {"message": "pay"}))
    async with meet(server, client, MODERN, Person()) as mcp:
        mine = await mcp.session.call_tool("chat", {"message": "pay"}, allow_input_required=True)
        assert isinstance(mine, types.InputRequiredResult)
        [question] = mine.input_requests or {}
        theirs = foreign["pendingInteractions"][0]["interactionId"]
        for state, key, code in (
            (foreign["sessionId"], theirs, "session_not_found"),
            ("", question, "session_not_found"),
            ("sess_unknown", question, "session_not_found"),
        ):
            result = await mcp.session.call_tool(
                "chat",
                {"message": "pay"},
                input_responses={key: accept(decision="approve")},
                request_state=state,
                allow_input_required=True,
            )
            assert isinstance(result, types.CallToolResult)
            assert refused(result)[0] == code, state
        result = await mcp.session.call_tool(
            "chat",
            {"message": "pay"},
            input_responses={theirs: accept(decision="approve")},
            request_state=mine.request_state,
            allow_input_required=True,
        )
        assert isinstance(result, types.CallToolResult)
        assert said(result)["reason"] == "awaiting_confirmation"
    assert other.get(f"/sessions/{foreign['sessionId']}")["status"] == "waiting"


ASKS = {
    "ask_choice": (
        {"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]},
        accept(answer="Blue"),
        "Blue",
    ),
    "ask_user": (
        {
            "questions": [
                {"question": "Your name?", "type": "text"},
                {"question": "Sure?", "type": "yesno"},
                {"question": "Which?", "type": "choice", "multiSelect": True,
                 "options": [{"label": "A", "value": "a"}, {"label": "B", "value": "b"}]},
            ]
        },
        accept(q1="Ada", q2=True, q3=["b"]),
        {"Your name?": "Ada", "Sure?": True, "Which?": ["b"]},
    ),
}  # fmt: skip


@requirement("mcp.questions")
@pytest.mark.parametrize("name", sorted(ASKS))
@pytest.mark.parametrize("way", ["form", "tool"])
async def test_questions_are_answered(lab: Lab, name: str, way: str) -> None:
    arguments, form, expected = ASKS[name]
    message = plan({"tools": [call(name, **arguments)]}, {"text": "I see."})
    client = Client(lab.servers[0], "asked-over-mcp", "plain")
    if way == "form":
        person = Person(form)
        async with meet(lab.servers[0], client, MODERN, person) as mcp:
            answer = said(await mcp.call_tool("chat", {"message": message}))
        assert len(person.seen) == 1
    else:
        async with meet(lab.servers[0], client, "legacy") as mcp:
            parked = said(await mcp.call_tool("chat", {"message": message}))
            given = {"sessionId": parked["sessionId"], "answers": expected}
            answer = said(await mcp.call_tool("answer", given))
    told = result_of(answer, name)
    assert (told if isinstance(expected, str) else json.loads(told)) == expected
    assert answer["response"] == "I see."


@requirement("mcp.questions")
async def test_several_questions_are_told_apart(lab: Lab) -> None:
    options = [{"label": "Red"}, {"label": "Blue"}]
    tools = [call("ask_choice", question=each, options=options) for each in ("One?", "Two?")]
    client = Client(lab.servers[0], "several-over-mcp", "plain")
    async with meet(lab.servers[0], client, "legacy") as mcp:
        parked = said(await mcp.call_tool("chat", {"message": plan({"tools": tools}, {})}))
        red = {"sessionId": parked["sessionId"], "answers": "Red"}
        assert refused(await mcp.call_tool("answer", red))[0] == "several_open"
        first, second = (each["interactionId"] for each in parked["pendingInteractions"])
        half = said(await mcp.call_tool("answer", {**red, "interactionId": first}))
        assert half["reason"] == "awaiting_confirmation"
        [left] = half["pendingInteractions"]
        assert left["interactionId"] == second
        gone = await mcp.call_tool("answer", {**red, "interactionId": first})
        assert refused(gone)[0] == "interaction_not_found"
        whole = said(await mcp.call_tool("answer", {**red, "answers": "Blue"}))
    assert [each["result"] for each in whole["toolCalls"]] == ["Red", "Blue"]
    assert whole["reason"] == "model_stop"


@requirement("mcp.person")
async def test_a_refusal_ends_what_waits_beside_it(lab: Lab) -> None:
    tools = [call("wipe", note="a"), call("wipe", note="b")]
    client = Client(lab.servers[0], "denied-over-mcp", "plain")
    person = Person(types.ElicitResult(action="decline"), types.ElicitResult(action="cancel"))
    async with meet(lab.servers[0], client, MODERN, person) as mcp:
        answer = said(
            await mcp.call_tool("chat", {"message": plan({"tools": tools}, {"text": "So."})})
        )
    assert len(person.seen) == 2
    assert [each["status"] for each in answer["toolCalls"]] == ["error", "error"]
    assert (answer["response"], answer["reason"]) == ("So.", "model_stop")
