"""Confirmations, questions and choices, also after a reload."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.page.fake_api import FakeApi
from tests.page.steps import answers, call, field, frame, pause, result, say, text

CONFIRM = {
    "action": "refund",
    "interactionId": "int_1",
    "correlation_id": "int_1",
    "details": {"amount": "$90", "customer": "Acme"},
    "method": "POST",
    "endpoint": "/refunds",
    "connection_name": "stripe",
    "params": {"charge": "ch_1"},
    "reason": "Above the limit",
    "escalated": True,
}


def test_an_action_is_approved(api: FakeApi, page: Page) -> None:
    steps = [call("tc_1", "refund"), frame("confirmation_required", **CONFIRM), pause("answer")]
    api.scripts.append([*steps, result("tc_1", "ok"), text("Refunded.")])
    page.goto(api.url)
    say(page, "Refund it")
    card = page.get_by_role("group", name="Allow “Refund”?")
    for words in (
        "POST /refunds",
        "stripe",
        "$90",
        "Acme",
        "ch_1",
        "Above the limit",
        "closer look",
    ):
        expect(card).to_contain_text(words)
    field(page).fill("words instead")
    page.keyboard.press("Enter")
    expect(page.locator("#composer-hint")).not_to_be_empty()
    card.get_by_label("Comment (optional)").fill("fine")
    card.get_by_role("button", name="Approve").click()
    expect(answers(page).last).to_contain_text("Refunded.")
    expect(card).to_have_count(0)
    expect(page.get_by_text("Approved: refund")).to_be_visible()
    session = next(iter(api.sessions))
    sent = {"sessionId": session, "interactionId": "int_1", "approved": True, "comment": "fine"}
    assert api.sent("POST", "/ask-user-response") == [sent]


def test_an_open_question_survives_a_reload(api: FakeApi, page: Page) -> None:
    steps = [call("tc_1", "refund"), frame("confirmation_required", **CONFIRM), pause("answer")]
    api.scripts.append([*steps, result("tc_1", "denied", status="error"), text("Left alone.")])
    page.goto(api.url)
    say(page, "Refund it")
    expect(page.get_by_role("button", name="Deny")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Deny").click()
    expect(answers(page).last).to_contain_text("Left alone.")
    page.reload()
    expect(answers(page).last).to_contain_text("Left alone.")
    expect(page.get_by_role("button", name="Deny")).to_have_count(0)


def test_stored_questions_are_shown_and_refusals_explained(api: FakeApi, page: Page) -> None:
    session = api.session([{"id": "m1", "type": "user", "text": "Refund it"}])
    session.pending = [{"kind": "confirmation", **CONFIRM}]
    api.refuse("POST", "/ask-user-response", 410, "interaction_expired", "Expired.")
    page.goto(f"{api.url}?session={session.id}")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("The time to answer this question has run out.")).to_be_visible()


def test_choices_and_questions_are_answered(api: FakeApi, page: Page) -> None:
    options = [
        {"label": "Red", "value": "r"},
        {"label": "Blue", "value": "b", "description": "calm"},
    ]
    asked = {"ask_id": "int_2", "interactionId": "int_2", "question": "Which?", "options": options}
    questions = [
        {"header": "size", "question": "Which size?", "type": "choice", "options": ["S", "L"]},
        {"header": "why", "question": "Why?", "type": "text", "placeholder": "because"},
    ]
    more = {"ask_id": "int_3", "interactionId": "int_3", "questions": questions}
    api.scripts.append(
        [
            call("tc_1", "ask_choice"),
            frame("ask_choice", **asked, multi=False, call_id="tc_1"),
            pause("answer"),
            result("tc_1", "b"),
            call("tc_2", "ask_user"),
            frame("ask_user", **more, call_id="tc_2"),
            pause("second"),
            result("tc_2", "L"),
            text("Noted."),
        ]
    )
    page.goto(api.url)
    say(page, "Ask me")
    page.get_by_role("button", name="Blue calm").click()
    page.get_by_role("radio", name="L").check()
    page.get_by_role("textbox", name="Why?").fill("it fits")
    page.get_by_role("button", name="Send answer").click()
    expect(page.get_by_text("Answer sent.")).to_be_visible()
    api.open_gate("second")
    expect(answers(page).last).to_contain_text("Noted.")
    sent = [body["answers"] for body in api.sent("POST", "/ask-user-response")]
    assert sent == [{"answer": "b"}, {"Which size?": "L", "Why?": "it fits"}]
