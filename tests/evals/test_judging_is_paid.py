"""What a judge was asked costs money, whatever becomes of the host that asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentsite.evals import trying
from agentsite.evals.assertions import Facts, Outcome, make_outcome
from agentsite.evals.trying import Seen, Trial
from agentsite.host.agents import Agent
from agentsite.host.ledger import Ledger
from agentsite.host.meter import Meter
from agentsite.manifest.evals import Assertion
from agentsite.operations import eval_rows
from agentsite.operations.budgets import Limit, reserve
from agentsite.operations.eval_rows import NewEvalRun
from agentsite.operations.evals import EvalResult, EvalRun, scope_of
from agentsite.operations.models import Reservation
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from sessions_app.actions import RunRef
from sessions_app.metering import make_key
from sessions_app.models import ModelCall
from tests.manifest.agents import load_all, write_agent
from tests.operations.money import asked, cost, payer, run_of
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
EVAL = "# Eval: Two\n\n## Query\nHow?\n\n## Assertions\n- Is polite\n- Is right\n"
SEEN = Seen(Facts("So.", (), 1, 1), {"tool_calls": []})


def begin(agent: Agent) -> tuple[Trial, RunRef]:
    """A result whose run has ended and that nobody has judged yet."""
    (one,) = agent.bundle.evals
    new = NewEvalRun(agent.id, "1.0.0", "h", ((one.name, one.title),), ("scripted/offline",))
    run = EvalRun.objects.get(pk=eval_rows.begin(new))
    ref = run_of(scope_of(run.pk, 1), agent.id)
    result = EvalResult.objects.get(eval_run=run)
    assert eval_rows.say_started(result.pk, ref.session_id, ref.run_id, 1)
    result.refresh_from_db()
    return Trial(run, result, agent, one, 0, None, 1), ref


@requirement("evals.judged", "runs.lost-calls")
async def test_each_call_of_a_judge_has_a_row_also_where_the_host_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent("probe", load_all(write_agent(tmp_path, {"evals/two.md": EVAL})))
    stuck = asyncio.Event()

    async def judge(
        agent: Agent, models: Any, meter: Meter, assertion: Assertion, case: Any
    ) -> Outcome:
        meter.rows.append(cost(7, purpose="judge"))
        if assertion.value == "Is right":
            stuck.set()
            await asyncio.Event().wait()
        return make_outcome(assertion, True, "It is.")

    monkeypatch.setattr(trying, "judge", judge)
    here: Any = SimpleNamespace(ledger=Ledger())
    with acting_for_all("a test's own rows"):
        trial, ref = await unit(begin, agent)
        judging = asyncio.create_task(trying._judge_all(here, trial, ref, SEEN))
        await stuck.wait()
        judging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await judging
        calls = ModelCall.objects.filter(run_id=ref.run_id, purpose="judge")
        assert await unit(calls.count) == 2
        await unit(trying._settle, trial, ref, status="passed")
        await unit(trial.result.refresh_from_db)
    assert trial.result.judge_micros == 14


@requirement("evals.judged", "runs.lost-calls")
async def test_calls_of_two_hosts_that_judge_the_same_result_have_a_row_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent("probe", load_all(write_agent(tmp_path, {"evals/two.md": EVAL})))
    limits = (Limit("agent", "day", 1_000),)
    both = asyncio.Barrier(2)

    async def judge(
        agent: Agent, models: Any, meter: Meter, assertion: Assertion, case: Any
    ) -> Outcome:
        await both.wait()
        call = asked(7)
        assert await unit(reserve, payer(), limits, call) == 7
        meter.rows += [cost(7, purpose="judge", hold=call.id), cost(1, purpose="judge")]
        return make_outcome(assertion, True, "It is.")

    monkeypatch.setattr(trying, "judge", judge)
    here: Any = SimpleNamespace(ledger=Ledger())
    with acting_for_all("a test's own rows"):
        trial, ref = await unit(begin, agent)
        await asyncio.gather(*(trying._judge_all(here, trial, ref, SEEN) for _ in range(2)))
        calls = ModelCall.objects.filter(run_id=ref.run_id, purpose="judge")
        assert await unit(lambda: sorted(calls.values_list("cost_micros", flat=True))) == (
            [1] * 4 + [7] * 4
        )
        assert not await unit(Reservation.objects.exists)


@requirement("evals.judged")
def test_calls_of_a_judge_that_are_written_twice_count_once() -> None:
    ref, rows = run_of(), (cost(7, purpose="judge"), cost(7, purpose="judge"))
    for key in (make_key(), make_key()):
        for _ in range(2):
            trying._record_judged(ref, rows, key)
    trying._record_judged(ref, (), make_key())
    assert ModelCall.objects.filter(run_id=ref.run_id, purpose="judge").count() == 4
