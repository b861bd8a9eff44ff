"""Who works an eval run: one host, under a lease, and the next one where it left off."""

from __future__ import annotations

import datetime as dt

import pytest

from agentsite.operations import eval_rows
from agentsite.operations.eval_rows import NewEvalRun
from agentsite.operations.evals import EvalResult, EvalRun
from tests.requirements import requirement

NOW = dt.datetime(2026, 5, 6, tzinfo=dt.UTC)
pytestmark = pytest.mark.django_db
NEW = NewEvalRun(
    agent="desk",
    agent_version="1.0.0",
    agent_hash="h",
    evals=(("one", "One"), ("two", "Two")),
    models=("a/b", "a/c"),
    repeats=2,
)


def expire(eval_run: str) -> None:
    """As if its host had not been heard of for long."""
    with_lease = EvalRun.objects.filter(pk=eval_run)
    with_lease.update(claimed_until="2000-01-01T00:00:00Z")


def begin(**more: object) -> str:
    given = {name: getattr(NEW, name) for name in NEW.__struct_fields__}
    return eval_rows.begin(NewEvalRun(**{**given, **more}))


@requirement("evals.lease")
def test_one_host_holds_it_and_the_next_goes_on() -> None:
    eval_run = begin()
    assert len(eval_rows.read_open(eval_run)) == 8
    assert eval_rows.claim_next("host_1", 60) == eval_run
    assert eval_rows.claim_next("host_2", 60) is None
    assert eval_rows.renew(eval_run, "host_1", 60) == "held"
    assert eval_rows.renew(eval_run, "host_2", 60) == "lost"
    eval_rows.release(eval_run, "host_1")
    assert eval_rows.claim_next("host_2", 60) == eval_run
    assert eval_rows.renew(eval_run, "host_1", 60) == "lost"
    expire(eval_run)
    assert eval_rows.claim_next("host_3", 60) == eval_run


@requirement("evals.lease")
def test_what_breaks_every_host_is_given_up() -> None:
    eval_run = begin()
    for host in range(eval_rows.MAX_ATTEMPTS):
        assert eval_rows.claim_next(f"host_{host}", 60) == eval_run
        expire(eval_run)
    assert eval_rows.claim_next("host_9", 60) is None
    row = EvalRun.objects.get(pk=eval_run)
    assert (row.status, row.error) == ("broken", eval_rows.BROKEN)
    assert not row.results.exclude(status="skipped").exists()


@requirement("evals.lease")
def test_nobody_goes_on_with_what_a_command_has_left() -> None:
    eval_run = begin(owner="host_1", lease_seconds=60.0)
    assert eval_rows.renew(eval_run, "host_1", 60) == "held"
    assert eval_rows.claim_next("host_2", 60) is None
    expire(eval_run)
    assert eval_rows.claim_next("host_2", 60) is None
    assert EvalRun.objects.get(pk=eval_run).error == eval_rows.LEFT


@requirement("evals.lease")
def test_results_are_settled_once_and_added_up() -> None:
    eval_run = begin(repeats=1)
    assert eval_rows.claim_next("host_1", 60) == eval_run
    first, second, third, fourth = eval_rows.read_open(eval_run)
    assert eval_rows.say_started(first.pk, "sess_1", "run_1", 2)
    assert not eval_rows.say_started(first.pk, "sess_2", "run_2", 1)
    paid = {"cost_micros": 5, "judge_micros": 2, "run_id": "run"}
    assert eval_rows.settle(first.pk, status="passed", **paid)
    assert not eval_rows.settle(first.pk, status="failed")
    assert eval_rows.settle(second.pk, status="failed", **paid)
    assert eval_rows.settle(third.pk, status="error", error="x")
    eval_rows.add_up(eval_run)
    row = EvalRun.objects.get(pk=eval_run)
    assert (row.passed, row.failed, row.errors) == (1, 1, 1)
    assert (row.cost_micros, row.cost_known) == (14, True), "what never ran cost nothing"
    assert eval_rows.request_stop(eval_run)
    assert eval_rows.renew(eval_run, "host_1", 60) == "stop"
    eval_rows.end(eval_run, EvalRun.Status.STOPPED)
    assert EvalResult.objects.get(pk=fourth.pk).status == "skipped"
    assert not eval_rows.request_stop(eval_run)


@requirement("evals.regression")
def test_the_last_time_is_looked_up_for_each_eval_and_model() -> None:
    def done(age: int, status: str, **more: object) -> EvalRun:
        eval_run = begin(**more)
        for result in eval_rows.read_open(eval_run):
            eval_rows.settle(result.pk, status=status)
        eval_rows.end(eval_run, EvalRun.Status.DONE)
        # The clock stands still inside the test's transaction.
        EvalRun.objects.filter(pk=eval_run).update(created_at=NOW - dt.timedelta(days=age))
        return EvalRun.objects.get(pk=eval_run)

    done(5, "passed", agent="other")
    done(4, "failed")
    done(3, "passed", evals=(("one", "One"),), models=("a/b",), repeats=1)
    row = done(2, "error", repeats=1)
    done(1, "passed")
    earlier = eval_rows.find_earlier(row, ["one", "two"], ["a/b", "a/c"])
    assert {key: [each.status for each in rows] for key, rows in earlier.items()} == {
        ("one", "a/b"): ["passed"],
        ("one", "a/c"): ["failed", "failed"],
        ("two", "a/b"): ["failed", "failed"],
        ("two", "a/c"): ["failed", "failed"],
    }
    eval_rows.end(begin(), EvalRun.Status.STOPPED)
    assert len(eval_rows.find_earlier(row, ["one"], ["a/b"])) == 1
