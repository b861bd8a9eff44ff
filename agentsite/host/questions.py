"""A run's questions to people: asked as rows and events, answers taken in.

Law: nothing of a turn runs before all its questions are answered; what runs is
what was approved, to the letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentsite.connections.caller import Caller
from agentsite.engine import steps
from agentsite.engine.events import Approved, ChoiceAsked, ConfirmationRequired, Denied, UserAsked
from agentsite.engine.messages import Message, ToolCallPart
from agentsite.host.clock import new_id
from agentsite.operations import audit
from agentsite.rows.units import unit
from agentsite.tools.base import Tool, Wanted
from agentsite.tools.permissions import Guard
from sessions_app import interactions
from sessions_app.interactions import GivenAnswer, Question

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

CHANGED = "Not carried out: the call is not the one that was approved."


def must_ask(tool: Tool | None, call: ToolCallPart, guard: Guard, caller: Caller) -> bool:
    """Whether a person must speak before this call can have a result."""
    if tool is None or call.invalid is not None or tool.find_problem(call.arguments):
        return False  # it will fail by itself, and say why
    decision = guard.judge(tool, call.arguments).decision
    if decision == "deny":
        return False  # the executor refuses it
    if caller.frozen and tool.writes_outside(call.arguments):
        return False  # so does it here
    if tool.confirm in (True, "review") or tool.question is not None or decision == "ask":
        return True
    return tool.find_question(caller, call.arguments) is not None


def make_question(tool: Tool, call: ToolCallPart, subagent: str, caller: Caller) -> Question:
    """The event that asks; `subagent` names whose call it is, if not the agent's own."""
    interaction_id = new_id("int")
    if tool.question == "ask_user":
        return UserAsked(interaction_id, call.id, tuple(call.arguments["questions"]))
    if tool.question == "ask_choice":
        return ChoiceAsked(
            interaction_id,
            call.id,
            call.arguments["question"],
            tuple(call.arguments["options"]),
            bool(call.arguments.get("multi", False)),
        )
    details: dict[str, Any] = {"tool": call.name, "arguments": call.arguments}
    if tool.confirm == "review":
        details["review"] = True
    if subagent:
        details["subagent"] = subagent
    wanted = tool.find_question(caller, call.arguments) or Wanted()
    if wanted.connection is not None:  # what will be sent, as it will be sent
        details["request"] = {
            "connection": wanted.connection,
            "method": wanted.method,
            "endpoint": wanted.endpoint,
            **(wanted.params or {}),
        }
    return ConfirmationRequired(
        interaction_id,
        call.id,
        call.name,
        details,
        connection=wanted.connection,
        endpoint=wanted.endpoint,
        method=wanted.method,
        params=None if wanted.params is None else dict(wanted.params),
        reason=wanted.reason or tool.description,
        escalated=wanted.escalated,
    )


def ask(driver: Driver, call_ids: tuple[str, ...]) -> None:
    """Add the questions for these calls to the driver's step."""
    conversation = driver.conversation
    for call in driver.calls.pick(call_ids):
        question = make_question(
            conversation.tools[call.name], call, driver.subagent, driver.caller
        )
        driver.step.add(question)
        driver.step.write(
            interactions.open_question,
            driver.ref,
            question,
            interactions.bind(call.name, call.arguments, call.id, conversation.scope_id),
            conversation.agent.block.confirmation_ttl,
        )


def take_answer(driver: Driver, given: GivenAnswer) -> steps.Incoming | None:
    """Add what follows from an answer to the step; None when it comes too late."""
    asked = {call.id for call in driver.state.calls if call.status == "asked"}
    if given.call_id not in asked:
        return None
    (call,) = driver.calls.pick((given.call_id,))
    approved = given.status in ("approved", "answered")
    word = Approved if approved else Denied
    driver.step.add(word(call.name, given.interaction_id, call.id))
    if given.kind == "confirmation":
        told = {"tool": call.name, "run": driver.ref.run_id, "interaction": given.interaction_id}
        who = driver.conversation.scope_id or "(no scope)"
        driver.step.write(audit.record, who, f"tool.{given.status}", call.id, told)
    if approved and given.kind != "confirmation":
        driver.calls.settle_unrun(call.id, "ok", render_answer(given))
    if given.answer is not None and given.answer.message is not None:
        driver.join(msgspec.convert(given.answer.message, Message))
    if approved and given.kind != "confirmation":
        return steps.CallFinished(call.id, "ok")
    return steps.Answered(call.id, approved, expired=given.status == "expired")


def render_answer(given: GivenAnswer) -> str:
    """What the model reads of an answer."""
    if given.answer is None:
        return ""
    said = given.answer.answers
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    return f"{text}\n(Comment: {given.answer.comment})" if given.answer.comment else text


async def find_changed(driver: Driver, call_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Calls that need approval and differ from what was approved."""
    if not driver.conversation.attended:
        return ()
    tools, guard = driver.conversation.tools, driver.conversation.agent.guard
    caller = driver.caller
    bound = [
        call
        for call in driver.calls.pick(call_ids)
        if (tool := tools.get(call.name)) is not None and must_ask(tool, call, guard, caller)
    ]
    if not bound:
        return ()
    await driver.commit()  # a step is composed without awaiting
    agreed = await unit(
        interactions.bindings_of, driver.ref.run_id, tuple(call.id for call in bound)
    )
    scope_id = driver.conversation.scope_id
    return tuple(
        call.id
        for call in bound
        if agreed.get(call.id) != interactions.bind(call.name, call.arguments, call.id, scope_id)
    )
