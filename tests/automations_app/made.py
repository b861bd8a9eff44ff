"""Automations and their runs as a test needs them, written behind the server's back."""

from __future__ import annotations

import json
from typing import Any, Protocol


class Rows(Protocol):
    """Whoever has a database to ask: a `Lab`, a `Gate`."""

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...


DEFAULTS: dict[str, Any] = {
    "agent": "plain",
    "origin": "staff",
    "title": "A test",
    "trigger": "manual",
    "schedule": "",
    "timezone": "",
    "overlap": "skip",
    "catch_up": "last",
    "write_enabled": False,
    "wait_for_person": False,
    "partition": "",
    "mode": "sync",
    "retries": 0,
    "delivery": None,
    "failure_alert": None,
    "changed": "[]",
    "paused": False,
    "pause_reason": "",
}
RUN: dict[str, Any] = {
    "scope_id": "",
    "cause": "manual",
    "requested_by": "",
    "tries": 1,
    "status": "queued",
    "session_id": "",
    "run_id": "",
    "output": "",
    "summary": "",
    "error": "",
    "last_tool_call": "",
    "request_key": "",
    "request_hash": "",
}


def make_automation(lab: Rows, name: str, prompt: str, **columns: Any) -> int:
    """Write an automation; its id. JSON columns are given as values."""
    given = {**DEFAULTS, "name": name, "prompt": prompt, **columns}
    for key in ("delivery", "failure_alert"):
        given[key] = None if given[key] is None else json.dumps(given[key])
    return int(_insert(lab, "automation", given))


def queue_run(lab: Rows, automation_id: int, run_id: str, **columns: Any) -> str:
    """Write a queued run that nobody has claimed."""
    given = {**RUN, "id": run_id, "automation_id": automation_id, **columns}
    return str(_insert(lab, "automationrun", given))


def queue_delivery(lab: Rows, automation_id: int, run_id: str, **columns: Any) -> str:
    """Write a delivery of that run which is due."""
    given = {
        "id": f"msg_{run_id}", "automation_run_id": run_id, "automation_id": automation_id,
        "scope_id": "", "kind": "result", "target_index": 0, "target_mark": "", "payload": "{}",
        "status": "pending", "attempts": 0, "problem": "", **columns,
    }  # fmt: skip
    return str(_insert(lab, "delivery", given))


def _insert(lab: Rows, table: str, given: dict[str, Any]) -> Any:
    names = ", ".join(f'"{name}"' for name in given)
    places = ", ".join(["%s"] * len(given))
    sql = f"INSERT INTO automations_app_{table} ({names}) VALUES ({places}) RETURNING id"  # noqa: S608
    return lab.query(sql, *given.values())[0][0]


def automation(lab: Rows, name: str, *columns: str) -> Any:
    """Columns of an automation, as they are now."""
    return _one(lab, "automation", "name", name, columns)


def run(lab: Rows, run_id: str, *columns: str) -> Any:
    """Columns of a run of an automation, as they are now."""
    return _one(lab, "automationrun", "id", run_id, columns)


def failures(lab: Rows, name: str) -> list[tuple[str, int]]:
    """Scopes in which an automation has failed, with its failures in a row."""
    return lab.query(
        "SELECT s.scope_id, s.failures FROM automations_app_failurestreak s"
        " JOIN automations_app_automation a ON a.id = s.automation_id"
        " WHERE a.name = %s ORDER BY 1",
        name,
    )


def _one(lab: Rows, table: str, key: str, value: str, columns: tuple[str, ...]) -> Any:
    sql = f"SELECT {', '.join(columns)} FROM automations_app_{table} WHERE {key} = %s"  # noqa: S608
    return lab.query(sql, value)[0]
