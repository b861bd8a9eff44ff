"""An admin page in a real browser that follows what happens."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

from playwright.async_api import async_playwright, expect

from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client

PASSWORD = "admin-live-0123"


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
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser: Any = await playwright.chromium.launch(executable_path=program, args=flags)
        page = await browser.new_page()
        await page.goto(f"{client.url}/admin/login/?next=/admin/sessions_app/session/")
        await page.fill("input[name=username]", "watcher")
        await page.fill("input[name=password]", PASSWORD)
        async with page.expect_response(lambda answer: answer.url.endswith("/admin/events")):
            await page.click("button[type=submit]")
        second = await client.talk("Hello again", scope_id="admin-live")
        quoted = second.session_id.replace("_", "_5F")
        listed = page.locator(f"#result_list a[href*='{quoted}']")
        await expect(listed.first).to_be_visible(timeout=10_000)
        quoted = first.session_id.replace("_", "_5F")
        address = f"{client.url}/admin/sessions_app/session/{quoted}/change/"
        async with page.expect_response(lambda answer: answer.url.endswith("/admin/events")):
            await page.goto(address)
        await client.talk("More", first.session_id, scope_id="admin-live")
        await expect(page.locator("#ag-changed")).to_be_visible(timeout=10_000)
        await browser.close()
