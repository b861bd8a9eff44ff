"""The splitter does not depend on where bytes are cut, and reads what servers really send."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies as st

from agentsite.providers.sse import SseSplitter

STREAM = (
    b": a comment\n\n"
    b'event: one\ndata: {"a": 1}\n\n'
    b'data:{"b":2}\nid: 7\n\n'
    b"data: first\ndata: second\n\n"
    b"event: no data\n\n"
    b"data: data: twice\n\n"
    b"data: [DONE]\n\n"
)
PAYLOADS = [b'{"a": 1}', b'{"b":2}', b"first\nsecond", b"data: twice", b"[DONE]"]


def feed_all(pieces: list[bytes]) -> list[bytes]:
    splitter = SseSplitter()
    found = [payload for piece in pieces for payload in splitter.feed(piece)]
    return found + splitter.finish()


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.sets(st.integers(0, len(STREAM) * 2)))
def test_payloads_do_not_depend_on_the_cuts(end: bytes, cuts: set[int]) -> None:
    stream = STREAM.replace(b"\n", end)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert feed_all(pieces) == PAYLOADS


def test_a_stream_cut_at_every_position_gives_the_same() -> None:
    for end in (b"\n", b"\r\n"):
        stream = STREAM.replace(b"\n", end)
        for at in range(len(stream)):
            assert feed_all([stream[:at], stream[at:]]) == PAYLOADS


def test_the_last_event_needs_no_blank_line_at_the_end_of_the_stream() -> None:
    assert feed_all([b"data: 1\n\ndata: 2"]) == [b"1", b"2"]


def test_an_event_is_handed_out_as_soon_as_it_is_complete() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2") == [b"1"]
    assert splitter.rest == b"data: 2"
    assert splitter.feed(b"\r\n\r\n") == [b"2"]
