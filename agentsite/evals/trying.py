"""One result: the eval's question as a real run of the agent, awaited, judged, written down.

Law: a try is an ordinary run in a session and a scope of its own, which knows nothing from before
and holds nothing of a tenant's. Nobody is there to be asked, and nothing outside is written unless
the eval run says so. Each step looks at the rows first, so another host can go on with it. What a
judge was asked has a row before anything else happens, also where this host stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import QuerySet, Sum

from agentsite.engine.messages import Part, TextPart
from agentsite.evals.assertions import (
    Facts,
    Outcome,
    check,
    make_outcome,
    sum_up,
    to_rows,
)
from agentsite.evals.judge import Case, judge
from agentsite.evals.wishes import compose_message
from agentsite.host.agents import Agent
from agentsite.host.conversation import RunRequest
from agentsite.host.lifecycle import OpenedRun, compose_run, open_run
from agentsite.host.meter import Meter
from agentsite.host.patience import patient_unit
from agentsite.host.purse import Purse, record_calls
from agentsite.host.replies import await_end
from agentsite.host.site import Site
from agentsite.manifest.evals import Assertion, Eval
from agentsite.operations import eval_rows
from agentsite.operations.budgets import Payer
from agentsite.operations.evals import EvalResult, EvalRun, scope_of
from agentsite.rows.tenancy import tenant
from agentsite.rows.tenants import erase_partition
from agentsite.rows.units import unit
from sessions_app.actions import RunRef
from sessions_app.lookups import read_answer
from sessions_app.metering import FinishedCall, make_key
from sessions_app.models import ModelCall, Run, ToolCall

ROLE = "eval"
KEPT = ("memory_app", "stores_app", "operations.proposal")
"""Where runs leave things for later ones: of an app, or a table."""
LOOK_SECONDS = (0.02, 0.05, 0.1, 0.3, 1.0)
SHOWN_CHARS = 2_000
"""Of the arguments and of the result of one call."""
GOOD_ENDS = ("model_stop", "stopped")
BAD_ENDS = {
    "max_turns": "It used up its turns before it was done.",
    "loop_detected": "It made the same call again and again.",
}
"""Ends that are the agent's own failure; any other leaves the eval untried."""
OTHER_ENDS = {
    "budget_exceeded": "A budget was used up before it was done.",
    "user_abort": "Somebody stopped it.",
}
GONE = "Its session was deleted before it ended."
GONE_EVAL = "The agent's files have no such eval any more."


class HostStops(Exception):
    """This process takes no more runs; somebody else goes on."""


class Trial(msgspec.Struct, frozen=True):
    """Everything that one result is made from."""

    run: EvalRun
    result: EvalResult
    agent: Agent
    one: Eval
    pinned: int
    """Place of the model among the agent's."""
    judge: int | None
    """Place of the judge; None: the main model, with its fallbacks."""
    lane: int

    @property
    def scope_id(self) -> str:
        """Where its runs take place; that of a run which had begun before this host took over."""
        lane = self.result.lane if self.result.run_id else self.lane
        return scope_of(self.run.pk, lane)


async def try_out(here: Site, trial: Trial) -> None:
    """Run, await, judge and settle one result. Raises `HostStops`.

    To be called where all scopes are acted for.
    """
    if trial.result.run_id:
        ref = RunRef(trial.result.run_id, 1, trial.result.session_id, trial.scope_id)
    else:
        await unit(forget, trial.agent.id, trial.scope_id)
        opened = await unit(_open, here, trial)
        if opened is None:  # skipped meanwhile
            return
        here.journal.publish_committed(opened.ref.session_id, *opened.begun)
        here.runs.start(opened)
        ref = opened.ref
    ended = await _await_end(here, ref)
    if not ended:
        await patient_unit(_settle, trial, ref, status="error", error=GONE)
        return
    seen = await patient_unit(_look, ref)
    if seen.error:
        told = {"status": "error", "error": seen.error, **seen.columns}
        await patient_unit(_settle, trial, ref, **told)
        return
    outcomes = await _judge_all(here, trial, ref, seen)
    mark = sum_up(outcomes)
    told = {**seen.columns, "assertions": to_rows(outcomes), "error": seen.failure}
    told["status"] = "failed" if seen.failure else mark
    await patient_unit(_settle, trial, ref, **told)


def forget(agent: str, scope_id: str) -> None:
    """Delete what earlier runs have left to later ones: documents, memory, proposals."""
    erase_partition(agent, scope_id, only=KEPT)


def _open(here: Site, trial: Trial) -> OpenedRun | None:
    """Begin the run in the transaction that says so on the result."""
    request = RunRequest(
        pinned=trial.pinned,
        user={"role": ROLE, "roles": [ROLE]},
        read_only=not trial.run.allow_writes,
        alone=True,
        evaluation=True,
    )
    message = compose_message(trial.one)
    if not here.private:
        here.runs.check_room(trial.scope_id)
    wanted = compose_run(trial.agent, trial.scope_id, request, message, {}, here.owner)
    wanted = wanted.for_eval(trial.one.title)
    with transaction.atomic():
        new = wanted.new
        if not eval_rows.say_started(trial.result.pk, new.session_id, new.run_id, trial.lane):
            return None
        with tenant(trial.scope_id):
            return open_run(wanted)


