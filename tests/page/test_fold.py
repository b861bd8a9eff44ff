"""`fold` by itself: what a log of frames makes of the page's state."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.page.fake_api import FakeApi
from tests.page.fake_log import Step
from tests.page.steps import call, frame, result, text, widget

START = frame(
    "init", sessionId="s1", runId="r1", message={"id": "m1", "type": "user", "text": "Hi"}
)
DONE = frame("done", reason="model_stop", runId="r1", usage={}, cost={})
FOLD = """async ([frames, body]) => {
  const { emptyState, fold, fromLiveSession } = await import("/static/sessions_app/fold.js");
  const state = body ? fromLiveSession(body, frames) : frames.reduce(fold, emptyState());
  const { journal, ...shown } = state;
  return shown;
}"""


@pytest.fixture(scope="module")
def tab(server: FakeApi, browser: Browser) -> Any:
    server.reset()
    page = browser.new_page()
    page.goto(server.url)
    yield page
    page.close()


def number(steps: list[Step], first: int = 1) -> list[dict[str, Any]]:
    """Frames as the page gets them; a `skip` leaves numbers out."""
    frames, seq = [], first
    for kind, value in steps:
        if kind == "skip":
            seq += value
            continue
        frames.append({"seq": seq, "event": value[0], "data": value[1]})
        seq += 1
    return frames


def fold(tab: Page, frames: list[dict[str, Any]], body: Any = None) -> dict[str, Any]:
    state: dict[str, Any] = tab.evaluate(FOLD, [frames, body])
    return state


def outline(state: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (item["type"], item["text"], [call["status"] for call in item["toolCalls"]])
        for item in state["messages"]
    ]


def test_one_message_for_each_turn_of_the_model(tab: Page) -> None:
    turn = [text("a"), call("t1", "x"), call("t2", "y"), result("t2", "2"), result("t1", "1")]
    state = fold(tab, number([START, *turn, text("b"), text("c"), DONE]))
    assert outline(state) == [
        ("user", "Hi", []),
        ("assistant_text", "a", ["success", "success"]),
        ("assistant_text", "bc", []),
    ]
    assert [item["id"] for item in state["messages"]] == ["m1", "msg_r1_1", "msg_r1_2"]
    assert state["run"] is None and state["current"] is None and state["lastSeq"] == 9


def test_a_turn_of_tools_alone_is_a_message_too(tab: Page) -> None:
    steps = [START, call("t1", "x"), result("t1", "1"), call("t2", "x"), result("t2", "2"), DONE]
    assert outline(fold(tab, number(steps)))[1:] == [
        ("assistant_text", "", ["success"]),
        ("assistant_text", "", ["success"]),
    ]


def test_a_widget_stands_where_it_was_shown(tab: Page) -> None:
    table = widget("data-table", {"columns": ["A"], "rows": [["1"]]})
    state = fold(tab, number([START, text("before"), table, text("after"), DONE]))
    blocks = state["messages"][1]["blocks"]
    assert [block["type"] for block in blocks] == ["text", "widget", "text"]
    assert blocks[1]["widgetType"] == "data-table"
    assert state["messages"][1]["text"] == "beforeafter"


def test_a_frame_counts_once(tab: Page) -> None:
    frames = number([START, text("a"), text("b"), DONE])
    again = [*frames[:3], *frames[1:], *frames]
    assert fold(tab, again) == fold(tab, frames)


def test_a_joined_message_ends_the_turn_before_it(tab: Page) -> None:
    joined = frame("user_message", message={"id": "m2", "type": "user", "text": "also"})
    state = fold(tab, number([START, text("a"), joined, text("b"), DONE]))
    assert [item["text"] for item in state["messages"]] == ["Hi", "a", "also", "b"]


def test_a_lost_attempt_leaves_nothing_behind(tab: Page) -> None:
    lost = [text("lost"), call("t9", "x"), frame("confirmation_required", interactionId="i1")]
    resumed = frame("run_resumed", attempt=2, discardFrom=2)
    steps = [START, text("kept "), *lost, ("skip", 50), resumed, text("new"), DONE]
    state = fold(tab, number(steps))
    assert outline(state) == [("user", "Hi", []), ("assistant_text", "kept new", [])]
    assert state["interactions"] == [] and state["stale"] is False


def test_another_run_that_waits_outlives_a_lost_attempt(tab: Page) -> None:
    queued = frame(
        "init", runId="r2", queued=1, message={"id": "m2", "type": "user", "text": "Next"}
    )
    resumed = frame("run_resumed", attempt=2, discardFrom=1)
    state = fold(tab, number([START, text("lost"), queued, resumed, text("new")]))
    assert [item["text"] for item in state["messages"]] == ["Hi", "new", "Next"]
    assert state["messages"][2]["queued"] is True
    ended = fold(tab, number([START, text("lost"), queued, resumed, text("new"), DONE, text("2")]))
    assert [item["text"] for item in ended["messages"]] == ["Hi", "new", "Next", "2"]
    assert ended["run"]["id"] == "r2"


def test_frames_that_are_not_here_are_asked_for(tab: Page) -> None:
    state = fold(tab, number([frame("run_resumed", attempt=2, discardFrom=1)], first=7))
    assert state["stale"] is True


@pytest.mark.parametrize("reason", ["user_abort", "max_turns", "loop_detected", "budget_exceeded"])
def test_an_early_end_says_why(tab: Page, reason: str) -> None:
    end = frame("done", reason=reason, runId="r1", usage={}, cost={})
    state = fold(tab, number([START, call("t1", "x"), end]))
    note = state["messages"][-1]["blocks"][-1]
    assert note["type"] == "note"
    assert outline(state)[1][2] == ["error"]


def test_a_parked_response_keeps_its_question(tab: Page) -> None:
    ask = frame("confirmation_required", action="pay", interactionId="i1", call_id="t1")
    parked = {"seq": None, "event": "done", "data": {"reason": "awaiting_confirmation"}}
    frames = [*number([START, call("t1", "pay"), ask]), parked]
    state = fold(tab, frames)
    assert state["run"]["status"] == "waiting" and len(state["interactions"]) == 1
    answered = [*frames, *number([frame("approved", action="pay", interactionId="i1")], first=4)]
    state = fold(tab, answered)
    assert state["run"]["status"] == "running" and state["interactions"] == []


def test_money_is_unknown_once_a_price_is(tab: Page) -> None:
    def end(micros: int | None) -> Step:
        cost = {"currency": "USD", "estimatedCostMicros": micros}
        return frame("done", reason="model_stop", usage={"total_tokens": 10}, cost=cost)

    state = fold(tab, number([START, end(5), START, end(7)]))
    assert state["total"] == {"usage": {"total": 20}, "costMicros": 12}
    state = fold(tab, number([START, end(5), START, end(None)]))
    assert state["total"]["costMicros"] is None


@pytest.mark.parametrize("cut", range(1, 8))
def test_joining_in_the_middle_makes_the_same(tab: Page, cut: int) -> None:
    steps = [text("a"), call("t1", "x"), result("t1", "1"), text("b"), text("c"), DONE]
    frames = number([START, *steps], first=31)
    old = {"id": "m0", "type": "user", "role": "user", "text": "Earlier"}
    mine = {"id": "m1", "type": "user", "role": "user", "text": "Hi"}
    partial = {"id": "x", "type": "assistant_text", "text": "half"}
    body = {"id": "s1", "status": "running", "messages": [old, mine, partial]}
    whole = fold(tab, frames, body)
    joined = fold(tab, frames[:cut], body)
    assert [item["text"] for item in whole["messages"]] == ["Earlier", "Hi", "a", "bc"]
    assert joined["messages"][:2] == whole["messages"][:2]
    assert json.dumps(joined).count("half") == 0


def test_stored_work_of_sub_agents_stands_inside_its_call(tab: Page) -> None:
    deep = {"toolId": "t3", "toolName": "look", "status": "success", "result": "seen"}
    inner = {"agentId": "a2", "agentName": "porter", "toolCalls": [deep]}
    below = {"toolId": "t2", "toolName": "dispatch", "status": "error", "error": "lost"}
    outer = {"agentId": "a1", "agentName": "explore", "toolCalls": [{**below, "subagent": inner}]}
    stored = {"toolId": "t1", "toolName": "dispatch", "status": "success", "subagent": outer}
    message = {"id": "m2", "type": "assistant_text", "text": "", "toolCalls": [stored]}
    (item,) = fold(tab, [], {"id": "s1", "messages": [message]})["messages"]
    agents = item["toolCalls"][0]["agents"]
    assert [agent["name"] for agent in agents] == ["explore", "porter"]
    assert [agent["steps"][0]["result"] for agent in agents] == ["lost", "seen"]
