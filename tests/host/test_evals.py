"""Evals as real runs: asked for by operators or by the command, judged, kept apart, compared."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.host.test_run_page import audited, words
from tests.lab import MAIN, Lab, plan
from tests.requirements import requirement
from tests.servers import ROOT
from tests.staff import Staff, make_staff, quote
from tests.wire_client import Client, eventually

START = "/admin/operations/evalrun/add/"
OURS = f"anthropic/{MAIN}"
OTHER = "openai/gpt-4.1"
JUDGE = "openai/gpt-4o-mini"
PATIENCE = 30.0


@pytest.fixture
async def staff(lab: Lab, http: aiohttp.ClientSession) -> Staff:
    """An operator with every right."""
    await asyncio.to_thread(make_staff, lab, "operator", superuser=True)
    return await Staff(http, lab.servers[0].url).sign_in("operator")


async def ask_for(staff: Staff, *evals: str, **form: Any) -> str:
    """Ask for an eval run by the form; its id."""
    given = {"agent": "examined", "only": evals, "model": OURS, "repeats": "1", **form}
    pairs = [
        (name, each)
        for name, value in given.items()
        for each in (value if isinstance(value, tuple | list) else [value])
    ]
    there = await staff.post_pairs(START, pairs)
    found = re.search(r"eval_5F(\w+)/", there.url)
    assert found, there.text
    return f"eval_{found[1]}"


async def ended(lab: Lab, eval_run: str) -> str:
    """Its status, once it has ended."""

    async def look() -> Any:
        ((status,),) = lab.query("SELECT status FROM operations_evalrun WHERE id = %s", eval_run)
        return status not in ("queued", "running") and status

    return str(await eventually(look, PATIENCE, 0.1))


def results(lab: Lab, eval_run: str, columns: str) -> dict[tuple[str, str], Any]:
    """Columns of the results by eval and model."""
    rows = lab.query(
        f"SELECT name, model, {columns} FROM operations_evalresult"  # noqa: S608 - our own words
        " WHERE eval_run_id = %s",
        eval_run,
    )
    return {(name, model): rest[0] if len(rest) == 1 else rest for name, model, *rest in rows}


@requirement("evals.pages", "evals.models", "evals.judged")
async def test_operators_try_evals_on_models_side_by_side(lab: Lab, staff: Staff) -> None:
    form = words(await staff.get(f"{START}?agent=examined"))
    assert all(each in form for each in ("Marmalade", OURS, OTHER, JUDGE))
    eval_run = await ask_for(
        staff, "well", "rude", "sweet", "sly", "broken", model=(OURS, OTHER), judge=JUDGE
    )
    assert await ended(lab, eval_run) == "done"
    marks = results(lab, eval_run, "status")
    assert marks == {
        ("well", OURS): "passed",
        ("well", OTHER): "failed",
        **{("rude", model): "failed" for model in (OURS, OTHER)},
        **{("sweet", model): "passed" for model in (OURS, OTHER)},
        **{("sly", model): "error" for model in (OURS, OTHER)},
        ("broken", OURS): "error",
        ("broken", OTHER): "passed",
    }
    outcomes = results(lab, eval_run, "assertions")
    assert outcomes["rude", OURS] == [
        {"text": "Is polite", "kind": "rubric", "negated": False, "passed": False,
         "reason": "It is rude."},
        {"text": "contains: fox", "kind": "contains", "negated": False, "passed": True,
         "reason": 'the answer has "fox"'},
    ]  # fmt: skip
    assert outcomes["sweet", OURS][0]["reason"] == "It is\ufffd sweet.", "no column takes a NUL"
    assert outcomes["sly", OURS][0]["passed"] is None
    assert "No such luck." in results(lab, eval_run, "error")["broken", OURS]
    assert outcomes["broken", OURS] == []

    page = words(await staff.get(f"/admin/operations/evalrun/{quote(eval_run)}/change/"))
    sums = ("2 of 5 passed", "2 of 5 passed", "4 of 10")
    assert [each for each in (OURS, OTHER, *sums) if each not in page] == []
    ids = results(lab, eval_run, "id, run_id")
    key, run = ids["rude", OURS]
    detail = words(await staff.get(f"/admin/operations/evalresult/{key}/change/"))
    assert all(each in detail for each in ("It is rude.", "quick brown fox", quote(run)))
    past = await staff.get("/admin/operations/evalresult/?agent__exact=examined&name__exact=rude")
    assert "rude" in past.text and "marmalade" not in past.text
    assert audited(lab, "evalrun.added", eval_run)["after"]["judge"] == JUDGE

    # Money: the agent's calls, the judge's, and the sums of both.
    purposes = lab.query(
        "SELECT purpose, count(*), sum(cost_micros)::bigint FROM sessions_app_modelcall"
        " WHERE run_id = %s GROUP BY purpose ORDER BY purpose", run,
    )  # fmt: skip
    assert [(purpose, count) for purpose, count, _ in purposes] == [("eval", 1), ("judge", 1)]
    costs = results(lab, eval_run, "cost_micros, judge_micros")
    assert costs["rude", OURS] == [cost for _, _, cost in purposes]
    ((sum_, known),) = lab.query(
        "SELECT cost_micros, cost_known FROM operations_evalrun WHERE id = %s", eval_run
    )
    both = [each for pair in costs.values() for each in pair]
    assert (sum_, known) == (sum(each or 0 for each in both), None not in both)


@requirement("evals.apart")
async def test_what_an_eval_does_stays_apart_and_outside_nothing_is_written(
    lab: Lab, staff: Staff
) -> None:
    eval_run = await ask_for(staff, "marmalade", "touches")
    assert await ended(lab, eval_run) == "done"
    calls = results(lab, eval_run, "tool_calls")
    ((noted,), (touched,)) = calls["marmalade", OURS], calls["touches", OURS]
    assert (noted["status"], touched["status"]) == ("ok", "error")
    assert "read" in touched["result"]
    scope = f"eval/{eval_run}/%"
    sessions = lab.query(
        "SELECT session_type, count(*) FROM sessions_app_session WHERE scope_id LIKE %s GROUP BY 1",
        scope,
    )
    assert sessions == [("eval", 2)]
    told = lab.query(
        "SELECT DISTINCT audience FROM bus_busevent WHERE scope_id LIKE %s"
        " AND type IN ('session_created', 'session_updated', 'run_started', 'run_finished')",
        scope,
    )
    assert told == [("staff",)]
    for table in ("memory_app_memoryentry", "stores_app_document", "sessions_app_scope"):
        left = lab.query(f"SELECT count(*) FROM {table} WHERE scope_id LIKE %s", scope)  # noqa: S608
        assert left == [(0,)], table
    free = await ask_for(staff, "touches", allow_writes="on")
    assert await ended(lab, free) == "done"
    (call,) = results(lab, free, "tool_calls")["touches", OURS]
    assert call["result"] != touched["result"], "now it was called, and found nobody there"


@requirement("evals.pages", "runs.groups")
async def test_viewers_see_and_only_operators_act(
    lab: Lab, staff: Staff, http: aiohttp.ClientSession
) -> None:
    refused = await staff.post_pairs(START, [("agent", "examined"), ("repeats", "many")])
    assert (refused.status, "Choose at least one eval" in refused.text) == (400, True)
    wrong = await staff.post_pairs(
        START, [("agent", "examined"), ("only", "well"), ("model", "a/b"), ("repeats", "1")]
    )
    assert (wrong.status, "is no model of examined" in wrong.text) == (400, True)
    await asyncio.to_thread(
        make_staff, lab, "onlooker", "operations.view_evalrun", "operations.view_evalresult"
    )
    viewer = await Staff(http, lab.servers[0].url).sign_in("onlooker")
    assert (await viewer.get(START)).status == 403
    eval_run = "eval_waits"
    lab.change(
        "INSERT INTO operations_evalrun (id, agent, agent_version, agent_hash, status, evals,"
        " model_names, judge, repeats, lanes, allow_writes, requested_by, by_command, owner,"
        " claimed_until, attempts, passed, failed, errors, cost_micros, cost_known, error)"
        " VALUES (%s, 'examined', '', '', 'queued', '[\"well\"]', '[\"a/b\"]', '', 1, 1, false,"
        " 'x', false, '', now() + interval '1 hour', 0, 0, 0, 0, 0, true, '')",
        eval_run,
    )
    there = f"/admin/operations/evalrun/{quote(eval_run)}"
    page = words(await viewer.get(f"{there}/change/"))
    assert "still to come" in page and "Stop" not in page and "Run again" not in page
    assert (await viewer.post(f"{there}/stop/")).status == 403
    assert "Stop" in words(await staff.get(f"{there}/change/"))
    assert (await staff.post(f"{there}/stop/")).status == 302
    assert await ended(lab, eval_run) == "stopped"
    assert audited(lab, "evalrun.stopped", eval_run)["after"] == {"stop": "asked"}


LEFT = """
WITH run AS (
    INSERT INTO operations_evalrun (id, agent, agent_version, agent_hash, status, evals,
        model_names, judge, repeats, lanes, allow_writes, requested_by, by_command, owner,
        claimed_until, attempts, passed, failed, errors, cost_micros, cost_known, error)
    VALUES (%s, 'examined', '', '', 'running', '["well", "marmalade"]', jsonb_build_array(%s::text),
        '', 1, 1, false, '', false, 'host_gone', now() - interval '1 second', 1, 0, 0, 0, 0, true,
        '') RETURNING id)
