"""The operators' journeys in a real browser, and what axe says of their pages."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from tests.gates import Gates
from tests.host.test_evals import BEFORE
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.staff import PASSWORD, make_staff, quote, run_path
from tests.wire_client import Client

PATIENCE = 15_000
SIZES = ({"width": 1280, "height": 900}, {"width": 390, "height": 844})


@pytest.fixture
async def page(lab: Lab, client: Client) -> AsyncIterator[Any]:
    """A tab of an operator who is signed in."""
    await asyncio.to_thread(make_staff, lab, "browser", superuser=True)
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser: Any = await playwright.chromium.launch(executable_path=program, args=flags)
        page = await browser.new_page(viewport=SIZES[0])
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(f"{page.url}: {error}"))
        await page.goto(f"{client.url}/admin/login/?next=/admin/sessions_app/run/")
        await page.fill("input[name=username]", "browser")
        await page.fill("input[name=password]", PASSWORD)
        await page.click("button[type=submit]")
        yield page
        await browser.close()
    assert broken == []


@requirement("admin.three-clicks")
async def test_from_a_complaint_to_the_cause_in_three_clicks(
    client: Client, lab: Lab, page: Any
) -> None:
    bad = plan({"tools": [call("fail", note="x")]}, {"text": "Sorry."}, say="Weigh it")
    stream = await client.talk(bad, scope_id="complaint")
    await client.talk(plan({"text": "Fine."}, say="All is well"), scope_id="complaint-other")
    ((when,),) = lab.query(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM sessions_app_run"
        " WHERE id = %s",
        stream.run_id,
    )
    await page.fill("#searchbar", f"complaint {when}")
    await page.click("#searchbar-submit")
    listed = page.locator("#result_list tbody a:has-text('Weigh it')")
    await expect(page.locator("#result_list tbody tr.data-row")).to_have_count(1, timeout=PATIENCE)
    await listed.first.click()
    cause = page.locator(".ag-causes a:has-text('fail ended with error')")
    await cause.click(timeout=PATIENCE)
    shown = page.locator(".ag-item:target")
    await expect(shown).to_contain_text("fail", timeout=PATIENCE)
    await expect(shown.locator("pre").first).to_be_visible()


@requirement("admin.timeline")
async def test_a_timeline_goes_on_while_the_run_is_live(
    client: Client, page: Any, gates: Gates
) -> None:
    tools = [call("gate", port=gates.port, note="slow")]
    said = plan({"text": "Wait. ", "tools": tools}, {"text": "There."})
    async with client.stream(said) as stream:
        await stream.event("tool_call_start")
        gate = await gates.next()
        await page.goto(client.url + run_path(stream.run_id))
        await expect(page.locator("#ag-timeline")).to_contain_text("Wait.", timeout=PATIENCE)
        await expect(page.locator("#ag-timeline .ag-tag")).to_have_text("live")
        gate.open("at last")
        await stream.to_end()
    await expect(page.locator("#ag-timeline")).to_contain_text("The run ended", timeout=PATIENCE)
    await expect(page.locator("#ag-timeline .ag-tag")).to_have_count(0)
    await expect(page.get_by_role("button", name="Retry")).to_be_visible()


@requirement("admin.dashboard")
async def test_the_dashboard_follows_what_happens(client: Client, page: Any) -> None:
    await client.talk(plan({"text": "One."}))
    async with page.expect_response(lambda answer: "/admin/events" in answer.url):
        await page.goto(f"{client.url}/admin/")
    failed = page.locator("#ag-figures .ag-tile", has_text="Failed").first
    before = await failed.text_content()
    await client.talk(plan({"text": "Two."}))
    await expect(failed).not_to_have_text(before, timeout=PATIENCE)
    await failed.click()
    await page.wait_for_url("**/admin/sessions_app/run/?outcome=error&kind=own&*", timeout=PATIENCE)


@requirement("admin.accessible")
async def test_axe_finds_nothing_serious_and_nothing_is_wider_than_a_phone(
    client: Client, lab: Lab, page: Any
) -> None:
    asks = [call("ask_choice", question="Which?", options=[{"label": "A"}, {"label": "B"}])]
    asked = await client.say(plan({"text": "So? ", "tools": asks}, {}))
    stream = await client.talk(
        plan({"tools": [call("fail", note="x")]}, {"text": "No."}), scope_id="axe"
    )
    ((model_call,),) = lab.query(
        "SELECT min(id) FROM sessions_app_modelcall WHERE run_id = %s", stream.run_id
    )
    pages = (
        "/admin/",
        "/admin/sessions_app/run/",
        "/admin/sessions_app/session/",
        "/admin/sessions_app/modelcall/",
        run_path(stream.run_id),
        run_path(asked["runId"]),
        run_path(stream.run_id, "replay"),
        f"/admin/sessions_app/modelcall/{model_call}/change/",
        f"/admin/sessions_app/session/{quote(stream.session_id)}/change/",
        f"/admin/sessions_app/session/{quote(stream.session_id)}/delete/",
    )
    assert not (faults := await find_faults(client, page, pages)), "\n".join(faults)


@requirement("admin.accessible")
async def test_axe_finds_nothing_serious_on_the_pages_of_evals(
    client: Client, lab: Lab, page: Any
) -> None:
    lab.change(BEFORE, "eval_axe", "a/b", "a/b")
    ((result,),) = lab.query("SELECT id FROM operations_evalresult WHERE eval_run_id = 'eval_axe'")
    pages = (
        "/admin/operations/evalrun/",
        "/admin/operations/evalrun/add/?agent=examined",
        "/admin/operations/evalrun/eval_5Faxe/change/",
        f"/admin/operations/evalresult/{result}/change/",
    )
    assert not (faults := await find_faults(client, page, pages)), "\n".join(faults)


async def find_faults(client: Client, page: Any, pages: tuple[str, ...]) -> list[str]:
    """What axe finds on pages at both sizes, and which are wider than their screen."""
    faults = []
    for path in pages:
        await page.goto(client.url + path)
        for size in SIZES:
            await page.set_viewport_size(size)
            found = (await Axe().run(page)).response["violations"]
            faults += [
                f"{path} at {size['width']}: {fault['id']} {node['target']}"
                for fault in found
                if fault["impact"] in ("serious", "critical")
                for node in fault["nodes"]
            ]
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 1:
                faults.append(f"{path} is {wide} px wider than {size['width']}")
    return faults
