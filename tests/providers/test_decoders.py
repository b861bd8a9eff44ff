"""Decoders give the same deltas however the network cuts the bytes (pure, no server)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from agentsite.engine.deltas import Delta, Stopped, TextDelta
from agentsite.fakemodel import anthropic, google, openai_chat, openai_responses
from agentsite.fakemodel.frames import Wire
from agentsite.fakemodel.plan import Plan, find_plan
from agentsite.providers.anthropic_stream import AnthropicDecoder
from agentsite.providers.base import ProviderError
from agentsite.providers.google_stream import GoogleDecoder
from agentsite.providers.openai_chat import ChatDecoder
from agentsite.providers.openai_responses import ResponsesDecoder
from agentsite.providers.wire import Decoder

WIRES: list[tuple[Wire, type[Decoder]]] = [
    (anthropic.WIRE, AnthropicDecoder),
    (openai_chat.WIRE, ChatDecoder),
    (openai_responses.WIRE, ResponsesDecoder),
    (google.WIRE, GoogleDecoder),
]
PLAN = find_plan(
    "@@fake "
    + json.dumps(
        {
            "text": "Grüße, 世界! \u2028 Done.",
            "thinking": "Let me see… 思考",
            "tools": [
                {"name": "look", "arguments": {"q": 'ä\n\n"data: x"'}},
                {"name": "wait", "arguments": {}},
            ],
            "chars": 5,
        }
    )
    + "@@",
    0,
    "m",
)


def write(wire: Wire, plan: Plan = PLAN) -> bytes:
    frames = wire.build(plan, "m", 400)
    return frames.opening + b"".join(frames.deltas) + frames.closing


def decode(kind: type[Decoder], pieces: Iterable[bytes]) -> list[Delta]:
    decoder = kind("p", "m")
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += decoder.feed(piece)
    if not decoder.stopped:
        deltas += decoder.finish()
    return deltas


@pytest.mark.parametrize(("wire", "kind"), WIRES, ids=[w.vendor for w, _ in WIRES])
class TestEveryWire:
    def test_a_cut_at_every_position_changes_nothing(self, wire: Wire, kind: type[Decoder]) -> None:
        stream = write(wire)
        whole = decode(kind, [stream])
        assert isinstance(whole[-1], Stopped)
        for at in range(len(stream)):
            assert decode(kind, [stream[:at], stream[at:]]) == whole

    @given(cuts=st.sets(st.integers(0, 6000), max_size=40))
    def test_any_set_of_cuts_changes_nothing(
        self, wire: Wire, kind: type[Decoder], cuts: set[int]
    ) -> None:
        stream = write(wire)
        edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
        pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
        assert decode(kind, pieces) == decode(kind, [stream])

    def test_a_stream_that_ends_early_is_cut_wherever_it_ends(
        self, wire: Wire, kind: type[Decoder]
    ) -> None:
        """A prefix never passes for a whole answer, unless only its formal end is missing."""
        stream = write(wire, Plan(deltas=3))
        whole = decode(kind, [stream])
        for at in range(0, len(stream), 7):
            try:
                deltas = decode(kind, [stream[:at]])
            except ProviderError as error:
                assert error.kind == "server"
            else:
                texts = [d for d in deltas if isinstance(d, TextDelta)]
                if any(isinstance(delta, Stopped) for delta in deltas):
                    assert texts == [d for d in whole if isinstance(d, TextDelta)]

    def test_what_came_before_a_failure_is_handed_out_first(
        self, wire: Wire, kind: type[Decoder]
    ) -> None:
        frames = wire.build(Plan(deltas=2), "m", 40)
        decoder = kind("p", "m")
        batch = decoder.feed(frames.opening + b"".join(frames.deltas) + b"data: {not json\n\n")
        assert sum(isinstance(delta, TextDelta) for delta in batch) == 2
        with pytest.raises(ProviderError, match="not valid JSON"):
            decoder.raise_pending()


def test_google_reports_an_error_that_comes_as_plain_json() -> None:
    decoder = GoogleDecoder("google", "m")
    decoder.feed(b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n')
    decoder.feed(b'{\n "error": {\n  "code": 503,\n  "message": "busy",\n')
    decoder.feed(b'  "status": "UNAVAILABLE"\n }\n}\n')
    with pytest.raises(ProviderError, match="busy") as caught:
        decoder.finish()
    assert (caught.value.kind, caught.value.status) == ("server", 503)


def test_chat_tells_parallel_calls_of_one_index_apart_by_their_ids() -> None:
    chunks = b""
    for name in ("a", "b"):
        call = {"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}}
        chunk = {"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "stop"}]}
        chunks += b"data: " + json.dumps(chunk).encode() + b"\n\n"
    deltas = decode(ChatDecoder, [chunks])
    assert [d.name for d in deltas if hasattr(d, "name")] == ["a", "b"]
    assert deltas[-1] == Stopped("tool_calls")


def test_chat_counts_reasoning_once_whether_it_is_within_the_completion_or_beside_it() -> None:
    from agentsite.providers.openai_chat import _CompletionDetails, _Usage, count

    details = _CompletionDetails(reasoning_tokens=30)
    within = _Usage(10, 50, 60, completion_tokens_details=details)
    beside = _Usage(10, 20, 60, completion_tokens_details=details)
    assert (count(within).output, count(within).reasoning) == (20, 30)
    assert count(within) == count(beside)
