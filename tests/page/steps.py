"""What scripts and tests of the page are written in."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page

from tests.page.fake_log import Step


def frame(event: str, /, **data: Any) -> Step:
    return ("frame", (event, data))


def text(delta: str) -> Step:
    return frame("text_delta", delta=delta, content=delta)


def pause(gate: str) -> Step:
    return ("pause", gate)


def call(id: str, name: str, /, **args: Any) -> Step:
    both = {"id": id, "tool_id": id, "name": name, "tool_name": name}
    return frame("tool_call_start", **both, args=args, parameters=args)


def result(id: str, value: str, status: str = "success", **more: Any) -> Step:
    both = {"id": id, "tool_id": id, "status": status, "result": value, "duration_ms": 1234}
    return frame("tool_call_result", **both, **more)


def widget(type: str, data: Any) -> Step:
    return frame("widget", type=type, widget_type=type, data=data)


def field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def say(page: Page, words: str) -> None:
    field(page).fill(words)
    field(page).press("Enter")


def answers(page: Page) -> Locator:
    return page.locator('#transcript > [data-type="assistant_text"]')
