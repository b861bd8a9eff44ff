"""`manage.py chaos`: a short storm holds every invariant, and its judges see what is wrong."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agentsite.engine import events as e
from agentsite.engine.deltas import Usage
from agentsite.host.recovery import UNKNOWN
from agentsite.host.wire import encode_entry
from agentsite.management.chaos.counting import Hit
from agentsite.management.chaos.facts import CallRow, Facts, Line, Log, RunRow
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.frames import Splitter, to_entry
from agentsite.management.chaos.judge_calls import judge_effects, judge_fences, judge_unknowns
from agentsite.management.chaos.judge_log import judge_log
from agentsite.management.chaos.judge_recordings import judge_recording
from agentsite.management.chaos.options import Options
from agentsite.management.chaos.plans import Planner
from agentsite.management.chaos.recording import Recording
from agentsite.management.chaos.storm import judge_reach
from agentsite.management.chaos.trail import Step
from agentsite.management.chaos.web import Kill
from agentsite.management.chaos.world import Accepted
from tests.processes import all_gone

ROOT = Path(__file__).resolve().parent.parent.parent
SESSION, RUN = "sess_1", "run_1"
AT = 1_700_000_000_000


@pytest.mark.timeout(400)
def test_a_short_storm_holds_every_invariant() -> None:
    command = [sys.executable, ROOT / "manage.py", "chaos", "--seed", "5", "--runs", "16"]
    storm = subprocess.Popen(
        [*command, "--kills", "4", "--processes", "2", "--people", "4", "--seconds", "150"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = storm.communicate(timeout=380)
    finally:
        family = psutil.Process().children(recursive=True) if storm.poll() is None else []
        storm.kill()
        storm.wait()
    assert all_gone(family, 20)
    assert storm.returncode == 0, said
    assert "Every invariant held." in said
    for name, wanted in (("messages", 16), ("kills", 4)):
        told = re.search(rf"^  {name} +(\d+)", said, re.MULTILINE)
        assert told and int(told[1]) >= wanted, said


# ---- the judges, each with what it must see -------------------------------------------


def message(text: str) -> dict[str, object]:
    return {"id": "msg_1", "type": "user", "text": text, "toolCalls": []}


def make_log(*events: tuple[int, e.AnyEvent]) -> Log:
    entries = [e.Entry(seq, AT, event) for seq, event in events]
    return Log([Line(entry, RUN, encode_entry(entry)) for entry in entries])


BEGUN = e.Init(SESSION, RUN, message("[m1-1] hello"))
DONE = e.Done("model_stop", Usage(), 0, RUN)
WHOLE = make_log((1, BEGUN), (2, e.TextStreamed("Hi")), (3, DONE))
TAKEN_OVER = make_log(
    (1, BEGUN), (2, e.TextStreamed("H")), (9, e.RunResumed(2, 1)), (10, e.TextStreamed("Hi")),
    (11, DONE),
)  # fmt: skip


def make_facts(
    log: Log, *calls: CallRow, trail: list[Step] | None = None, status: str = "done"
) -> Facts:
    run = RunRow(RUN, SESSION, status, "model_stop", "", 1, 0)
    return Facts({RUN: run}, {call.id: call for call in calls}, {SESSION: log}, trail or [])


def faults_of_log(log: Log, accepted: str = "m1-1") -> list[str]:
    found = Findings()
    judge_log(make_facts(log), [Accepted(accepted, SESSION, "idle")], found)
    return sorted(found.faults)


@pytest.mark.parametrize("log", [WHOLE, TAKEN_OVER])
def test_a_whole_log_is_clean(log: Log) -> None:
    assert faults_of_log(log) == []


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        (make_log((1, BEGUN), (2, e.TextStreamed("Hi"))), "lost"),
        (make_log((1, BEGUN), (2, DONE), (3, DONE)), "lost"),
        (make_log((1, BEGUN), (3, DONE)), "gaps"),
        (make_log((1, BEGUN), (2, DONE), (3, e.TextStreamed("late"))), "history faults"),
        (make_log((1, BEGUN), (2, BEGUN), (3, DONE)), "history faults"),
    ],
)
def test_a_broken_log_is_seen(log: Log, kind: str) -> None:
    assert kind in faults_of_log(log)


def test_a_message_in_no_run_is_lost() -> None:
    assert faults_of_log(WHOLE, "m1-2") == ["lost"]


def record(log: Log, *left_out: int, extra: bytes = b"") -> Recording:
    recording = Recording(SESSION, "viewer", start=0)
    raw = b"".join(line.raw for line in log.lines if line.seq not in left_out) + extra
    for frame in Splitter().feed(raw):
        recording.add(frame)
    return recording


def faults_of_recording(recording: Recording, log: Log, text: str = "Hi") -> list[str]:
    found = Findings()
    shown = record(log)
    transcript = e.Entry(1, AT, BEGUN)
    assert to_entry(shown.frames[0]) == transcript
    answer = {
        "id": "msg_1_1", "type": "assistant_text", "role": "assistant", "text": text,
        "timestamp": "2023-11-14T22:13:20.000Z", "runId": RUN, "toolCalls": [],
        "contentBlocks": [{"type": "text", "text": text}], "widgets": [],
    }  # fmt: skip
    detail = {
        "title": "", "messages": [message("[m1-1] hello"), answer], "pendingInteractions": []
    }  # fmt: skip
    judge_recording(recording, log, detail, found)
    return sorted(found.faults)


def test_recordings_are_compared_outside_void_ranges() -> None:
    uncommitted = encode_entry(e.Entry(5, AT, e.TextStreamed("never written")))
    seen = Recording(SESSION, "viewer", start=0)
    raw = [line.raw for line in TAKEN_OVER.lines]
    for frame in Splitter().feed(b"".join([*raw[:2], uncommitted, *raw[2:]])):
        seen.add(frame)
    assert faults_of_recording(record(WHOLE), WHOLE) == []
    assert faults_of_recording(seen, TAKEN_OVER) == []
    assert faults_of_recording(record(TAKEN_OVER, 2), TAKEN_OVER) == []


def test_gaps_doubles_and_other_folds_are_seen() -> None:
    double = WHOLE.lines[2].raw
    assert "gaps" in faults_of_recording(record(WHOLE, 2), WHOLE)
    assert "gaps" in faults_of_recording(record(TAKEN_OVER, 10), TAKEN_OVER)
    assert "duplicates" in faults_of_recording(record(WHOLE, extra=double), WHOLE)
    assert faults_of_recording(record(WHOLE), WHOLE, "Ho") == ["fold differences"]


def call_row(status: str, text: str = "") -> CallRow:
    return CallRow("tc_1", RUN, "count", "m1-1.0.0", status, text)


@pytest.mark.parametrize(
    ("call", "hits", "clean"),
    [
        (call_row("ok", '{"counted":1}'), 1, True),
        (call_row("ok", '{"counted":1}'), 2, False),
        (call_row("ok", '{"counted":1}'), 0, False),
        (call_row("denied"), 1, False),
        (call_row("interrupted"), 1, True),
    ],
)
def test_effects_are_counted(call: CallRow, hits: int, clean: bool) -> None:
    found = Findings()
    by_name = {call.n: [Hit(call.id, call.n, "count", 1)] * hits} if hits else {}
    judge_effects(make_facts(WHOLE, call), by_name, found)
    assert found.clean is clean


def test_unknown_outcomes_need_a_kill_of_their_process() -> None:
    def step(at: float, app: str, status: str) -> Step:
        return Step(at, app, "call", RUN, 1, "", "tc_1", status)

    facts = make_facts(
        WHOLE,
        call_row("interrupted", UNKNOWN),
        trail=[step(10, "web-1.1", "running"), step(20, "web-2.1", "interrupted")],
    )
    for kill, clean in (
        (Kill("kill", "web-1.1", 12, 13), True),
        (Kill("kill", "web-2.1", 12, 13), False),
        (Kill("kill", "web-1.1", 3, 4), False),
        (Kill("postgres", "", 12, 13), True),
    ):
        found = Findings()
        judge_unknowns(facts, [kill], found)
        assert found.clean is clean, kill


def test_a_write_of_a_lost_attempt_is_a_breach() -> None:
    def step(app: str, what: str, attempt: int, owner: str = "") -> Step:
        return Step(1, app, what, RUN, attempt, owner, "", "running" if what == "run" else "")

    claims = [step("web-1.1", "run", 1, "a"), step("web-2.1", "run", 2, "b")]
    for late, clean in (
        (step("web-2.1", "events", 2), True),
        (step("web-1.1", "events", 1), False),
        (step("web-1.1", "events", 2), False),
    ):
        found = Findings()
        judge_fences(make_facts(WHOLE, trail=[*claims, late]), found)
        assert found.clean is clean, late


@pytest.mark.parametrize(
    ("messages", "kills", "faults"), [(16, 4, 0), (17, 5, 0), (15, 4, 1), (16, 3, 1), (0, 0, 2)]
)
def test_a_storm_that_broke_too_little_proves_nothing(
    messages: int, kills: int, faults: int
) -> None:
    found = Findings()
    judge_reach(Options(runs=16, kills=4), messages, kills, found)
    assert len(found.faults["not reached"]) == faults
    assert found.clean is (faults == 0)


def test_the_same_seed_says_the_same() -> None:
    def say(seed: str) -> list[tuple[str, str]]:
        planner = Planner(random.Random(seed), "m")
        return [planner.say() for _ in range(50)]

    assert say("a") == say("a")
    assert say("a") != say("b")
