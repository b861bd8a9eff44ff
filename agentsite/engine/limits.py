"""Repeat detection: which calls of a run say the same thing again.

Law: a tracker is a value, part of the run's state; it lives as long as the run
and holds short hashes only, of a bounded number of calls.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

PAGINATION_KEYS = frozenset(
    {
        "offset",
        "limit",
        "page",
        "start_line",
        "end_line",
        "cursor",
        "after",
        "before",
        "next_page_token",
        "page_token",
        "skip",
    }
)
REMEMBERED_CALLS = 200
"""Distinct calls, and distinct outcomes, that a tracker remembers; the oldest go first."""
REPEAT_NOTICE_AT = 8
"""So often the same tool, arguments and result before the model and the operator are told."""

CLOSING_TEXT = "Not carried out: the budget of this run is used up."
CLOSING_HINT = (
    "Note: the budget is used up, this is your last message. Call no tools. Say in a few sentences "
    "what was done, what was not, and that the budget ended the work."
)


def loop_sentence(count: int) -> str:
    """What the run says when `maxToolRepeats` stops it after `count` calls."""
    return (
        f"I've made {count} calls, here's what I have so far. "
        "Say 'keep going' if you'd like me to continue."
    )


def canonical_json(value: Any) -> str:
    """One text per JSON value: sorted keys, no spaces, 2.0 written as 2.

    Whole floats become integers because a database may give them back as such.
    Raises ValueError for NaN and infinities.
    """
    return json.dumps(
        _plain_numbers(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    return value


def sha256_hex(*texts: str) -> str:
    """Hash of a sequence of texts; the borders between them count."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


class SeenCall(msgspec.Struct, frozen=True, array_like=True):
    """One distinct call, as hashes."""

    exact: str
    """Tool and all arguments."""
    shape: str
    """Tool and the names of the arguments, without pagination."""
    values: tuple[str, ...]
    """Each value, without pagination, in the order of the names."""
    times: int


class SeenResult(msgspec.Struct, frozen=True, array_like=True):
    """One distinct outcome: hash of a call and its result."""

    exact: str
    times: int


class RepeatTracker(msgspec.Struct, frozen=True):
    """What a run has called so far, the latest last."""

    calls: tuple[SeenCall, ...] = ()
    results: tuple[SeenResult, ...] = ()

    def observe(self, name: str, arguments: dict[str, Any]) -> tuple[RepeatTracker, int]:
        """Count a call: how many of this run, itself included, are like it.

        `maxToolRepeats: n` is exceeded when the count is greater than n.
        """
        new = _describe(name, arguments)
        count = 1
        kept = []
        for seen in self.calls:
            if seen.exact == new.exact:
                count += seen.times
                new = msgspec.structs.replace(new, times=seen.times + 1)
                continue
            if _is_similar(seen, new):
                count += seen.times
            kept.append(seen)
        kept.append(new)
        if len(kept) > REMEMBERED_CALLS:
            kept = _forget_oldest(kept)
        return msgspec.structs.replace(self, calls=tuple(kept)), count

    def observe_result(self, fingerprint: str, result_hash: str) -> tuple[RepeatTracker, int]:
        """Count an outcome: how often this very call has given this very result."""
        exact = sha256_hex(fingerprint, result_hash)[:16]
        times = 1 + sum(seen.times for seen in self.results if seen.exact == exact)
        kept = tuple(seen for seen in self.results if seen.exact != exact)
        results = (*kept, SeenResult(exact, times))[-REMEMBERED_CALLS:]
        return msgspec.structs.replace(self, results=results), times

    @staticmethod
    def fingerprint(name: str, arguments: dict[str, Any]) -> str:
        """32 hexadecimal characters that stand for a tool and its arguments."""
        return sha256_hex(name, canonical_json(arguments))[:32]


def _describe(name: str, arguments: dict[str, Any]) -> SeenCall:
    names = sorted(arguments.keys() - PAGINATION_KEYS)
    return SeenCall(
        exact=RepeatTracker.fingerprint(name, arguments)[:16],
        shape=sha256_hex(name, *names)[:16],
        values=tuple(sha256_hex(canonical_json(arguments[key]))[:8] for key in names),
        times=1,
    )


def _forget_oldest(calls: list[SeenCall]) -> list[SeenCall]:
    """Drop the oldest call; one that is like it inherits its count, so that counts go on."""
    oldest, *others = calls
    heir = next((i for i, call in enumerate(others) if _is_similar(oldest, call)), None)
    if heir is not None:
        times = others[heir].times + oldest.times
        others[heir] = msgspec.structs.replace(others[heir], times=times)
    return others


def _is_similar(one: SeenCall, other: SeenCall) -> bool:
    """At least half of the values equal; calls that differ in pagination alone are not alike."""
    if one.shape != other.shape or one.values == other.values:
        return False
    equal = sum(a == b for a, b in zip(one.values, other.values, strict=True))
    return 2 * equal >= len(one.values)
