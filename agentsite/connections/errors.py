"""What can go wrong on the way out. Messages are for people and models: no secrets in them."""

from __future__ import annotations


class OutboundError(Exception):
    """A request that brought no answer. `transient`: the same request may work later."""

    transient = False


class Refused(OutboundError):
    """This server does not go there."""


class TooLarge(OutboundError):
    """The answer is larger than allowed."""


class TimedOut(OutboundError):
    """The answer was not there in time."""

    transient = True


class Unreachable(OutboundError):
    """No connection, or one that broke."""

    transient = True


class RateLimited(OutboundError):
    """Too many requests to one host; `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
