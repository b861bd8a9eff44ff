"""The fake model with clocks: each 17-character text delta is the microsecond it was sent at.

Deltas of another length go out as they are, so streams without a pace cost no more than before.
`python -m agentsite.management.bench.fake --parent PID` prints its address and serves.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from typing import overload

import msgspec
import uvloop

from agentsite.embedded.fate import die_with_parent
from agentsite.fakemodel.http import Call, Script
from agentsite.fakemodel.server import FakeModel

STAMP = 17
"""Digits of the microseconds since the epoch, until the year 2286, and a full stop.

No secret begins with that: a digit at the end could, and then waits for the next delta.
"""
_MARK = b'"text":"'


class Stamped(Sequence[bytes]):
    """Frames of an answer, each stamped when it is taken out to be sent."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        cuts = [frame.index(_MARK, frame.index(b"text_delta")) + len(_MARK) for frame in frames]
        self._parts = [(f[:at], f[at + STAMP :]) for f, at in zip(frames, cuts, strict=True)]

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        now = b"%d." % (time.time_ns() // 1000)
        if isinstance(place, slice):
            return [before + now + after for before, after in self._parts[place]]
        before, after = self._parts[place]
        return before + now + after


class StampingFake(FakeModel):
    """Plays the same plans; deltas of `STAMP` characters carry the time."""

    def __init__(self) -> None:
        super().__init__(keep=1)
        self._stamped: dict[int, tuple[Sequence[bytes], Stamped]] = {}

    def _answer(self, call: Call) -> Script:
        script = super()._answer(call)
        steps = script.steps
        if not steps or not _is_stampable(steps[-1]):
            return script
        kept = self._stamped.get(id(steps))
        if kept is None or kept[0] is not steps:
            kept = self._stamped[id(steps)] = (steps, Stamped(steps))
        return msgspec.structs.replace(script, steps=kept[1])


def _is_stampable(frame: bytes) -> bool:
    at = frame.rfind(_MARK) + len(_MARK)
    return b"text_delta" in frame and frame.find(b'"', at) - at == STAMP


async def serve() -> None:
    """Serve on a free port of loopback and say which."""
    async with StampingFake() as fake:
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        await fake.serve()


def main() -> None:
    """Serve until a signal, or until the parent is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    die_with_parent(signal.SIGKILL, parser.parse_args().parent)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())


if __name__ == "__main__":
    main()
