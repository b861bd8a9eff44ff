"""An eval run as one document, which `manage.py eval --json` writes and `--baseline` reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from agentsite.operations.eval_cells import Key
from agentsite.operations.evals import EvalResult, EvalRun

FORMAT = "agentsite-evals/1"


class Judged(msgspec.Struct, frozen=True, rename="camel"):
    """One assertion in the document."""

    text: str
    kind: str
    negated: bool
    passed: bool | None
    reason: str


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """One result in the document."""

    eval_name: str
    title: str
    model: str
    repeat: int
    status: str
    query: str
    response: str
    tool_calls: list[dict[str, Any]]
    assertions: list[Judged]
    turns: int
    duration_ms: int | None
    cost_micros: int | None
    judge_cost_micros: int | None
    input_tokens: int
    output_tokens: int
    session_id: str
    run_id: str
    error: str


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """An eval run as a file: what `--json` writes and `--baseline` reads."""

    format: str
    id: str
    agent: str
    agent_version: str
    agent_hash: str
    status: str
    judge: str
    allow_writes: bool
    created_at: str
    passed: int
    failed: int
    errors: int
    cost_micros: int | None
    """The judge's included; null where a price is unknown."""
    results: list[Told]


def make_report(row: EvalRun, results: Iterable[EvalResult]) -> Report:
    """The document of an eval run."""
    return Report(
        format=FORMAT,
        id=row.pk,
        agent=row.agent,
        agent_version=row.agent_version,
        agent_hash=row.agent_hash,
        status=row.status,
        judge=row.judge,
        allow_writes=row.allow_writes,
        created_at=row.created_at.isoformat(timespec="seconds"),
        passed=row.passed,
        failed=row.failed,
        errors=row.errors,
        cost_micros=row.cost_micros if row.cost_known else None,
        results=[_tell(each) for each in results],
    )


def _tell(each: EvalResult) -> Told:
    return Told(
        eval_name=each.name,
        title=each.title,
        model=each.model,
        repeat=each.repeat,
        status=each.status,
        query=each.query,
        response=each.response,
        tool_calls=each.tool_calls,
        assertions=msgspec.convert(each.assertions, list[Judged]),
        turns=each.turns,
        duration_ms=each.duration_ms,
        cost_micros=each.cost_micros,
        judge_cost_micros=each.judge_micros,
        input_tokens=each.input_tokens,
        output_tokens=each.output_tokens,
        session_id=each.session_id,
        run_id=each.run_id,
        error=each.error,
    )


def read_baseline(raw: bytes) -> dict[Key, bool]:
    """Which cells passed, of a document that `--json` wrote. Raises `ValueError`."""
    try:
        report = msgspec.json.decode(raw, type=Report)
    except msgspec.DecodeError as problem:
        raise ValueError(f"it is no report of evals: {problem}") from problem
    if report.format != FORMAT:
        raise ValueError(f'its format is "{report.format}", not "{FORMAT}"')
    found: dict[Key, bool] = {}
    for each in report.results:
        key = each.eval_name, each.model
        found[key] = found.get(key, True) and each.status == EvalResult.Status.PASSED
    return found
