"""The rows, read once after everything has stopped changing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import psycopg

from agentsite.engine import events as e
from agentsite.host.wire import encode_entry
from agentsite.management.chaos.trail import Step, read_trail

_decode = msgspec.json.Decoder(list[e.Entry]).decode


class Line(msgspec.Struct, frozen=True):
    """One event of a log."""

    entry: e.Entry
    run_id: str
    """Empty for an event beside the runs."""
    raw: bytes
    """Its frame."""

    @property
    def seq(self) -> int:
        return self.entry.seq


class RunRow(msgspec.Struct, frozen=True):
    id: str
    session_id: str
    status: str
    reason: str
    code: str
    """Of the error it ended with, if any."""
    attempt: int
    losses: int


class CallRow(msgspec.Struct, frozen=True):
    id: str
    run_id: str
    name: str
    n: str
    status: str
    text: str


class Log:
    """A session's log, and which of its numbers are void."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.by_seq = {line.seq: line for line in lines}
        self.voids = [
            (line.entry.event.discard_from, line.seq)
            for line in lines
            if isinstance(line.entry.event, e.RunResumed)
        ]

    def is_void(self, seq: int) -> bool:
        """Whether a later attempt has taken this number back."""
        return any(low < seq < high for low, high in self.voids)

    def valid(self) -> list[Line]:
        """The lines that count."""
        return [line for line in self.lines if not self.is_void(line.seq)]


class Facts(msgspec.Struct, frozen=True):
    """Everything the database knows."""

    runs: dict[str, RunRow]
    calls: dict[str, CallRow]
    logs: dict[str, Log]
    trail: list[Step]


def read_facts(connection: psycopg.Connection[tuple[Any, ...]]) -> Facts:
    runs = connection.execute(
        "SELECT id, session_id, status, reason, coalesce(error->>'code', ''), attempt, losses"
        " FROM sessions_app_run"
    )
    calls = connection.execute(
        "SELECT id, run_id, name, coalesce(arguments->>'n', ''), status,"
        " coalesce(result->0->>'text', '') FROM sessions_app_toolcall"
    )
    return Facts(
        {row[0]: RunRow(*row) for row in runs},
        {row[0]: CallRow(*row) for row in calls},
        _read_logs(connection),
        read_trail(connection),
    )


def _read_logs(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, Log]:
    lines: dict[str, list[Line]] = defaultdict(list)
    rows = connection.execute(
        "SELECT session_id, coalesce(run_id, ''), entries FROM sessions_app_eventbatch"
        " ORDER BY session_id, first_seq"
    )
    for session_id, run_id, entries in rows:
        for entry in _decode(bytes(entries)):
            lines[session_id].append(Line(entry, run_id, encode_entry(entry)))
    return {session_id: Log(found) for session_id, found in lines.items()}
