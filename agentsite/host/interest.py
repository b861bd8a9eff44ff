"""What a stream wants of a session's log: where it begins, and where it ends.

Law: pure bookkeeping over events that pass by. What closes a response whose time is over is
made here; it has no number and is not in the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from agentsite.engine.events import (
    AnyEvent,
    Approved,
    ChoiceAsked,
    ConfirmationRequired,
    Denied,
    Done,
    Init,
    TextStreamed,
    ToolEnded,
    UserAsked,
    UserJoined,
)
from agentsite.host.clock import now_ms
from agentsite.host.patience import patient_unit
from agentsite.host.wire import KEEPALIVE, encode_unlogged
from sessions_app import lookups


class Interest:
    """The whole session, for some seconds or (None) for ever."""

    def __init__(self, seconds: float | None = None) -> None:
        self.ended = False
        self._until = None if seconds is None else time.monotonic() + seconds

    def takes(self, event: AnyEvent) -> bool:
        """Whether the stream shows this event; called once for each, in order."""
        return True

    def seconds_left(self) -> float | None:
        """Seconds until the stream ends by itself; None while nothing says so."""
        return None if self._until is None else self._until - time.monotonic()

    async def farewell(self) -> bytes:
        """A comment: whoever comes back goes on behind the last number."""
        return KEEPALIVE


class OneRun(Interest):
    """One run, from where the reader stands to its `done`, or until it is parked too long."""

    def __init__(
        self,
        run_id: str,
        grace_seconds: float,
        *,
        await_init: bool = False,
        asked: Iterable[str] = (),
    ) -> None:
        """`asked`: calls with open questions that may stand before where the reader begins."""
        super().__init__()
        self.run_id = run_id
        self._grace = grace_seconds
        self._begun = not await_init
        self._asked = set(asked)
        self._asked_at = time.monotonic()

    def takes(self, event: AnyEvent) -> bool:
        if type(event) is TextStreamed:  # by far the most frequent
            return self._begun
        self._note_question(event)
        if not self._begun:
            self._begun = isinstance(event, Init) and event.run_id == self.run_id
            return self._begun
        if isinstance(event, Done):
            self.ended = event.run_id == self.run_id
        return True

    def _note_question(self, event: AnyEvent) -> None:
        """Keep count of open questions, those of a run that is still ahead of ours too."""
        match event:
            case ConfirmationRequired() | UserAsked() | ChoiceAsked():
                self._asked.add(event.call_id)
                self._asked_at = time.monotonic()
            case Approved() | Denied():
                self._asked.discard(event.call_id)
            case ToolEnded():
                self._asked.discard(event.id)
            case _:
                pass

    @property
    def begun(self) -> bool:
        """Whether the run has come to its turn; before that it has said nothing."""
        return self._begun

    @property
    def parked(self) -> bool:
        """A person is awaited, as far as this reader has seen."""
        return bool(self._asked)

    def seconds_left(self) -> float | None:
        if not self._asked:
            return None
        return self._asked_at + self._grace - time.monotonic()

    async def farewell(self) -> bytes:
        usage, micros = await patient_unit(lookups.spent_by_run, self.run_id)
        done = Done("awaiting_confirmation", usage, micros, self.run_id)
        return encode_unlogged(done, now_ms())


class Answered(OneRun):
    """A run that was given answers: what else it waits for counts once it has taken these in."""

    def __init__(
        self,
        run_id: str,
        grace_seconds: float,
        *,
        given: Iterable[str],
        await_init: bool = False,
        asked: Iterable[str] = (),
    ) -> None:
        """`given`: calls whose questions were answered after where the reader begins."""
        super().__init__(run_id, grace_seconds, await_init=await_init, asked=asked)
        self._given = set(given)

    def takes(self, event: AnyEvent) -> bool:
        match event:
            case Approved() | Denied():
                self._given.discard(event.call_id)
            case ToolEnded():  # an answer that came beside a denial of the turn is not heard
                self._given.discard(event.id)
            case _:
                pass
        return super().takes(event)

    def seconds_left(self) -> float | None:
        return None if self._given else super().seconds_left()


class Steered(OneRun):
    """A message that joins the live run, or becomes a run of its own if that ends first.

    Where no live run is known it shows nothing before the message is there.
    """

    def __init__(
        self, live_run_id: str, own_run_id: str, message_id: str, grace_seconds: float
    ) -> None:
        super().__init__(live_run_id or own_run_id, grace_seconds)
        self._begun = bool(live_run_id)
        self._own_run_id = own_run_id
        self._message_id = message_id
        self._current = live_run_id
        self._joined = False

    def takes(self, event: AnyEvent) -> bool:
        if isinstance(event, Init):
            self._current = event.run_id
            if event.run_id == self._own_run_id:
                self._follow_current()
        elif isinstance(event, UserJoined) and event.message["id"] == self._message_id:
            self._follow_current()  # not always the run that was live when it was sent
        taken = super().takes(event)
        self.ended = self.ended and self._joined
        return taken

    def _follow_current(self) -> None:
        self.run_id, self._joined, self._begun = self._current, True, True
