"""The staff's pages in a real browser: make, read out, run and watch; and who may not."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from tests.automations_app.made import make_automation, queue_run
from tests.gatehouse import sign_in
from tests.lab import Lab, plan
from tests.requirements import requirement
from tests.wire_client import Client, cut_frames, eventually

LISTS = ("automationrun", "occurrence")
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


@requirement("automations.staff-pages")
async def test_a_page_without_a_clipboard_and_a_run_that_is_taken_over(
    client: Client, workshop: Lab
) -> None:
    key = await asyncio.to_thread(make_automation, workshop, "copied", "Go.", trigger="webhook")
    held = {"claimed_until": "2999-01-01T00:00:00Z"}
    run_id = await asyncio.to_thread(queue_run, workshop, key, "arun_held", **held)
    cookie = await asyncio.to_thread(sign_in, workshop.database_url, "copier", (), superuser=True)
    frames = [
        (1, "text_delta", {"delta": "kept"}),
        (2, "text_delta", {"delta": " and lost"}),
        (9, "run_resumed", {"attempt": 2, "discardFrom": 1}),
        (10, "text_delta", {"delta": " and new"}),
    ]
    told = "".join(f"id: {n}\nevent: {name}\ndata: {json.dumps(d)}\n\n" for n, name, d in frames)
    answers = iter([told])

    async def answer(route: Any) -> None:
        body = next(answers, None)
        if body is None:
            await route.abort()
        else:
            await route.fulfill(body=body, content_type="text/event-stream")

    async with async_playwright() as playwright:
        page = await open_browser(playwright, client.url, cookie)
        await page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: null})")
        await page.goto(f"{client.url}/automations/{key}/")
        await page.click("[data-copy]")
        await expect(page.locator("[data-copied]")).not_to_be_empty()
        address = await page.locator("#address").text_content()
        assert await page.evaluate("getSelection().toString()") == address
        await page.route("**/events/", answer)
        await page.goto(f"{client.url}/automations/runs/{run_id}/")
        await expect(page.locator("[data-live]")).to_have_text("kept and new", timeout=30_000)
        await page.context.browser.close()
    workshop.change("DELETE FROM automations_app_automationrun WHERE id = %s", run_id)


async def open_as_staff(workshop: Lab, name: str) -> dict[str, str]:
    """Headers of a superuser who may also send forms."""
    cookie = await asyncio.to_thread(sign_in, workshop.database_url, name, (), superuser=True)
    token = "a" * 32
    return {"Cookie": f"{cookie}; csrftoken={token}", "X-CSRFToken": token}


async def press(client: Client, path: str, sent: dict[str, str], **fields: str) -> str:
    """Send a form as a browser does; the page that it leads to, with its message."""
    url = client.url + path
    reply = await client.http.post(url, data=fields, headers=sent, allow_redirects=False)
    assert reply.status == 302, await reply.text()
    cookies = "; ".join([sent["Cookie"], f"messages={reply.cookies['messages'].coded_value}"])
    page = await client.ask("GET", reply.headers["Location"], **{**sent, "Cookie": cookies})
    return page.raw.decode()


@requirement("automations.staff-pages", "automations.health")
async def test_an_agent_that_is_not_served_is_told_of(client: Client, workshop: Lab) -> None:
    daily = {"trigger": "cron", "schedule": "0 9 * * *", "agent": "gone"}
    edited = {"origin": "file", "changed": '["title"]'}
    key = make_automation(workshop, "orphan", "Go.", **daily, **edited)
    sent = await open_as_staff(workshop, "keeper")
    for path in ("/automations/", f"/automations/{key}/"):
        assert b"Its agent is not served here." in (await client.ask("GET", path, **sent)).raw
    turned = await press(client, f"/automations/{key}/revert/", sent)
    assert "Its agent is not served here. Go back to its file on a server" in turned

    async def told() -> Any:
        found = (await client.get("/health"))["automations"]
        return next((each for each in found if each["name"] == "orphan"), None)

    shown = await eventually(told)
    assert (shown["problem"], shown["nextRun"]) == ("Its agent is not served here.", None)
    workshop.change("DELETE FROM automations_app_automation WHERE id = %s", key)


@requirement("automations.staff-pages", "automations.webhook-address")
async def test_a_webhooks_address_is_where_the_page_is_and_a_lost_secret_is_told_of(
    client: Client, workshop: Lab
) -> None:
    auth = {"webhook_auth": json.dumps({"type": "slack"}), "webhook_secret": b"of another key"}
    key = make_automation(workshop, "lost-secret", "Go.", trigger="webhook", **auth)
    sent = await open_as_staff(workshop, "tester")
    there = client.url.replace("127.0.0.1", "localhost").removeprefix("http://")
    page = await client.ask("GET", f"/automations/{key}/", **sent, Host=there)
    assert f"http://{there}/webhooks/lost-secret".encode() in page.raw
    said = await press(client, f"/automations/{key}/test/", sent, body="{}")
    assert "The test could not be signed. A stored secret cannot be read" in said


@requirement("automations.staff-pages", "automations.started-stopped")
async def test_the_history_has_what_the_api_did_and_all_lists_are_linked(
    client: Client, workshop: Lab
) -> None:
    key = make_automation(
        workshop, "told-of", plan({"text": "Ran."}), trigger="cron", schedule="0 9 * * *"
    )
    for verb in ("stop", "start", "run"):
        assert (await client.post(f"/automations/told-of/{verb}?agentId=plain", {})).status == 200
    sent = await open_as_staff(workshop, "reader")
    text = (await client.ask("GET", f"/automations/{key}/", **sent)).raw.decode()
    places = [text.index(f"a caller: {what}<") for what in ("run", "resumed", "paused")]
    assert places == sorted(places)
    links = [f"automations_app/{name}/?automation__id__exact" for name in LISTS]
    for link in (*links, f"operations/auditentry/?q={key}"):
        assert f"/admin/{link}" in text, link
        path = f"/admin/{link}".replace("__exact", f"__exact={key}")
        assert (await client.ask("GET", path, **sent)).status == 200
    editor = await asyncio.to_thread(
        sign_in, workshop.database_url, "editor", ("automation editors",)
    )
    page = await client.ask("GET", f"/automations/{key}/", Cookie=editor)
    text = page.raw.decode()
    assert "a caller: run<" in text and "auditentry" not in text  # which editors may not open
    for link in links:
        path = f"/admin/{link}".replace("__exact", f"__exact={key}")
        assert (await client.ask("GET", path, Cookie=editor)).status == 200


@requirement("automations.staff-pages")
async def test_a_live_view_goes_on_where_it_was_cut(client: Client, workshop: Lab) -> None:
    make_automation(workshop, "cut", plan({"text": "Here I am."}))
    run_id = (await client.post("/automations/cut/run?agentId=plain", {})).json["runId"]
    sent, path = await open_as_staff(workshop, "watcher"), f"/automations/runs/{run_id}/events/"
    whole, _, _ = cut_frames((await client.ask("GET", path, **sent)).raw)
    seen = {"Last-Event-ID": str(whole[0].id)}
    rest, _, _ = cut_frames((await client.ask("GET", path, **sent, **seen)).raw)
    numbered = [frame for frame in whole if frame.id]
    assert [frame.raw for frame in rest] == [frame.raw for frame in numbered[1:]]
    assert (await client.ask("GET", path, **sent, **{"Last-Event-ID": "x"})).status == 400
