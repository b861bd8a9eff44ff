"""A world in values around the run machine: sessions, crashes, people, busy messages.

Law: everything that is random comes from one `Random`, so a seed is a whole script.
A script plays a few runs of one session to their ends; what must hold is checked
at every step, and what clients see at every end.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from agentsite.engine import events as e, steps
from agentsite.engine.history import repair
from agentsite.engine.messages import Message, TextPart, user_message
from agentsite.engine.transcript import Transcript, fold, user_to_api
from tests.engine.simulation_checks import Observed, check_request
from tests.engine.simulation_driver import Driver, GivenAnswer, Posted
from tests.engine.simulation_journal import Crashed
from tests.engine.simulation_model import CONFIGS, TOOLS
from tests.engine.simulation_rows import Remembered, Rows, RunRow

LONGEST_SCRIPT = 3_000
"""Ticks; a run that takes more goes round in circles."""
MAX_LOSSES = 3
SPENT = "The budget is used up."
UNKNOWN = "The outcome of this call is unknown."
POISONED = steps.Cancelled("error", "Every process broke off.", "poisoned")


class World:
    """One session, its clients and its people. `play` runs a whole script."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.rows = Rows()
        self.time = 1_700_000_000_000
        self.seen: list[e.Entry] = []
        """What an attached client was sent, lost text included."""
        self.manner: Literal["quiet", "busy", "repeating"] = rng.choice(
            ("quiet", "busy", "busy", "repeating")
        )
        self.crashiness = rng.choice((0.0, 0.0, 0.01, 0.04))
        self.pressure = rng.choice((0.0, 0.05, 0.3, 0.9))
        self.summary_trouble = rng.choice((0.0, 0.3, 0.9))
        self.poverty = rng.choice((0.0, 0.0, 0.03, 0.2))
        """How often a budget has too little left for the next request."""
        self.disturbance = rng.choice((0.0, 0.02, 0.06))
        self.ticks = 0
        self._unique = 0
        self._client, self._folded = Transcript(), 0
        self._driver: Driver | None = None
        self._rollback = False
        self._cancel: steps.Cancelled | None = None
        """A stop that was asked for while nobody drove the run."""

    def now(self) -> int:
        self.time += 7
        return self.time

    def unique(self) -> int:
        self._unique += 1
        return self._unique

    def call_id(self) -> str:
        return f"tc_{self.unique()}"

    def may_crash(self) -> None:
        if self.rng.random() < self.crashiness:
            raise Crashed

    def refuse_money(self) -> steps.Unaffordable | None:
        """What the next request is told if it is too dear."""
        if self.rng.random() >= self.poverty:
            return None
        return steps.Unaffordable(SPENT, closing=self.rng.random() < 0.7)

    def catch_up(self) -> None:
        """The client reads what was committed behind what it has."""
        after = self.seen[-1].seq if self.seen else 0
        late = []
        for entry in reversed(self.rows.log):
            if entry.seq <= after:
                break
            late.append(entry)
        self.seen += reversed(late)

    # ---- runs ------------------------------------------------------------------------

    def play(self) -> None:
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self._begin_run()
            while self.rows.run.status != "done":
                self.ticks += 1
                assert self.ticks < LONGEST_SCRIPT, "the run does not end"
                try:
                    self._tick()
                except Crashed:
                    self._take_over()
            self._end_run()
        self._check_log()

    def _begin_run(self) -> None:
        number = self.unique()
        rows, run_id = self.rows, f"run_{number}"
        message = Message("user", (TextPart(f"question {number}"),), f"msg_{number}")
        if rows.steering:  # it came too late to join the run before
            message = rows.steering.pop(0)
        repeats = 0 if self.manner == "repeating" else self.rng.choice((0, 0, 1, 2, 3))
        turns = 14 if self.manner == "repeating" else self.rng.choice((1, 2, 3, 5, 12))
        state = steps.RunState(max_turns=turns, max_tool_repeats=repeats)
        seq, at = rows.reserved + 1, self.now()
        rows.reserved = seq
        run = RunRow(run_id, seq, seq, msgspec.json.encode(state), Observed())
        rows.runs.append(run)
        shown = user_to_api(message, at, run_id)
        rows.append([e.Entry(seq, at, e.Init("sess", run_id, shown))])
        rows.insert_user(run_id, seq, at, message)
        self.catch_up()
        self._cancel, self._rollback = None, False
        self._driver = Driver(self, run, rows.load_history(), (steps.Begun(),))

    def _tick(self) -> None:
        driver = self._driver
        if driver is None:
            self._visit_parked()
            return
        if self.rng.random() < self.disturbance:
            self._disturb(driver)
        if self.rows.open_questions() and self.rng.random() < 0.2:
            driver.inbox.append(GivenAnswer(self._decide()))
        driver.tick()
        if driver.parked:
            self._driver = None

    def _disturb(self, driver: Driver) -> None:
        """Something comes from outside while the run goes on."""
        match self.rng.randrange(8):
            case 0:
                driver.inbox.append(steps.Cancelled("error", "Too long.", "run_timeout"))
            case 1 | 2:
                self._interrupt(driver)
            case 3 | 4:
                self.steer(driver)
            case 5:
                driver.flush()
            case 6:
                title = f"title {self.unique()}"
                self.rows.title = title
                driver.flush((e.TitleChanged(title),))
            case _:
                raise Crashed

    def _interrupt(self, driver: Driver | None) -> None:
        """A stop button, or a second message with `interrupt` or `rollback`."""
        self._rollback = self.rng.random() < 0.3
        self._cancel = steps.Cancelled("user_abort")
        if driver is not None:
            driver.rolled_back = self._rollback
            driver.inbox.append(self._cancel)

    def steer(self, driver: Driver | None) -> None:
        number = self.unique()
        message = Message("user", (TextPart(f"steer {number}"),), f"msg_{number}")
        self.rows.steering.append(message)
        if driver is not None:
            driver.steered = True
            driver.inbox.append(steps.Joined())

    # ---- parked runs -----------------------------------------------------------------

    def _visit_parked(self) -> None:
        match self.rng.randrange(12):
            case 0:
                self._interrupt(None)
            case 1:
                self.steer(None)
                return
            case 2:
                self._check_views()
                return
            case _:
                self._decide()
        self._wake(lost=False)

    def _decide(self) -> str:
        """A person answers one of the open questions, or nobody does in time: returns its id."""
        question = self.rng.choice(self.rows.open_questions())
        if self.rng.random() < 0.1:
            question.status = "expired"
        elif self.rng.random() < 0.3:
            question.status = "denied"
        elif isinstance(question.event, e.UserAsked):
            question.status = "answered"
            if self.rng.random() < 0.3:
                number = self.unique()
                question.message = Message("user", (TextPart("Blue."),), f"msg_{number}")
        else:
            question.status = "approved"
        return question.event.interaction_id

    def _take_over(self) -> None:
        """The process died; what it sent is known to clients, what it committed is in the rows."""
        self._driver = None
        if self.rows.run.status != "running":
            self.catch_up()
            return
        self.rows.run.attempt += 1
        self.rows.run.losses += 1
        try:
            self._wake(lost=True)
        except Crashed:
            self._take_over()

    def _wake(self, *, lost: bool) -> None:
        """See `agentsite.host.recovery.reopen`."""
        rows, run = self.rows, self.rows.run
        state = msgspec.json.decode(run.state, type=steps.RunState)
        history, turn = rows.load_history(), [rows.calls[call.id] for call in state.calls]
        position = 0
        if turn:
            message_id = turn[0].message_id
            position = next(r.position for r in rows.messages if r.message.id == message_id)
            history = [i for i in history if i[0] != position or i[1].role != "tool"]
        unknown = [c for c in turn if c.status == "running" and not TOOLS[c.part.name].repeatable]
        run.status = "running"
        driver = Driver(self, run, history, ())
        greeting: list[e.AnyEvent] = [e.RunResumed(run.attempt, run.last_seq)] if lost else []
        if lost and rows.title:
            greeting.append(e.TitleChanged(rows.title))

        def write() -> None:
            for call in unknown:
                rows.settle(call.part.id, "interrupted", UNKNOWN)
            run.last_seq = max(run.last_seq, driver.last_seq)

        for call in unknown:
            name = call.part.name
            told = e.ToolEnded(call.part.id, name, False, UNKNOWN, 0, status="interrupted")
            greeting.append(told)
        driver.flush(tuple(greeting), (write,))
        settled = {c.part.id: c.result.status for c in turn if not c.open}
        known = {call.id for call in state.calls if not call.open}
        turns = sum(rows.children.get(id, 0) for id in settled if id not in known)
        results = {call.part.id: call.result for call in turn if not call.open}
        driver.begin_turn(position, results, *(call.part for call in turn))
        stop = any(c.stops for c in turn if c.part.id not in known)
        driver.inbox.extend(self._first(run, state, steps.Resumed(settled, turns, stop)))
        driver.rolled_back = self._rollback
        if rows.steering:
            driver.steered = True
            driver.inbox.append(steps.Joined())
        self._driver = driver

    def _first(
        self, run: RunRow, state: steps.RunState, resumed: steps.Resumed
    ) -> tuple[Posted, ...]:
        if self._cancel is not None:
            return (self._cancel,)
        if run.losses >= MAX_LOSSES:
            return (POISONED,)
        asked = {call.id for call in state.calls if call.status == "asked"}
        for parent in (call.id for call in state.calls if call.open):
            asked |= {c.part.id for c in self.rows.calls_of_child(parent) if c.status == "held"}
        answers = tuple(
            GivenAnswer(id)
            for id, row in self.rows.questions.items()
            if row.event.call_id in asked and row.status not in ("open", "withdrawn")
        )
        if state.phase == "confirming":
            return answers or (resumed,)
        return (resumed, *answers)

    # ---- ends ------------------------------------------------------------------------

    def _end_run(self) -> None:
        self._driver = None
        self.catch_up()
        self._check_views()
        assert not self.rows.open_questions()
        self._check_next_message()
        if self.rng.random() < 0.2:
            self._rename(e.TitleChanged(f"title {self.unique()}"))

    def _rename(self, event: e.TitleChanged) -> None:
        """Give the session a title while no run is live."""
        self.rows.title = event.title
        self.rows.reserved += 1
        self.rows.append([e.Entry(self.rows.reserved, self.now(), event)])
        self.catch_up()

    def _check_next_message(self) -> None:
        """Whatever became of the run, every vendor takes the session's next message."""
        history: list[Remembered] = self.rows.load_history()
        repaired = repair([message for _, message in history])
        assert repair(repaired) == repaired
        request = (*repaired, user_message("next"))
        for vendor in CONFIGS:
            check_request(request, vendor)

    def _check_views(self) -> None:
        """Rows and a client that was there all the time agree."""
        for entry in self.seen[self._folded :]:
            self._client.fold(entry)
        self._folded = len(self.seen)
        self._compare(self._client)

    def _compare(self, told: Transcript) -> None:
        assert told.messages == self.rows.project(), "clients and rows tell different stories"
        assert told.pending == self.rows.project_pending()
        assert told.title == self.rows.title

    def _check_log(self) -> None:
        log = self.rows.log
        ended: str | None = None
        for entry in log:
            match entry.event:
                case e.Init():
                    ended = None
                case e.Done(run_id=run_id):
                    assert ended is None, "a run is done twice"
                    ended = run_id
                case e.TitleChanged():
                    pass
                case _:
                    assert ended is None, "a run speaks after its end"
        self._check_cuts()

    def _check_cuts(self) -> None:
        """Nor does it matter who reads: late, without what was discarded, or in two parts."""
        self._compare(fold(self.rows.log))
        self._compare(fold(without_voids(self.rows.log)))
        cut = self.rng.randrange(len(self.seen) + 1)
        seen = Transcript()
        for entry in self.seen[:cut]:
            seen.fold(entry)
        assert seen.messages is not None  # to look in between changes nothing
        after = self.seen[cut - 1].seq if cut else 0
        for entry in self.rows.log:
            if entry.seq > after:
                seen.fold(entry)
        self._compare(seen)


def without_voids(log: list[e.Entry]) -> list[e.Entry]:
    """The log as if no attempt had said anything that was discarded."""
    kept: list[e.Entry] = []
    for entry in log:
        if isinstance(entry.event, e.RunResumed):
            while kept and kept[-1].seq > entry.event.discard_from:
                kept.pop()
        kept.append(entry)
    return kept
