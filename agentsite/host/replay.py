"""A finished run once more, with something changed, against what its tools answered then.

Law: nothing outside is touched. Every call is answered from the record, by its name and its
arguments; what was never asked has a result that says so. The loop, its driver, the money and the
budgets are those of any run.
"""

from __future__ import annotations

from collections import defaultdict, deque
from functools import partial
from typing import Any

import msgspec

from agentsite.engine.limits import canonical_json
from agentsite.engine.messages import ImagePart, TextPart
from agentsite.engine.ports import ToolSpec
from agentsite.host.agents import Agent
from agentsite.host.conversation import Persona, Replay, RunRequest
from agentsite.tools.activate_skill import ACTIVATE_SKILL
from agentsite.tools.base import Tool, ToolContext, ToolResult
from agentsite.tools.stop_execution import STOP_EXECUTION
from sessions_app.metering import LOOPS
from sessions_app.models import ModelCall, ToolCall
from sessions_app.prompts import read_prompt

NOT_RECORDED = (
    "Not recorded: this is a replay, and the run that is replayed made no call of {} with these "
    "arguments. Nothing was done."
)
NO_MODEL = '"{}" is not a model of this agent: its manifest names {}.'


class Record:
    """What the calls of a run came to; of equal calls each has its turn, the last one stays."""

    def __init__(self, rows: list[tuple[str, dict[str, Any], str, Any]]) -> None:
        self._results: dict[tuple[str, str], deque[ToolResult]] = defaultdict(deque)
        for name, arguments, status, result in rows:
            parts = msgspec.convert(result or [], tuple[TextPart | ImagePart, ...])
            kept = self._results[name, canonical_json(arguments)]
            kept.append(ToolResult(parts, error=status != "ok"))

    def take(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """The recorded result of such a call, or the error that there is none."""
        left = self._results.get((name, canonical_json(arguments)))
        if left is None:
            return ToolResult.fail(NOT_RECORDED.format(name))
        return left.popleft() if len(left) > 1 else left[0]


def load_persona(agent: Agent, request: RunRequest, replay: Replay) -> Persona:
    """Who speaks in a replay: the prompt and tools of then, unless they are changed.

    Synchronous: for `unit`. Where the request of then is not kept, the agent's own of today.
    """
    calls = ToolCall.objects.filter(run_id=replay.run, subagent=None)
    rows = calls.order_by("created_at", "position").values_list(
        "name", "arguments", "status", "result"
    )
    asked = ModelCall.objects.filter(run_id=replay.run, purpose__in=LOOPS)
    first = asked.exclude(prompt_id="").order_by("pk").values_list("prompt_id", flat=True).first()
    sent = read_prompt(first) if first else None
    system = replay.system
    if system is None:
        system = sent.system if sent else agent.prompt
    specs = sent.tools if sent else agent.specs(admin=request.admin)
    record = Record(list(rows))
    skills = {name.casefold(): body for name, body in replay.skills.items()}
    tools = {spec.name: _make_tool(spec, record, skills) for spec in specs}
    return Persona(system, tools, agent.block.run_timeout)


def _make_tool(spec: ToolSpec, record: Record, skills: dict[str, str]) -> Tool:
    if spec.name == STOP_EXECUTION.name:  # ends the run, and that is all it does
        return STOP_EXECUTION
    call = partial(_answer, record, skills)
    return Tool(spec.name, spec.description, spec.parameters, call, read_only=True, pool=None)


async def _answer(
    record: Record, skills: dict[str, str], context: ToolContext, arguments: dict[str, Any]
) -> ToolResult:
    if context.tool_name == ACTIVATE_SKILL.name:
        changed = skills.get(str(arguments.get("skill", "")).strip().casefold())
        if changed is not None:
            return ToolResult.of_text(changed)
    return record.take(context.tool_name, arguments)


def choose_model(agent: Agent, request: RunRequest, replay: Replay) -> tuple[RunRequest, str]:
    """The request with the replay's model pinned, and what is wrong with it, if anything."""
    if not replay.model:
        return request, ""
    provider, _, name = replay.model.partition("/")
    place = agent.find_model(provider, name)
    if place is None:
        known = sorted({f"{config.provider}/{config.model}" for config in agent.configs})
        return request, NO_MODEL.format(replay.model, ", ".join(known))
    return msgspec.structs.replace(request, pinned=place), ""