INSERT INTO operations_evalresult (eval_run_id, agent, name, title, model, repeat, status, query,
    response, tool_calls, assertions, turns, input_tokens, output_tokens, session_id, run_id, lane,
    error)
SELECT id, 'examined', name, '', %s, 1, status, '', '', '[]', '[]', 0, 0, 0, session, run, 1, ''
FROM run, (VALUES ('well', 'running', %s, %s), ('marmalade', 'pending', '', ''))
    results (name, status, session, run)
"""
"""What a host has left that died: one result was begun, one was not."""


@requirement("evals.lease")
async def test_an_eval_run_goes_on_where_its_host_has_left_it(client: Client, lab: Lab) -> None:
    begun = await client.of("examined").talk(plan({"text": "All is well."}))
    lab.change(LEFT, "eval_left", OURS, OURS, begun.session_id, begun.run_id)
    assert await ended(lab, "eval_left") == "done"
    assert results(lab, "eval_left", "status") == {
        ("well", OURS): "passed",
        ("marmalade", OURS): "passed",
    }
    runs = results(lab, "eval_left", "run_id")
    assert runs["well", OURS] == begun.run_id, "what had begun is not begun again"
    made = lab.query("SELECT id FROM sessions_app_run WHERE scope_id LIKE %s", "eval/eval_left/%")
    assert made == [(runs["marmalade", OURS],)]


BEFORE = """
WITH run AS (
    INSERT INTO operations_evalrun (id, agent, agent_version, agent_hash, status, evals,
        model_names, judge, repeats, lanes, allow_writes, requested_by, by_command, owner,
        attempts, passed, failed, errors, cost_micros, cost_known, error)
    VALUES (%s, 'examined', '', '', 'done', '["rude"]', jsonb_build_array(%s::text), '', 1, 1,
        false, '', false, '', 0, 1, 0, 0, 0, true, '') RETURNING id)
