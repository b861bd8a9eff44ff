"""What a client folds from the events is what `GET /sessions/{id}` says, at any moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from agentsite.engine.transcript import Transcript, fold
from sessions_app.projection import read_log
from tests.server import Client, Frame, session_of

CUT = 50_000
WORDS = ("plain", "think", "count", "silent", "many", "shout", "broken", "refused", "cut")
WORDS += ("again", "loops", "stop", "pay yes", "pay no", "hang", "odd")


def talk(client: Client, word: str, session_id: str | None = None) -> list[Frame]:
    """One run to its end, playing the person's part where one is asked."""
    frames: list[Frame] = []
    with client.stream(word, sessionId=session_id) as incoming:
        for frame in incoming:
            frames.append(frame)
            if frame.event == "confirmation_required":
                assert_equal(client, session_of(frames))
                answer = {"sessionId": session_of(frames), "approved": word == "pay yes"}
                reply = client.ask("POST", "/ask-user-response", answer)
                assert reply.status == 200, reply.body
            if frame.event == "tool_log" and frame.data["message"] == "hanging":
                assert_equal(client, session_of(frames))
                path = f"/sessions/{session_of(frames)}/interrupt"
                assert client.ask("POST", path).status == 200
    assert frames[-1].event == "done"
    return frames


def assert_equal(client: Client, session_id: str) -> None:
    """The log up to `lastSeq`, folded, is the session as it was read."""
    detail = client.get(f"/sessions/{session_id}")
    entries = read_log(session_id, 0)
    seen = [entry for entry in entries if entry.seq <= detail["lastSeq"]]
    transcript = fold(seen)
    assert shorten(detail["messages"]) == transcript.messages
    assert detail["pendingInteractions"] == transcript.pending
    assert len({message["id"] for message in detail["messages"]}) == len(detail["messages"])


def shorten(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results cut where events cut them."""
    for message in messages:
        for call in message["toolCalls"]:
            for key in ("result", "error"):
                if call[key] is not None and len(call[key]) > CUT:
                    call[key] = call[key][:CUT] + "\n[... truncated]"
    return messages


@pytest.mark.parametrize("word", WORDS)
def test_of_one_run(client: Client, word: str) -> None:
    assert_equal(client, session_of(talk(client, word)))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(st.sampled_from(WORDS), min_size=2, max_size=4))
def test_of_a_conversation(client: Client, words: list[str]) -> None:
    session_id = None
    for word in words:
        session_id = session_of(talk(client, word, session_id))
        assert_equal(client, session_id)


def test_of_a_title(client: Client) -> None:
    session_id = session_of(client.say("plain"))
    client.events(session_id, until="title_changed")
    assert client.get(f"/sessions/{session_id}")["title"] == "A made title"
    assert fold(read_log(session_id, 0)).title == "A made title"


def test_of_every_prefix(client: Client) -> None:
    """A fold may stop anywhere and go on: nothing depends on what comes later."""
    entries = read_log(session_of(talk(client, "many")), 0)
    whole = Transcript()
    for entry in entries:
        whole.fold(entry)
        assert fold(entries[: entry.seq]).messages == whole.messages
