"""What model calls cost: one row each, and the sums on run and session.

Law: totals are always the sum of the rows; an unknown price is null, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import connection

from agentsite.engine.deltas import Usage
from agentsite.rows.together import Together
from sessions_app.actions import RunRef
from sessions_app.models import ModelCall

LOOPS = ("main", "replay", "eval")
"""Purposes of the calls that a run's own loop makes."""


class FinishedCall(msgspec.Struct, frozen=True):
    """One model call, for the metering."""

    agent: str
    purpose: str
    turn: int
    provider: str
    model: str
    usage: Usage
    price: dict[str, Any] | None
    cost_micros: int | None
    first_token_ms: int | None
    total_ms: int
    error: str = ""
    prompt: str = ""
    """Id of the request as it was sent (`sessions_app.prompts`)."""
    charge_micros: int = 0
    """What budgets count."""
    key_id: int | None = None
    hold: str = ""
    """Name of what is held for it."""
    key: int | None = None
    """Of its row, where `make_key` has made it beforehand; None: the database makes one."""


def make_key() -> int:
    """A key for a row that is written later: by it a second try knows what the first has done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('sessions_app_modelcall', 'id'))")
        return int(cursor.fetchone()[0])


def record_model_call(ref: RunRef, call: FinishedCall) -> None:
    """Write the metering row and add it to the sums of its run and session."""
    row = ModelCall(
        id=call.key,
        session_id=ref.session_id,
        run_id=ref.run_id,
        agent=call.agent,
        scope_id=ref.scope_id,
        purpose=call.purpose,
        attempt=ref.attempt,
        turn=call.turn,
        provider=call.provider,
        model=call.model,
        price=call.price,
        cost_micros=call.cost_micros,
        charge_micros=call.charge_micros,
        key_id=call.key_id,
        first_token_ms=call.first_token_ms,
        total_ms=call.total_ms,
        error=call.error,
        prompt_id=call.prompt,
        **msgspec.to_builtins(call.usage),
    )
    sums = {name: amount for name, amount in msgspec.to_builtins(call.usage).items() if amount}
    if call.cost_micros:
        sums["cost_micros"] = call.cost_micros
    changes = [f"{name} = {name} + %s" for name in sums]
    if call.cost_micros is None:
        changes.append("cost_known = false")
    together = Together()
    together.insert(row)
    if changes:
        for table, key in (("session", ref.session_id), ("run", ref.run_id)):
            together.say(
                f"UPDATE sessions_app_{table} SET {', '.join(changes)} WHERE id = %s",  # noqa: S608
                [*sums.values(), key],
            )
    together.send()


def is_recorded(ref: RunRef, rows: Sequence[FinishedCall]) -> bool:
    """Whether model calls of these purposes were written for the run."""
    purposes = {row.purpose for row in rows}
    return ModelCall.objects.filter(run_id=ref.run_id, purpose__in=purposes).exists()