async def _await_end(here: Site, ref: RunRef) -> bool:
    """Wait for a run's end, wherever it runs; False when it is gone. Raises `HostStops`."""
    for looks in range(1_000_000):
        status = await patient_unit(_status_of, ref.run_id)
        if status is None:
            return False
        if status == Run.Status.DONE:
            return True
        if here.hub.closed:
            raise HostStops
        if not looks:
            await await_end(here.hub, ref.session_id, ref.run_id)
        await asyncio.sleep(LOOK_SECONDS[min(looks, len(LOOK_SECONDS) - 1)])
    raise TimeoutError(f"run {ref.run_id} does not end")


def _status_of(run_id: str) -> str | None:
    status: str | None = Run.objects.filter(pk=run_id).values_list("status", flat=True).first()
    return status


class Seen(msgspec.Struct, frozen=True):
    """How the run ended, as rows have it."""

    facts: Facts
    columns: dict[str, Any]
    """What of it stands on the result."""
    error: str = ""
    """Why nothing can be said of the agent."""
    failure: str = ""
    """How the agent itself failed."""


def _look(ref: RunRef) -> Seen:
    run = Run.objects.get(pk=ref.run_id)
    calls = ToolCall.objects.filter(run=run).select_related("subagent")
    called = [_describe_call(call) for call in calls.order_by("created_at", "position")]
    took = 0 if run.ended_at is None else (run.ended_at - run.created_at).total_seconds()
    made = ModelCall.objects.filter(run_id=run.pk).exclude(purpose="judge")
    names = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
    sums = made.aggregate(*(Sum(name) for name in names), micros=Sum("cost_micros"))
    tokens = {name: sums[f"{name}__sum"] or 0 for name in names}
    answered = tokens["output"] + tokens["reasoning"]
    facts = Facts(
        response=read_answer(run.pk),
        tools=tuple(call["name"] for call in called),
        duration_ms=max(0, round(took * 1000)),
        turns=run.turns,
    )
    columns = {
        "response": facts.response,
        "tool_calls": called,
        "turns": facts.turns,
        "duration_ms": facts.duration_ms,
        "cost_micros": None if made.filter(cost_micros=None).exists() else sums["micros"] or 0,
        "input_tokens": sum(tokens.values()) - answered,
        "output_tokens": answered,
    }
    if run.reason in GOOD_ENDS:
        return Seen(facts, columns)
    if run.reason in BAD_ENDS:
        return Seen(facts, columns, failure=BAD_ENDS[run.reason])
    told = (run.error or {}).get("message") or OTHER_ENDS.get(run.reason)
    return Seen(facts, columns, error=told or f"It ended by {run.reason}.")


def _describe_call(call: ToolCall) -> dict[str, Any]:
    said = msgspec.convert(call.result or [], tuple[Part, ...])
    result = "\n".join(part.text for part in said if isinstance(part, TextPart))
    return {
        "name": call.name,
        "by": "" if call.subagent is None else call.subagent.name,
        "arguments": _cut(msgspec.json.encode(call.arguments).decode()),
        "result": _cut(result),
        "status": call.status,
    }


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


async def _judge_all(here: Site, trial: Trial, ref: RunRef, seen: Seen) -> list[Outcome]:
    """What came of each assertion, in the order of the file."""
    outcomes: list[Outcome] = []
    query = trial.agent.redactor.text(compose_message(trial.one).text)
    case = Case(query, seen.facts.response, seen.columns["tool_calls"])
    models = trial.agent.models("main", trial.judge)
    payer = Payer(trial.agent.id, trial.scope_id, ref.run_id)
    for assertion in trial.one.assertions:
        if assertion.kind != "rubric":
            outcomes.append(await asyncio.to_thread(check, assertion, seen.facts))
        elif seen.failure:
            outcomes.append(_leave_out(assertion))
        else:
            meter = Meter(Purse(here.ledger, trial.agent, payer), "judge")
            key = await patient_unit(make_key)
            try:
                outcomes.append(await judge(trial.agent, models, meter, assertion, case))
            finally:
                await patient_unit(_record_judged, ref, tuple(meter.rows), key)
    return outcomes


def _leave_out(assertion: Assertion) -> Outcome:
    return make_outcome(assertion, None, "not judged: the agent did not come to an answer")


def _judged(ref: RunRef) -> QuerySet[ModelCall]:
    return ModelCall.objects.filter(run_id=ref.run_id, purpose="judge")


def _record_judged(ref: RunRef, rows: Sequence[FinishedCall], key: int) -> None:
    """Write calls of the judge, the first under this key; a second time changes nothing.

    Another host may judge the same result meanwhile: its calls cost as well, and have other keys.
    """
    with transaction.atomic():
        if rows and not _judged(ref).filter(pk=key).exists():
            record_calls(ref, (msgspec.structs.replace(rows[0], key=key), *rows[1:]))


def _settle(trial: Trial, ref: RunRef, **what: Any) -> None:
    """Write the result, once, with what its judging has cost; leave nothing in its stores."""
    judged = _judged(ref)
    unknown = judged.filter(cost_micros=None).exists()
    micros = judged.aggregate(micros=Sum("cost_micros"))["micros"] or 0
    what["judge_micros"] = None if unknown else micros
    what["query"] = trial.agent.redactor.text(compose_message(trial.one).text)
    with transaction.atomic():
        if eval_rows.settle(trial.result.pk, **what):
            eval_rows.add_up(trial.run.pk)
    forget(trial.agent.id, trial.scope_id)
