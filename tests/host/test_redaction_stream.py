"""A secret that a stream cuts in pieces does not leave either, and nothing else waits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from agentsite.engine.assemble import Assembly
from agentsite.engine.deltas import (
    Delta,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
)
from agentsite.engine.redaction import REDACTED, Redactor
from agentsite.host.redaction_stream import AnswerCleaner, TextCleaner

SECRETS = ("sk-live-abcabcd", "abcabcabcx", "sk-live-abcabcd-and-longer")
REDACTOR = Redactor(SECRETS)
PIECES = st.lists(st.sampled_from([*"abcxs-k ", *SECRETS, "sk-live-", "abcabc"]), max_size=12)


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(marks)]


@given(PIECES, st.lists(st.integers(0, 200), max_size=30))
def test_no_cut_lets_a_secret_out(pieces: list[str], places: list[int]) -> None:
    text = "".join(pieces)
    cleaner = TextCleaner(REDACTOR)
    out = [cleaner.push(piece) for piece in cut(text, places)]
    told = "".join(out) + cleaner.end()
    assert not any(secret in told for secret in SECRETS)
    whole = REDACTOR.text(text)
    if not REDACTOR.begins_secret(whole[REDACTOR.find_safe_end(whole) :]):
        assert told == whole


@given(PIECES)
def test_what_passes_at_once_is_whole_and_clean(pieces: list[str]) -> None:
    text = "".join(pieces)
    if REDACTOR.is_innocent(text):
        assert REDACTOR.find_safe_end(text) == len(text)
        assert REDACTOR.text(text) == text


def test_ordinary_text_passes_at_once_and_the_begin_of_a_secret_does_not() -> None:
    assert REDACTOR.is_innocent("Hello there, my friend")
    assert not REDACTOR.is_innocent("it is s")
    assert not REDACTOR.is_innocent("sk-live-abcabcd stands here.")


def test_ordinary_text_does_not_wait() -> None:
    cleaner = TextCleaner(REDACTOR)
    assert [cleaner.push(piece) for piece in ("Hello", " there, ", "my friend")] == [
        "Hello",
        " there, ",
        "my friend",
    ]
    assert cleaner.end() == ""


def test_most_of_a_secret_at_the_end_counts_as_all() -> None:
    cleaner = TextCleaner(REDACTOR)
    assert cleaner.push("the key is sk-live-abcabc") == "the key is "
    assert cleaner.end() == REDACTED
    assert cleaner.push("it is s") == "it is "
    assert cleaner.end() == "s"


def test_blocks_keep_their_order() -> None:
    cleaner = AnswerCleaner(REDACTOR)
    batch: tuple[Delta, ...] = (
        ThinkingDelta("hm sk"),
        ThinkingDelta("-live-abcabcd", {"signature": "x"}),
        TextDelta("say s"),
        ToolCallStarted("1", "tool"),
        ToolCallArgs("1", "{}"),
        TextDelta("abcabc"),
    )
    assembly = Assembly()
    assembly.feed(cleaner.clean(batch))
    assembly.feed(cleaner.end())
    message = assembly.message(lambda: "tc_1", "fake")
    kinds = [type(part).__name__ for part in message.parts]
    assert kinds == ["ThinkingPart", "TextPart", "ToolCallPart", "TextPart"]
    assert message.parts[0].text == f"hm {REDACTED}"  # type: ignore[union-attr]
    assert message.text.startswith("say s")
