"""Sending and streaming, tool calls, stopping, errors, pictures, keys."""

from __future__ import annotations

import base64
import re

from playwright.sync_api import Page, expect

from tests.page.fake_api import FakeApi
from tests.page.steps import answers, call, field, frame, pause, result, say, text
from tests.requirements import requirement

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_an_answer_streams_and_is_counted(api: FakeApi, page: Page) -> None:
    usage = frame("context_usage", input_tokens=24_000, window=200_000, used_pct=12.0)
    api.scripts.append([text("Hello **wo"), usage, pause("rest"), text("rld**, done.")])
    page.goto(api.url)
    say(page, "Hi there")
    expect(answers(page)).to_have_text(re.compile(r"Hello \*\*wo"))
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    api.open_gate("rest")
    expect(page.locator("#transcript strong")).to_have_text("world")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#usage")).to_contain_text("Context 12% of 200,000")
    expect(page.locator("#usage")).to_contain_text("Answer 1,234 tokens, $0.0041")
    expect(page.get_by_role("status").get_by_text("Answer: Hello")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?session=sess_"))
    body = api.sent("POST", "/chat/stream")[0]
    assert body == {"message": "Hi there", "sessionId": None}


@requirement("ops.feedback")
def test_an_answer_is_rated_and_the_thumb_stays(api: FakeApi, page: Page) -> None:
    api.scripts.append([text("It was sent.")])
    page.goto(api.url)
    say(page, "Where is order 7?")
    good = answers(page).get_by_role("button", name="Good answer")
    bad = answers(page).get_by_role("button", name="Bad answer")
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    api.refuse("POST", "/api/feedback", 404, "message_not_found", "There is no such answer.")
    bad.click()
    expect(page.locator(".thumbs-said")).to_have_text("There is no such answer.")
    expect(good).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")
    page.get_by_label("What was wrong with this answer?").fill("It was not.")
    page.locator(".thumbs-said").get_by_role("button", name="Send").click()
    expect(page.locator(".thumbs-said")).to_have_text("Thank you.")
    first, _refused, last, why = api.sent("POST", "/api/feedback")
    assert (first["rating"], last["rating"]) == ("up", "down")
    assert why == {**last, "comment": "It was not."}
    session = api.sessions[why["sessionId"]]
    api.ratings = {message["id"]: "down" for message in session.messages}
    page.reload()
    expect(bad).to_have_attribute("aria-pressed", "true")


def test_tool_calls_fold_and_each_turn_is_a_message(api: FakeApi, page: Page) -> None:
    label = frame("tool_label_update", id="tc_1", running_label="Looking up order 7")
    log = frame("tool_log", tool_name="lookup", id="tc_1", message="asked the warehouse")
    api.scripts.append(
        [
            text("Let me look."),
            call("tc_1", "lookup", order=7),
            call("tc_2", "refund", amount="9"),
            label,
            log,
            pause("tool"),
            result("tc_1", '{"state": "sent"}'),
            result("tc_2", "no such order", status="error", error="no such order"),
            text("It was sent."),
        ]
    )
    page.goto(api.url)
    say(page, "Where is order 7?")
    first = page.locator("details.tool").first
    expect(first).to_have_attribute("data-status", "running")
    expect(first).to_contain_text("Looking up order 7")
    api.open_gate("tool")
    expect(first).to_have_attribute("data-status", "success")
    expect(first.locator(".tool-time")).to_have_text("1.2 s")
    expect(answers(page)).to_have_count(2)
    first.locator("summary").click()
    expect(first.locator(".tool-body")).to_contain_text("asked the warehouse")
    expect(first.locator("pre")).to_contain_text('"state": "sent"')
    second = page.locator("details.tool").nth(1)
    expect(second).to_have_attribute("data-status", "error")
    second.locator("summary").press("Enter")
    expect(second.locator(".tool-body")).to_contain_text("no such order")


def test_sub_agents_report_inside_their_call(api: FakeApi, page: Page) -> None:
    def child(**event: object) -> tuple[str, object]:
        more = {"agentId": "agent_1", "agent_name": "Analyst", "parent_tool_id": "tc_1"}
        return frame("subagent_event", **more, event=event)

    api.scripts.append(
        [
            call("tc_1", "dispatch", task="sum"),
            child(type="tool_call_start", name="request", id="s1"),
            child(type="tool_call_result", id="s1", result="[200 OK] 847 charges"),
            child(type="text_delta", delta="The top "),
            child(type="text_delta", delta="five."),
            pause("child"),
            result("tc_1", "done"),
            text("Here."),
        ]
    )
    page.goto(api.url)
    say(page, "Go")
    steps = page.locator("details.tool .steps li")
    expect(steps).to_have_count(2)
    expect(steps.nth(0)).to_contain_text("Request done [200 OK] 847 charges")
    expect(steps.nth(1)).to_have_text("The top five.")
    api.open_gate("child")
    expect(page.locator("details.tool")).not_to_have_attribute("open", "")


def test_escape_stops_the_run(api: FakeApi, page: Page) -> None:
    api.scripts.append([text("Counting: 1, 2"), pause("never")])
    page.goto(api.url)
    say(page, "Count")
    expect(answers(page)).to_contain_text("1, 2")
    field(page).fill("too early")
    page.keyboard.press("Enter")
    expect(page.locator("#composer-hint")).to_contain_text("Wait for the answer")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    expect(field(page)).to_have_value("too early")
    session = next(iter(api.sessions))
    assert api.sent("POST", f"/sessions/{session}/interrupt") == [{}]


def test_an_error_names_its_code_and_can_be_tried_again(api: FakeApi, page: Page) -> None:
    api.scripts.append(
        [frame("error", message="The model is busy.", code="overloaded", retryable=True)]
    )
    api.scripts.append([text("Better now.")])
    page.goto(api.url)
    say(page, "Try me")
    failed = page.get_by_role("group", name="Error")
    expect(failed).to_contain_text("The model is busy.")
    expect(failed).to_contain_text("Code: overloaded")
    failed.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_have_text(re.compile("Better now."))
    assert [body["message"] for body in api.sent("POST", "/chat/stream")] == ["Try me", "Try me"]


def test_a_refused_message_is_not_lost(api: FakeApi, page: Page) -> None:
    api.refuse("POST", "/chat/stream", 413, "body_too_large", "The message is too large.")
    page.goto(api.url)
    say(page, "My long story")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The message is too large.")
    expect(alert).to_contain_text("body_too_large")
    alert.get_by_role("button", name="Edit").click()
    expect(field(page)).to_have_value("My long story")
    expect(alert).to_be_hidden()


def test_pictures_go_along(api: FakeApi, page: Page) -> None:
    api.scripts.append([text("A dot.")])
    page.goto(api.url)
    pictures = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": DOT} for n in range(6)]
    page.locator("#files").set_input_files(pictures)
    expect(page.locator("#previews li")).to_have_count(5)
    expect(page.locator("#composer-hint")).to_contain_text("At most 5 images")
    page.get_by_role("button", name="Remove 4.png").click()
    other = {"name": "a.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"}
    page.locator("#files").set_input_files([other])
    expect(page.locator("#composer-hint")).to_contain_text("a.svg is no PNG")
    say(page, "What is this?")
    expect(answers(page)).to_contain_text("A dot.")
    expect(page.locator('[data-type="user"] img.picture')).to_have_count(4)
    images = api.sent("POST", "/chat/stream")[0]["images"]
    assert images == [{"mimeType": "image/png", "data": base64.b64encode(DOT).decode()}] * 4


def test_a_pasted_picture_is_taken(api: FakeApi, page: Page) -> None:
    page.goto(api.url)
    page.evaluate(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "shot.png", { type: "image/png" }));
          const paste = new ClipboardEvent("paste", { clipboardData, cancelable: true });
          document.getElementById("message").dispatchEvent(paste);
        }""",
        base64.b64encode(DOT).decode(),
    )
    expect(page.get_by_role("img", name="shot.png")).to_be_visible()


def test_shift_enter_breaks_the_line(api: FakeApi, page: Page) -> None:
    page.goto(api.url)
    field(page).press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    field(page).press_sequentially("two")
    expect(field(page)).to_have_value("one\ntwo")
    page.keyboard.press("Enter")
    expect(page.locator('[data-type="user"] .plain-text')).to_have_text("one\ntwo")


def test_notes_of_the_run_are_shown(api: FakeApi, page: Page) -> None:
    summary = {"id": "msg_s", "type": "summary", "role": "system", "text": "They spoke of orders."}
    sizes = {"tokens_before": 90_000, "tokens_after": 20_000, "compaction_tokens": 900}
    switched = {"from": "anthropic/a", "to": "openai/b", "reason": "overloaded"}
    api.scripts.append(
        [
            frame("compaction_start", estimated_tokens=90_000, threshold=80_000),
            frame("compaction_end", **sizes, message=summary),
            frame("provider_switched", **switched),
            frame("skill_activated", skill="refunds", skill_name="refunds"),
            frame("thinking_delta", delta="They want a refund."),
            text("Done."),
            frame("notice", message="The same call ran 8 times.", level="warning"),
        ]
    )
    page.goto(api.url)
    say(page, "Go on")
    expect(
        page.get_by_text("Answered by openai/b instead of anthropic/a (overloaded)")
    ).to_be_visible()
    expect(page.get_by_text("Skill in use: refunds")).to_be_visible()
    expect(page.get_by_text("(90,000 → 20,000 tokens)")).to_be_visible()
    expect(page.locator('.note[data-level="warning"]')).to_have_text("The same call ran 8 times.")
    page.get_by_text("Reasoning").click()
    expect(page.get_by_text("They want a refund.")).to_be_visible()
