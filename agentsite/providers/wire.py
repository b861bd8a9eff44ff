"""How any vendor's stream becomes batches of deltas: one batch per network read.

A decoder is synchronous and holds the state of one answer. What arrived before a failure
is always handed out first, and only then the failure raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from agentsite.engine.deltas import Delta, Stopped, StopReason
from agentsite.engine.ports import ErrorKind
from agentsite.providers.base import ProviderError
from agentsite.providers.sse import EventTooLarge, SseSplitter


class Decoder(ABC):
    """Turns the bytes of one answer into deltas; a vendor says what one event means."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider, self._model = provider, model
        self._events = SseSplitter()
        self._failure: ProviderError | None = None
        self._reason: StopReason | None = None
        self._stopped = False

    @abstractmethod
    def read_event(self, payload: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event; raise ProviderError for an error event."""

    def feed(self, chunk: bytes) -> tuple[Delta, ...]:
        """Return the deltas that `chunk` completes. Raises ProviderError."""
        return self._read(self._split(chunk))

    def finish(self) -> tuple[Delta, ...]:
        """Return what the end of the stream completes; raises if the answer was cut."""
        self._raise_failure()
        batch = self._read(self._events.finish())
        if self._stopped or self._failure is not None:
            return batch
        if self._reason is None:
            self._failure = self.error("server", "the stream ended in the middle of the answer")
            if not batch:
                raise self._failure
            return batch
        return (*batch, self._stop())

    def error(self, kind: ErrorKind, message: str, status: int | None = None) -> ProviderError:
        return ProviderError(kind, message, self._provider, self._model, status)

    def raise_pending(self) -> None:
        """Raise the failure that was held back until its batch had been handed out."""
        self._raise_failure()

    @property
    def stopped(self) -> bool:
        """The answer is complete; whatever the connection does now does not matter."""
        return self._stopped

    def end(self, out: list[Delta]) -> None:
        """Append `Stopped` with the reason seen before; to be called by `read_event`."""
        if not self._stopped:
            out.append(self._stop())

    def _stop(self) -> Stopped:
        self._stopped = True
        return Stopped(self._reason or "end")

    def _split(self, chunk: bytes) -> list[bytes]:
        try:
            return self._events.feed(chunk)
        except EventTooLarge as error:
            raise self.error("server", str(error)) from None

    def _read(self, payloads: list[bytes]) -> tuple[Delta, ...]:
        out: list[Delta] = []
        try:
            for payload in payloads:
                if self._stopped:
                    break
                self.read_event(payload, out)
        except ProviderError as failure:
            self._failure = failure
        except msgspec.DecodeError:
            self._failure = self.error("server", "the stream holds an event that is not valid JSON")
        if not out:
            self._raise_failure()
        return tuple(out)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
