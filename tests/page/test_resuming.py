"""Reloads, lost connections, lost attempts: the log decides, the page only shows it."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.page.fake_api import FakeApi
from tests.page.steps import answers, call, frame, pause, result, say, text

WATCH_FOR_LOSS = """() => {
  window.lost = false;
  new MutationObserver(() => {
    window.lost ||= document.body.textContent.includes("Connection lost");
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def test_a_reload_in_the_middle_loses_nothing(api: FakeApi, page: Page) -> None:
    steps = [
        text("One, "),
        call("tc_1", "count"),
        pause("reload"),
        result("tc_1", "3"),
        text("three."),
    ]
    api.scripts.append(steps)
    page.goto(api.url)
    say(page, "Count")
    expect(page.locator("details.tool")).to_be_visible()
    page.reload()
    expect(page.locator('details.tool[data-status="running"]')).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    api.open_gate("reload")
    expect(answers(page)).to_have_count(2)
    expect(answers(page).nth(0)).to_contain_text("One,")
    expect(answers(page).nth(1)).to_contain_text("three.")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator('[data-type="user"]')).to_have_count(1)
    paths = [path for _, path, _, _ in api.requests]
    assert not any(path.endswith("/interrupt") for path in paths)


def test_a_lost_connection_is_repaired_silently(api: FakeApi, page: Page) -> None:
    api.scripts.append(
        [text("Before, "), pause("cut"), text("after, "), pause("again"), text("end.")]
    )
    page.goto(api.url)
    say(page, "Go")
    expect(answers(page)).to_contain_text("Before,")
    api.cut_streams()
    api.open_gate("cut")
    expect(answers(page)).to_contain_text("Before, after,")
    api.cut_streams()
    api.open_gate("again")
    expect(answers(page)).to_have_text(re.compile(r"^Assistant\s*Before, after, end\."))
    expect(page.get_by_role("group", name="Error")).to_have_count(0)
    session = next(iter(api.sessions))
    assert len(api.sent("POST", "/chat/stream")) == 1
    seen = [head["Last-Event-ID"] for head in api.headers("GET", f"/sessions/{session}/events")]
    assert seen[0] == "2"


def test_a_silent_stream_that_ends_in_time_is_taken_up_without_a_word(
    api: FakeApi, page: Page
) -> None:
    api.scripts.append([text("Before, "), pause("late"), text("after.")])
    page.clock.install()
    page.goto(api.url)
    say(page, "Go")
    expect(answers(page)).to_contain_text("Before,")
    page.evaluate(WATCH_FOR_LOSS)
    path = f"/sessions/{next(iter(api.sessions))}/events"
    for _ in range(3):
        page.clock.fast_forward(31_000)  # below the silence that would end it by itself
        with page.expect_response(lambda answer: answer.url.split("?")[0].endswith(path)):
            api.cut_streams()
    api.open_gate("late")
    expect(answers(page)).to_have_text(re.compile(r"^Assistant\s*Before, after\."))
    assert page.evaluate("window.lost") is False


def test_a_server_that_is_away_is_waited_for(api: FakeApi, page: Page) -> None:
    for _ in range(2):
        api.refuse("POST", "/chat/stream", 503, "starting", "The server is starting.")
    api.scripts.append([text("Here I am.")])
    page.goto(api.url)
    say(page, "Hello?")
    expect(answers(page)).to_contain_text("Here I am.")
    keys = {head["Idempotency-Key"] for head in api.headers("POST", "/chat/stream")}
    assert len(keys) == 1


def test_a_new_attempt_discards_the_lost_one(api: FakeApi, page: Page) -> None:
    api.scripts.append(
        [
            text("Kept. "),  # seq 2
            text("Lost words. "),
            call("tc_lost", "lost"),
            pause("crash"),
            ("skip", 20),
            frame("run_resumed", attempt=2, discardFrom=2),
            text("Said again."),
        ]
    )
    page.goto(api.url)
    say(page, "Go")
    expect(page.locator("details.tool")).to_be_visible()
    expect(answers(page)).to_contain_text("Lost words.")
    api.open_gate("crash")
    expect(answers(page)).to_have_text(re.compile(r"^Assistant\s*Kept\. Said again\."))
    expect(page.locator("details.tool")).to_have_count(0)


def test_a_rolled_back_message_disappears(api: FakeApi, page: Page) -> None:
    session = api.session([{"id": "m1", "type": "user", "text": "First"}], title="Rollback")
    page.goto(f"{api.url}?session={session.id}")
    expect(page.get_by_text("First")).to_be_visible()
    api.emit(session, "messages_removed", runId="run_x", messageIds=["m1"])
    expect(page.get_by_text("First")).to_have_count(0)


def test_what_happens_elsewhere_arrives(api: FakeApi, page: Page) -> None:
    session = api.session(title="Old title")
    page.goto(f"{api.url}?session={session.id}")
    expect(page.get_by_role("heading", name="Old title")).to_be_visible()
    api.emit(session, "title_changed", title="A better title")
    expect(page.get_by_role("heading", name="A better title")).to_be_visible()
    expect(page.locator("#sessions")).to_contain_text("A better title")
    message = {"id": "m9", "type": "user", "text": "From another tab"}
    api.emit(session, "init", sessionId=session.id, runId="run_1", message=message)
    api.emit(session, "text_delta", delta="Answered there.")
    expect(page.get_by_text("From another tab")).to_be_visible()
    expect(answers(page)).to_contain_text("Answered there.")


def test_a_closed_tab_stops_nothing(api: FakeApi, page: Page, context: BrowserContext) -> None:
    api.scripts.append([text("Still "), pause("closed"), text("here.")])
    page.goto(api.url)
    say(page, "Stay")
    expect(answers(page)).to_contain_text("Still")
    address = page.url
    page.close()
    api.open_gate("closed")
    later = context.new_page()
    later.goto(address)
    expect(answers(later)).to_contain_text("Still here.")
    later.close()


def test_an_unknown_session_is_said_to_be_unknown(api: FakeApi, page: Page) -> None:
    page.goto(f"{api.url}?session=sess_nobody")
    expect(page.locator("#banner")).to_contain_text("does not exist, or it is not yours")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#banner")).to_be_empty()
    expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()
