"""One message to its `done`: follows a run over broken connections and answers its questions.

Law: only `done` (or the user) ends a message. A stream that ends without it is
taken up again behind the last number seen, so nothing is shown twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from agentsite.management.terminal.client import ChatClient, Disconnected, Frame, Refused
from agentsite.management.terminal.screen import Screen
from agentsite.management.terminal.widgets import clean, show_value

RETRIES = 5
"""Attempts in a row without a single frame before the client gives up."""
LASTED_SECONDS = 30.0
"""A connection that was silent so long was no failure: servers end streams now and then."""
Ask = Callable[[str], str]


class Conversation:
    """A session as one user sees it."""

    def __init__(
        self,
        client: ChatClient,
        screen: Screen,
        ask: Ask,
        *,
        session: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.screen = screen
        self.session = session
        self._ask = ask
        self._pause, self._clock = pause, clock
        self._seq = 0
        self._started = False

    def send(self, message: str) -> str:
        """Send a message and show its run; returns the reason of its `done`.

        `lost` means that the server is out of reach, `refused` that it did not take the
        message. Ctrl-C interrupts the run, a second one leaves it alone.
        """
        self._started = False
        frames = self.client.start(message, self.session)
        failures = 0
        while True:
            seen, begun = self._seq, self._clock()
            reason = self._attempt(frames)
            if reason:
                return reason
            if not self.session:
                self.screen.note("the server ended the stream without a word", "bold red")
                return "lost"
            lasted = self._clock() - begun >= LASTED_SECONDS
            failures = 0 if lasted or self._seq > seen else failures + 1
            if failures > RETRIES:
                self.screen.note("the connection is lost; the run goes on without us", "bold red")
                return "lost"
            if failures:
                self._pause(min(0.2 * 2**failures, 5.0))
            frames = self.client.follow(self.session, self._seq)

    def _attempt(self, frames: Iterator[Frame]) -> str | None:
        """Watch one connection; a reason ends the message, None asks for another connection."""
        try:
            return self._watch(frames)
        except Refused as refusal:
            self.screen.note(f"refused: {refusal}", "bold red")
            return "refused"
        except Disconnected as error:
            if self._started:
                return None
            self.screen.note(f"no connection to {self.client.url}: {error}", "bold red")
            return "lost"
        except KeyboardInterrupt:
            if not self._stop():
                raise
            return None

    def _watch(self, frames: Iterator[Frame]) -> str | None:
        """Show frames up to `done`; None when the stream ended before."""
        answered = False
        for frame in frames:
            if frame.seq is not None:
                self._seq = max(self._seq, frame.seq)
            if frame.event == "init":
                self._started = True
                self.session = str(frame.data.get("sessionId"))
            self.screen.show(frame)
            if frame.event in ("confirmation_required", "ask_user", "ask_choice"):
                answered = self._answer(frame)
            if frame.event == "done":
                reason = str(frame.data.get("reason"))
                parked = reason == "awaiting_confirmation"
                return None if parked and answered else reason
        return None

    def _stop(self) -> bool:
        """Ask the server to end the run; False when there is none to end."""
        if not self.session or not self._started:
            return False
        self.screen.note("stopping …", "yellow")
        try:
            self.client.interrupt(self.session)
        except (Refused, Disconnected) as error:
            self.screen.note(f"could not stop the run: {error}", "bold red")
            return False
        return True

    def _answer(self, frame: Frame) -> bool:
        """Put a question of the run to the user; False when nobody is there to answer."""
        interaction = str(frame.data.get("interactionId") or frame.data.get("ask_id"))
        try:
            if frame.event == "confirmation_required":
                answer = self._confirm(frame.data)
            elif frame.event == "ask_choice":
                answer = self._choose(frame.data)
            else:
                answer = self._fill_in(frame.data)
        except EOFError:
            self.screen.note("nobody is here to answer; the run waits at the server", "yellow")
            return False
        try:
            self.client.answer(str(self.session), interaction, answer)
        except Refused as refusal:
            self.screen.note(f"the answer was not taken: {refusal}", "bold red")
        return True

    def _confirm(self, data: dict[str, Any]) -> dict[str, Any]:
        self.screen.note(f"The agent wants to: {data.get('action')}", "bold yellow")
        for key in ("connection_name", "method", "endpoint", "reason", "params", "details"):
            if data.get(key):
                self.screen.note(f"  {key}: {show_value(data[key])}")
        return {"approved": self._ask("Approve? [y/N] ").strip().lower() in ("y", "yes")}

    def _choose(self, data: dict[str, Any]) -> dict[str, Any]:
        self.screen.note(data.get("question", ""), "bold")
        options = [one for one in data.get("options", []) if isinstance(one, dict)]
        for number, option in enumerate(options, 1):
            self.screen.note(f"  {number}. {option.get('label', option.get('value'))}", "")
        picked = []
        for part in self._ask("Your choice: ").replace(",", " ").split():
            known = part.isdigit() and 0 < int(part) <= len(options)
            picked.append(str(options[int(part) - 1].get("value")) if known else part)
        return {"answers": {str(data.get("question", "")): ", ".join(picked)}}

    def _fill_in(self, data: dict[str, Any]) -> dict[str, Any]:
        answers = {}
        for question in data.get("questions", []):
            shown = question if isinstance(question, dict) else {"question": question}
            text = str(shown.get("question") or shown.get("text") or shown.get("id"))
            answers[str(shown.get("id") or text)] = self._ask(f"{clean(text)} ")
        return {"answers": answers}
