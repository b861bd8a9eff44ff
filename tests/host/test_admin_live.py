"""An admin page in a real browser that follows what happens."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import async_playwright, expect

from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client

PASSWORD = "admin-live-0123"
IS_FOLLOWING = re.compile(r"/admin/events(\?|$)")


def make_staff(lab: Lab) -> None:
    from django.contrib.auth.hashers import make_password

    lab.change(
        "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, email,"
        " first_name, last_name, date_joined) VALUES ('watcher', %s, true, true, true, '', '',"
        " '', now()) ON CONFLICT DO NOTHING",
        make_password(PASSWORD),
    )


@requirement("scope.bus")
async def test_lists_and_pages_of_the_admin_follow_the_bus(client: Client, lab: Lab) -> None:
    await asyncio.to_thread(make_staff, lab)
    first = await client.talk("Hello", scope_id="admin-live")
    async with browser_at(client, "/admin/sessions_app/session/") as page:
        await page.evaluate(MARK)
        second = await client.talk("Hello again", scope_id="admin-live")
        quoted = second.session_id.replace("_", "_5F")
        listed = page.locator(f"#result_list a[href*='{quoted}']")
        await expect(listed.first).to_be_visible(timeout=10_000)
        third = await client.talk("And again", scope_id="admin-live")
        quoted = third.session_id.replace("_", "_5F")
        listed = page.locator(f"#result_list a[href*='{quoted}']")
        await expect(listed.first).to_be_visible(timeout=10_000)
        assert await page.evaluate(IS_MARKED), "the page was loaded anew"
        quoted = first.session_id.replace("_", "_5F")
        address = f"{client.url}/admin/sessions_app/session/{quoted}/change/"
        async with page.expect_response(IS_FOLLOWING):
            await page.goto(address)
        await client.talk("More", first.session_id, scope_id="admin-live")
        await expect(page.locator("#ag-changed")).to_be_visible(timeout=10_000)


MARK = "() => { window.kept = 1; }"
IS_MARKED = "() => window.kept === 1"
"""What a page that is loaded anew forgets."""
HIDDEN = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""As a browser does when a tab goes to the back or comes to the front."""


@requirement("scope.bus")
async def test_a_tab_that_was_hidden_catches_up_and_lists_hear_of_all_kinds(
    client: Client, lab: Lab
) -> None:
    await asyncio.to_thread(make_staff, lab)
    known, missed, heard = (f"Nobody knows {uuid.uuid4().hex[:8]}" for _ in range(3))
    lab.change(ALERT, known, known)  # an empty list is loaded anew
    async with browser_at(client, "/admin/operations/alert/") as page:
        await page.evaluate(MARK)
        await page.evaluate(HIDDEN, True)
        lab.change(ALERT, missed, missed)
        await page.evaluate(HIDDEN, False)
        await expect(page.locator("#result_list")).to_contain_text(missed, timeout=10_000)
        lab.change(ALERT, heard, heard)
        await expect(page.locator("#result_list")).to_contain_text(heard, timeout=10_000)
        assert await page.evaluate(IS_MARKED), "the page was loaded anew"


@requirement("scope.bus")
async def test_a_page_misses_nothing_before_its_stream_stands(client: Client, lab: Lab) -> None:
    await asyncio.to_thread(make_staff, lab)
    known, before, hidden = (f"Nobody knows {uuid.uuid4().hex[:8]}" for _ in range(3))
    lab.change(ALERT, known, known)
    async with browser_at(client, "/admin/operations/alert/") as page:

        async def be_late(route: Any, request: Any) -> None:
            """The list was made, or read again, and the stream does not stand yet."""
            await expect(page.locator("#result_list")).to_contain_text(known, timeout=10_000)
            title = hidden if await page.evaluate(IS_MARKED) else before
            lab.change(ALERT, title, title)
            await route.continue_()

        await page.route(IS_FOLLOWING, be_late)
        await page.reload()
        await expect(page.locator("#result_list")).to_contain_text(before, timeout=10_000)
        await page.evaluate(MARK)
        await page.evaluate(HIDDEN, True)
        await page.evaluate(HIDDEN, False)
        await expect(page.locator("#result_list")).to_contain_text(hidden, timeout=10_000)


@requirement("scope.bus")
async def test_a_list_without_rows_is_loaded_anew_for_its_first(client: Client, lab: Lab) -> None:
    await asyncio.to_thread(make_staff, lab)
    first = f"Nobody knows {uuid.uuid4().hex[:8]}"
    query = first.replace(" ", "+")
    async with browser_at(client, f"/admin/operations/alert/?q={query}") as page:
        await expect(page.locator("#changelist-form")).to_be_attached()
        await expect(page.locator("#result_list")).to_have_count(0)
        lab.change(ALERT, first, first)
        await expect(page.locator("#result_list")).to_contain_text(first, timeout=10_000)


ALERT = """
WITH told AS (INSERT INTO operations_alert (kind, level, agent, scope_id, title, details, once,
    closed_by) VALUES ('price', 'warning', '', '', %s, '{}', %s, '') RETURNING id, title)
INSERT INTO bus_busevent (audience, agent, scope_id, type, data)
SELECT 'staff', '', '', 'alert_raised', json_build_object('type', 'alert_raised', 'alertId', id,
    'kind', 'price', 'level', 'warning', 'title', title) FROM told
"""


@requirement("scope.bus")
async def test_the_dashboard_follows_alerts_and_its_charts_what_is_spent(
    client: Client, lab: Lab
) -> None:
    await asyncio.to_thread(make_staff, lab)
    await client.talk("Hello", scope_id="admin-live")  # there is a cost, so there are charts
    async with browser_at(client, "/admin/") as page:
        title = f"Nobody knows {uuid.uuid4().hex[:8]}"
        lab.change(ALERT, title, title)
        await expect(page.locator("#ag-figures")).to_contain_text(title, timeout=15_000)
        drawn = "() => Chart.getChart(document.querySelector('#ag-charts canvas')).data.datasets"
        spent = "() => document.querySelector('#ag-charts table').innerText"
        before = [await page.evaluate(each) for each in (drawn, spent)]
        await client.talk("More", scope_id="admin-live")
        changed = f"was => JSON.stringify([({drawn})(), ({spent})()]) !== JSON.stringify(was)"
        await page.wait_for_function(changed, arg=before, timeout=15_000)
        canvas = page.locator("#ag-charts canvas").first
        await expect(canvas).to_be_visible()
        assert await page.evaluate(spent) != before[1]


@asynccontextmanager
async def browser_at(client: Client, path: str) -> AsyncIterator[Any]:
    """A page of the admin that somebody has signed in for, and that follows the bus."""
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser: Any = await playwright.chromium.launch(executable_path=program, args=flags)
        page = await browser.new_page()
        await page.goto(f"{client.url}/admin/login/?next={path}")
        await page.fill("input[name=username]", "watcher")
        await page.fill("input[name=password]", PASSWORD)
        async with page.expect_response(IS_FOLLOWING):
            await page.click("button[type=submit]")
        yield page
        await browser.close()
