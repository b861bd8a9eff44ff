"""Repeat detection, canonical JSON, token estimates, ids."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from agentsite.engine.ids import make_id
from agentsite.engine.limits import (
    REMEMBERED_CALLS,
    RepeatTracker,
    canonical_json,
    loop_sentence,
    sha256_hex,
)
from agentsite.engine.messages import ImagePart, Message, TextPart, user_message
from agentsite.engine.ports import ToolSpec
from agentsite.engine.tokens import IMAGE_TOKENS, estimate

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé"'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def count(*calls: dict[str, Any], name: str = "fetch") -> int:
    """The count of the last call."""
    tracker, last = RepeatTracker(), 0
    for arguments in calls:
        tracker, last = tracker.observe(name, arguments)
    return last


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([{}, {}, {}], 3),
        ([{"id": 1}, {"id": 2}, {"id": 3}], 1),
        ([{"id": 1, "x": 1}, {"id": 1, "x": 2}, {"id": 2, "x": 2}], 2),
        ([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 0, "c": 0}], 1),
        ([{"a": 1}, {"a": 1, "b": 2}], 1),
        ([{"q": "x", "page": 1}, {"q": "x", "page": 2}, {"q": "x", "page": 3}], 1),
        ([{"q": "x", "page": 1}, {"q": "x", "page": 1}], 2),
        ([{"page": 1}, {"offset": 1}, {}], 1),
        ([{"q": "x", "r": 1, "page": 1}, {"q": "x", "r": 2, "page": 2}], 2),
        ([{"a": 1}, {"b": 1}, {"a": 1.0}], 2),
    ],
)
def test_similar_calls_are_counted(calls: list[dict[str, Any]], expected: int) -> None:
    """Half of the values equal; calls that differ in pagination only are no repeats."""
    assert count(*calls) == expected


def test_other_tools_do_not_count() -> None:
    tracker, _ = RepeatTracker().observe("a", {"x": 1})
    assert tracker.observe("b", {"x": 1})[1] == 1


def test_a_count_goes_on_beyond_what_is_remembered() -> None:
    calls = [{"kind": "same", "n": n} for n in range(REMEMBERED_CALLS + 60)]
    assert count(*calls) == REMEMBERED_CALLS + 60


@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3), max_size=9))
def test_a_tracker_survives_json_at_every_step(calls: list[dict[str, Any]]) -> None:
    live = stored = RepeatTracker()
    for arguments in calls:
        live, expected = live.observe("t", arguments)
        stored, found = stored.observe("t", arguments)
        fingerprint = stored.fingerprint("t", arguments)
        live, _ = live.observe_result(fingerprint, "r")
        stored, _ = stored.observe_result(fingerprint, "r")
        assert found == expected
        stored = msgspec.json.decode(msgspec.json.encode(stored), type=RepeatTracker)
        assert stored == live


def test_a_tracker_is_bounded() -> None:
    tracker = RepeatTracker()
    for n in range(1_000):
        tracker, _ = tracker.observe("t", {"id": n})
        tracker, _ = tracker.observe_result(f"call {n}", "r")
    assert len(tracker.calls) == len(tracker.results) == REMEMBERED_CALLS
    assert len(msgspec.json.encode(tracker)) < 30_000


def test_only_the_same_outcome_of_the_same_call_is_an_exact_repetition() -> None:
    tracker = RepeatTracker()
    polling = tracker.fingerprint("poll", {"id": 1})
    outcomes = [(polling, "busy")] * 3 + [(polling, "done"), ("other", "busy"), (polling, "busy")]
    counts = []
    for fingerprint, outcome in outcomes:
        tracker, times = tracker.observe_result(fingerprint, sha256_hex(outcome))
        counts.append(times)
    assert counts == [1, 2, 3, 1, 1, 4]


def test_the_sentence_counts_and_offers_to_go_on() -> None:
    assert "I've made 20 calls" in loop_sentence(20)
    assert "'keep going'" in loop_sentence(20)


@given(json_values)
def test_canonical_json_is_one_text_per_value(value: Any) -> None:
    text = canonical_json(value)
    decoded = msgspec.json.decode(text) if text.isascii() else None
    assert decoded is None or canonical_json(decoded) == text
    assert canonical_json({"a": value, "b": 1}) == canonical_json({"b": 1.0, "a": value})


def test_hashes_see_the_borders_between_texts() -> None:
    assert sha256_hex("ab", "c") != sha256_hex("a", "bc")
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_an_estimate_grows_with_text_images_and_tools() -> None:
    assert estimate([]) == 0
    assert estimate([user_message("x" * 400)]) == 104
    assert estimate([user_message("я" * 400)]) == 204
    image = ImagePart("image/png", data="A" * 100_000)
    assert estimate([Message("user", (TextPart("x" * 4), image))]) == 5 + IMAGE_TOKENS
    tool = ToolSpec("look", "x" * 40, {"type": "object"})
    assert estimate([], "y" * 40, [tool]) == 10 + 4 + 1 + 10 + 5


@given(st.binary(min_size=10, max_size=20))
def test_ids_are_prefix_and_lower_case_base32(entropy: bytes) -> None:
    prefix, _, random = make_id("tc", entropy).partition("_")
    assert prefix == "tc"
    assert len(random) >= 16
    assert set(random) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_an_id_needs_entropy() -> None:
    with pytest.raises(ValueError, match="10"):
        make_id("tc", b"short")
