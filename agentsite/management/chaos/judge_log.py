"""The log and the rows: nothing accepted is lost, every run and every call ends exactly once."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from agentsite.engine import events as e
from agentsite.management.chaos.facts import Facts, Log
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.world import Accepted

SETTLED = frozenset({"ok", "error", "denied", "interrupted", "expired"})


def judge_log(facts: Facts, accepted: list[Accepted], found: Findings) -> None:
    """Check messages, numbers, runs and calls."""
    texts = {session_id: _texts(log) for session_id, log in facts.logs.items()}
    for one in accepted:
        seen = texts.get(one.session_id, Counter())[f"[{one.token}]"]
        if seen == 0:
            found.fault("lost", f"{one} is in no run")
        if seen > 1:
            found.fault("history faults", f"{one} was taken {seen} times")
    for session_id, log in facts.logs.items():
        _judge_numbers(session_id, log, found)
    _judge_runs(facts, found)
    _judge_calls(facts, found)


def _texts(log: Log) -> Counter[str]:
    """How often each message's token stands in the log."""
    texts: Counter[str] = Counter()
    for line in log.valid():
        if isinstance(line.entry.event, e.Init | e.UserJoined):
            texts[line.entry.event.message["text"].split(" ", 1)[0]] += 1
    return texts


def _judge_numbers(session_id: str, log: Log, found: Findings) -> None:
    """Without a gap outside void ranges; a void range holds events of its own run only."""
    for before, line in pairwise(log.lines):
        event = line.entry.event
        if isinstance(event, e.RunResumed):
            void = [other for other in log.lines if event.discard_from < other.seq < line.seq]
            if any(other.run_id != line.run_id for other in void):
                found.fault("history faults", f"{session_id}: {line.seq} voids another run")
        elif line.seq != before.seq + 1:
            found.fault("gaps", f"{session_id}: the log goes from {before.seq} to {line.seq}")
        if line.seq <= before.seq:
            found.fault("duplicates", f"{session_id}: {line.seq} stands behind {before.seq}")


def _judge_runs(facts: Facts, found: Findings) -> None:
    ends: Counter[str] = Counter()
    begins: Counter[str] = Counter()
    for log in facts.logs.values():
        ended: set[str] = set()
        for line in log.lines:
            if line.run_id in ended:
                found.fault("history faults", f"{line.run_id}: {line.seq} stands behind its done")
            if isinstance(line.entry.event, e.Done):
                ends[line.run_id] += 1
                ended.add(line.run_id)
            if isinstance(line.entry.event, e.Init):
                begins[line.run_id] += 1
    for run in facts.runs.values():
        if run.status == "done" and (ends[run.id] != 1 or begins[run.id] != 1):
            found.fault("lost", f"{run} has {begins[run.id]} init and {ends[run.id]} done")
        if run.code in ("internal", "provider_bad_request", "provider_context_overflow"):
            found.fault("history faults", f"{run} ended with {run.code}")


def _in_short(status: str) -> str:
    """A result as a sub-agent's events word it."""
    return "success" if status == "ok" else "error"


def _judge_calls(facts: Facts, found: Findings) -> None:
    starts: Counter[str] = Counter()
    results: dict[str, list[str]] = defaultdict(list)
    for log in facts.logs.values():
        for line in log.valid():
            event = line.entry.event
            if isinstance(event, e.ToolStarted):
                starts[event.id] += 1
            if isinstance(event, e.ToolEnded):
                results[event.id].append(event.status)
            if isinstance(event, e.SubagentReported):
                told = event.event
                starts[told.get("id", "")] += told["type"] == "tool_call_start"
                if told["type"] == "tool_call_result":
                    results[told["id"]].append(told["status"])
    for call in facts.calls.values():
        if call.status not in SETTLED:
            found.fault("history faults", f"{call} has no result")
        elif starts[call.id] != 1 or results[call.id] not in (
            [call.status],
            [_in_short(call.status)],
        ):
            shown = f"{starts[call.id]} starts, results {results[call.id]}"
            found.fault("history faults", f"{call}: the log shows {shown}")
