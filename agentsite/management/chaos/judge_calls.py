"""Effects and writers: nothing twice, every unknown outcome explained, no lost writer wrote."""

from __future__ import annotations

from collections import defaultdict

from agentsite.host.recovery import UNKNOWN
from agentsite.management.chaos.agent import EFFECTS
from agentsite.management.chaos.counting import Hit
from agentsite.management.chaos.facts import CallRow, Facts
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.trail import Step
from agentsite.management.chaos.web import Kill

SLACK = 1.5
"""Seconds between a signal and what its victim still did, as the database saw it."""
NEAR = 12
"""Kills that are told with a fault."""
HARMLESS = frozenset({"denied", "expired"})


def judge_effects(facts: Facts, by_name: dict[str, list[Hit]], found: Findings) -> None:
    """Each planned call took effect at most once, and exactly once when its result says so."""
    calls = {call.n: call for call in facts.calls.values()}
    for n, hits in by_name.items():
        if hits[0].tool in EFFECTS and len(hits) > 1:
            found.fault("doubled effects", f"{n}: {hits}")
        if n not in calls and len({hit.key for hit in hits}) > 1:
            found.fault("doubled effects", f"{n} ran under several ids: {hits}")
    for call in facts.calls.values():
        hits = [hit for hit in by_name.get(call.n, []) if hit.key == call.id]
        if call.status == "ok" and call.text.startswith('{"counted"') and not hits:
            found.fault("doubled effects", f"{call} has a result and no effect")
        if call.status in HARMLESS and hits:
            found.fault("doubled effects", f"{call} took effect: {hits}")
    found.figures["effects"] = sum(map(len, by_name.values()))


def judge_unknowns(facts: Facts, kills: list[Kill], found: Findings) -> None:
    """Each unknown outcome lies between an intent and a kill of the process that had it."""
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in facts.trail:
        if step.what == "call":
            steps[step.call_id].append(step)
    unknown = [call for call in facts.calls.values() if call.text == UNKNOWN]
    explained = [call for call in unknown if _is_explained(call, steps[call.id], kills, found)]
    found.figures["unknown outcomes"] = len(unknown)
    found.figures["explained"] = len(explained)


def _is_explained(call: CallRow, steps: list[Step], kills: list[Kill], found: Findings) -> bool:
    intents = [step for step in steps if step.status == "running"]
    outcomes = [step for step in steps if step.status == "interrupted"]
    if len(intents) == 1 and len(outcomes) == 1:
        (intent,), (outcome,) = intents, outcomes
        for kill in kills:
            hit = kill.kind == "postgres" or kill.victim == intent.app
            if hit and kill.began <= outcome.at and kill.ended >= intent.at - SLACK:
                return True
    told = " ".join(f"{step.status}@{step.at:.2f} by {step.app}" for step in steps)
    lives = {step.app for step in steps}
    about = [kill for kill in kills if kill.kind == "postgres" or kill.victim in lives]
    shown = " ".join(f"{k.kind} {k.victim}@{k.began:.2f}-{k.ended:.2f}" for k in about[-NEAR:])
    found.fault("unexplained unknowns", f"{call.name} {call.id} of {call.run_id}: {told}; {shown}")
    return False


def judge_fences(facts: Facts, found: Findings) -> None:
    """Every write of a run came from the process that had claimed that very attempt."""
    holders: dict[tuple[str, int], str] = {}
    newest: dict[str, int] = {}
    for step in facts.trail:
        if step.what == "run":
            if step.status == "running" and step.owner:
                holders.setdefault((step.run_id, step.attempt), step.app)
            newest[step.run_id] = max(newest.get(step.run_id, 0), step.attempt)
            continue
        if not step.run_id or step.status == "denied":
            continue
        if step.attempt < newest.get(step.run_id, 0):
            found.fault("fence breaches", f"after attempt {newest[step.run_id]}: {step}")
        holder = holders.get((step.run_id, step.attempt))
        if holder is not None and holder != step.app:
            found.fault("fence breaches", f"held by {holder}: {step}")
