"""The list of sessions, the narrow screen, themes and keys."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.page.fake_api import FakeApi
from tests.page.steps import answers, field, say, text


def test_sessions_are_listed_searched_and_opened(api: FakeApi, page: Page) -> None:
    for name in ("Refund for Globex", "Shipping", "Invoices", "Passwords"):
        api.session([{"id": "m1", "type": "user", "text": f"About {name}"}], title=name)
    page.goto(api.url)
    listed = page.locator("#sessions .session")
    expect(listed).to_have_count(3)
    page.get_by_role("button", name="Show more").click()
    expect(listed).to_have_count(4)
    page.get_by_label("Search conversations").fill("ship")
    expect(listed).to_have_count(1)
    page.get_by_role("link", name="Shipping").click()
    expect(page.get_by_text("About Shipping")).to_be_visible()
    expect(page.get_by_role("link", name="Shipping")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()
    page.get_by_label("Search conversations").fill("nothing like it")
    expect(page.get_by_text("Nothing found.")).to_be_visible()


def test_a_session_is_renamed_and_deleted(api: FakeApi, page: Page) -> None:
    session = api.session([{"id": "m1", "type": "user", "text": "Hello"}], title="Old")
    page.goto(f"{api.url}?session={session.id}")
    expect(page.get_by_role("heading", name="Old", exact=True)).to_be_visible()
    page.get_by_role("link", name="Old", exact=True).hover()
    page.get_by_role("button", name="Rename Old").click()
    page.get_by_label("Title").fill("New")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="New", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="New", exact=True)).to_be_visible()
    assert api.sent("PATCH", f"/sessions/{session.id}") == [{"title": "New"}]
    page.get_by_role("button", name="Delete New").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Delete New").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No sessions yet.")).to_be_visible()
    expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()
    assert session.id not in api.sessions


def test_a_new_chat_leaves_the_old_one_alone(api: FakeApi, page: Page) -> None:
    api.scripts += [[text("First answer.")], [text("Second answer.")]]
    page.goto(api.url)
    say(page, "First")
    expect(answers(page)).to_contain_text("First answer.")
    expect(page.locator("#sessions .session")).to_have_count(1)
    page.get_by_role("button", name="New chat").click()
    expect(answers(page)).to_have_count(0)
    expect(field(page)).to_be_focused()
    say(page, "Second")
    expect(answers(page)).to_contain_text("Second answer.")
    expect(page.locator("#sessions .session")).to_have_count(2)
    assert [body["sessionId"] for body in api.sent("POST", "/chat/stream")] == [None, None]


def test_on_a_phone_the_list_is_a_drawer(api: FakeApi, page: Page) -> None:
    wide = "word" * 60
    session = api.session(
        [{"id": "m1", "type": "assistant_text", "text": f"{wide}\n\n|a|b|\n|-|-|\n|{wide}|c|"}],
        title="A conversation with quite a long title",
    )
    page.set_viewport_size({"width": 375, "height": 700})
    page.goto(f"{api.url}?session={session.id}")
    expect(answers(page)).to_be_visible()
    sidebar = page.get_by_role("navigation", name="Conversations")
    expect(sidebar).to_be_hidden()
    opener = page.get_by_role("button", name="Conversations")
    opener.click()
    expect(sidebar).to_be_visible()
    expect(opener).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    expect(opener).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.evaluate("document.getElementById('scroller').scrollWidth") == 375


def test_the_theme_follows_the_system_until_chosen(api: FakeApi, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(api.url)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    toggle = page.get_by_role("button", name="Dark theme")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(paper) == light
    page.evaluate("localStorage.clear()")


def test_the_keyboard_reaches_the_field(api: FakeApi, page: Page) -> None:
    page.goto(api.url)
    expect(field(page)).to_be_focused()
    page.get_by_role("button", name="New chat").focus()
    page.get_by_role("link", name="Skip to the message field").press("Enter")
    expect(field(page)).to_be_focused()
    expect(page).to_have_title(re.compile("New conversation"))


def test_everything_has_a_name(api: FakeApi, page: Page) -> None:
    api.scripts.append([text("`code`\n\n```\nx\n```")])
    page.goto(api.url)
    say(page, "Hi")
    expect(answers(page)).to_be_visible()
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input:not([hidden]), textarea, a")]
          .filter((node) => !(node.ariaLabel || node.textContent.trim() || node.labels?.length))
          .map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_the_list_follows_what_happens_elsewhere(api: FakeApi, page: Page) -> None:
    session = api.session(title="Refund")
    page.goto(api.url)
    listed = page.locator("#sessions .session")
    expect(listed).to_have_count(1)
    api.tell("session_updated", sessionId=session.id, status="waiting")
    expect(listed.locator(".dot[data-status=waiting]")).to_have_count(1)
    api.tell("session_updated", sessionId=session.id, title="Refund for Globex", status="active")
    expect(page.get_by_role("link", name="Refund for Globex", exact=True)).to_be_visible()
    other = api.session(title="From another tab")
    api.tell("session_created", sessionId=other.id)
    expect(listed).to_have_count(2)
    api.cut_streams()
    api.tell("session_deleted", sessionId=session.id)
    expect(listed).to_have_count(1)
    expect(page.get_by_role("link", name="From another tab")).to_be_visible()
