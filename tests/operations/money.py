"""Payers, calls and rows of money, made without a server."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

from agentsite.engine.deltas import Usage
from agentsite.host.purse import record_calls
from agentsite.operations.budgets import Asked, Payer
from agentsite.operations.models import Budget
from sessions_app.actions import RunRef
from sessions_app.metering import FinishedCall
from sessions_app.models import Run
from tests.sessions_app.rows import make_session

_numbers = itertools.count(1)
MILLION = 1_000_000


def payer(scope: str = "acme", *, agent: str = "desk", key: int | None = None) -> Payer:
    """A run of its own; it needs no row to reserve."""
    return Payer(agent, scope, f"run_of_{next(_numbers)}", 1, key)


def asked(least: int, most: int | None = None, closing: int | None = None, **more: Any) -> Asked:
    """What a call wants, in micro-dollars."""
    number = next(_numbers)
    return Asked(f"hold_{number}", "main", least, most or least, closing, **more)


def cost(
    micros: int | None, *, hold: str = "", key: int | None = None, **more: Any
) -> FinishedCall:
    """A finished call of that cost; None: nobody knows its price."""
    given: dict[str, Any] = {
        "agent": "desk", "purpose": "main", "turn": 1, "provider": "openai", "model": "gpt-4o",
        "usage": Usage(input=10, output=2), "price": None, "first_token_ms": 1, "total_ms": 2,
        "charge_micros": micros or 0,
    }  # fmt: skip
    return FinishedCall(cost_micros=micros, hold=hold, key_id=key, **{**given, **more})


def run_of(scope: str = "acme", agent: str = "desk") -> RunRef:
    """A run with its rows."""
    session = make_session(agent=agent, scope_id=scope)
    run = Run.objects.create(
        id=f"run_{next(_numbers)}", session=session, agent=agent, scope_id=scope, status="done"
    )
    return RunRef(run.pk, 1, session.pk, scope)


def settle(ref: RunRef, *rows: FinishedCall) -> None:
    """Write calls, and give back what was held for them."""
    record_calls(ref, rows)


def set_budget(kind: str, limit: float, period: str = "day", **fields: Any) -> Budget:
    """A budget of an operator."""
    dollars = Decimal(str(limit))
    return Budget.objects.create(kind=kind, period=period, limit=dollars, **fields)


def tomorrow() -> dt.date:
    """In UTC."""
    return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