INSERT INTO operations_evalresult (eval_run_id, agent, name, title, model, repeat, status, query,
    response, tool_calls, assertions, turns, input_tokens, output_tokens, session_id, run_id, lane,
    error)
SELECT id, 'examined', 'rude', '', %s, 1, 'passed', '', '', '[]', '[]', 1, 0, 0, '', '', 1, ''
FROM run
"""
"""Once the rude one was polite."""


async def run_command(lab: Lab, *options: str) -> tuple[int, str]:
    """`manage.py eval examined …` as a process of its own: exit code, what it printed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given = {
        "SECRET_KEY": "~" * 50,
        "DATABASE_URL": lab.database_url,
        "AGENTSITE_DATA_DIR": str(lab.folder / "data"),
        "COLUMNS": "200",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "manage.py"), "eval", *options,
        env={**kept, **given, **lab.environment()}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(90):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@requirement("evals.command", "evals.regression")
async def test_the_command_tells_by_its_exit_code_what_got_worse(lab: Lab, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    lab.change(BEFORE, "eval_before", OURS, OURS)
    chosen = ("examined", "--judge", JUDGE, "--only", "rude")
    more = ("well", "--repeat", "2", "--json", str(report), "--baseline", "last")
    code, said = await run_command(lab, *chosen, *more)
    assert (code, "got worse" in said) == (1, True), said
    assert "passed 2/2" in said and "failed 0/2" in said and "It is rude." in said
    told = json.loads(report.read_text())
    assert (told["passed"], told["failed"], len(told["results"])) == (2, 2, 4)

    # What failed before may fail again.
    code, said = await run_command(lab, *chosen, "--baseline", str(report))
    assert (code, "0 passed, 1 failed" in said) == (0, True), said
    left = lab.query(
        "SELECT count(*) FROM operations_evalrun WHERE by_command AND status <> 'done'"
    )
    assert left == [(0,)]
