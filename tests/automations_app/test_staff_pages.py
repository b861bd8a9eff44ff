"""The staff's pages in a real browser: make, read out, run and watch; and who may not."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from tests.automations_app.made import make_automation
from tests.gatehouse import sign_in
from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client

SERIOUS = {"serious", "critical"}


async def find_faults(page: Any) -> list[str]:
    """Serious faults of accessibility, by rule and place."""
    found = await Axe().run(page)
    return [
        f"{each['id']}: {each['nodes'][0]['target']}"
        for each in found.response["violations"]
        if each["impact"] in SERIOUS
    ]


async def open_browser(playwright: Any, url: str, cookie: str, **options: Any) -> Any:
    """A page with a signed-in person's cookie."""
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    flags = ["--no-sandbox", "--disable-gpu"]
    browser = await playwright.chromium.launch(executable_path=program, args=flags)
    context = await browser.new_context(**options)
    name, _, value = cookie.partition("=")
    await context.add_cookies([{"name": name, "value": value, "url": url}])
    page = await context.new_page()
    page.set_default_timeout(30_000)
    return page


@requirement("automations.staff-pages")
async def test_staff_make_read_run_and_pause_an_automation(client: Client, workshop: Lab) -> None:
    cookie = await asyncio.to_thread(sign_in, workshop.database_url, "maker", (), superuser=True)
    async with async_playwright() as playwright:
        page = await open_browser(playwright, client.url, cookie)
        await page.goto(f"{client.url}/automations/new/")
        await page.fill("[name=name]", "made-here")
        await page.fill("[name=title]", "Made here")
        await page.fill("[name=prompt]", "Hello")
        await page.select_option("[name=agent]", "plain")
        await page.select_option("[name=trigger]", "cron")
        await page.fill("[name=schedule]", "0 9 * * 1-5")
        await page.fill("[name=timezone]", "Europe/Berlin")
        shown = page.locator(".au-preview")
        await expect(shown).to_contain_text("At 09:00, Monday through Friday", timeout=30_000)
        await expect(shown.locator("li")).to_have_count(5, timeout=30_000)
        assert await find_faults(page) == []
        await page.click(".au-save")
        await expect(page.locator(".au-lines").last).to_contain_text("created", timeout=30_000)
        assert await find_faults(page) == []
        await page.click("text=Run now")
        await expect(page.locator(".au-status")).to_have_text("success", timeout=60_000)
        assert await find_faults(page) == []
        await page.goto(f"{client.url}/automations/")
        line = page.locator("tr", has_text="Made here")
        await expect(line).to_contain_text("success")
        assert await find_faults(page) == []
        await line.get_by_role("button", name="Pause").click()
        await expect(page.locator(".ag-note").first).to_contain_text("paused by maker")
        await page.context.browser.close()


@requirement("automations.staff-pages")
async def test_the_list_fits_a_phone(client: Client, workshop: Lab) -> None:
    await asyncio.to_thread(make_automation, workshop, "narrow", "Hello")
    cookie = await asyncio.to_thread(sign_in, workshop.database_url, "walker", (), superuser=True)
    async with async_playwright() as playwright:
        size = {"width": 375, "height": 800}
        page = await open_browser(playwright, client.url, cookie, viewport=size)
        await page.goto(f"{client.url}/automations/")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 375
        await page.context.browser.close()


@requirement("automations.staff-pages")
async def test_who_may_only_look_changes_nothing(client: Client, workshop: Lab) -> None:
    key = await asyncio.to_thread(make_automation, workshop, "looked-at", "Hello")
    clerk = await asyncio.to_thread(sign_in, workshop.database_url, "clerk", ())
    token = "a" * 32
    sent = {"Cookie": f"{clerk}; csrftoken={token}", "X-CSRFToken": token}
    for path in ("/automations/", f"/automations/{key}/"):
        assert (await client.ask("GET", path, **sent)).status == 403
    workshop.change(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) SELECT u.id, p.id"
        " FROM auth_user u, auth_permission p WHERE u.username = 'clerk'"
        " AND p.codename = 'view_automation'"
    )
    assert (await client.ask("GET", f"/automations/{key}/", **sent)).status == 200
    for path in (f"/automations/{key}/", f"/automations/{key}/run/", "/automations/new/"):
        refused = await client.ask("POST", path, b"", **sent)
        assert refused.status == 403, path
    count = "SELECT count(*) FROM automations_app_automationrun WHERE automation_id = %s"
    assert workshop.query(count, key) == [(0,)]
