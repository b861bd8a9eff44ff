"""Every page of the admin, with content in it, before axe and on a phone: read off the registry.

Law: pages are rendered first and given to the browser as they are; nothing of the host runs.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from axe_playwright_python.async_playwright import Axe
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client, RequestFactory
from django.urls import reverse
from playwright.async_api import async_playwright

from agentsite.dashboard import agents
from agentsite.operations.models import EvalRun, McpServer
from sessions_app.models import Session
from sessions_app.scopes import Scope
from stores_app import specs
from stores_app.models import Document
from tests.operations.staff_rows import AGENT, ROWS, SCOPE, build_agent, registered
from tests.requirements import requirement

pytestmark = pytest.mark.django_db

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TABS = 2
AT_LEAST = 80
"""Pages; fewer would mean that some are not found."""
ALIKE = (Session, Document, McpServer)
"""Whose pages that ask, and that tell of changes, are looked at: all others are like them."""
WIDE = """() => {
  const all = document.documentElement;
  if (all.scrollWidth <= innerWidth) return "";
  const out = [...document.querySelectorAll("#main *")].filter(
    (each) => each.getBoundingClientRect().right > innerWidth + 1);
  const last = out.filter((each) => !out.some((other) => other !== each && each.contains(other)));
  const words = last.slice(0, 2).map((each) => each.outerHTML.slice(0, 160));
  return `${all.scrollWidth} px: ${words.join(" | ")}`;
}"""
"""How wide the page is that does not fit, and what sticks out."""
OPTIONS = {"resultTypes": ["violations"]}


@pytest.fixture
def rendered(tmp_path: Path, settings: Any, db: None) -> Iterator[dict[str, str]]:
    """Path → page, as somebody who may do everything sees it."""
    settings.AGENTS_DIR = build_agent(tmp_path)
    for cached in (specs.served_agents, agents._agents):
        cached.cache_clear()
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    found = {path: _get(staff, path) for path in sorted(_list_paths())}
    key = Scope.objects.latest("pk").pk
    erase = {"action": "erase", "_selected_action": [key]}
    for name, path, form in (
        ("erase", reverse("admin:sessions_app_scope_changelist"), erase),
        ("key", reverse("admin:sessions_app_apikey_add"), {"name": "New", "role": "user"}),
    ):
        found[f"/{name}"] = staff.post(path, form).content.decode()
    yield found
    for cached in (specs.served_agents, agents._agents):
        cached.cache_clear()


def _list_paths() -> set[str]:
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="ada")
    usage = "admin:sessions_app_usageday"
    paths = {
        "/admin/", "/admin/agents/", f"/admin/agents/{AGENT}/", "/admin/password_change/",
        "/admin/sessions_app/", f"{reverse(f'{usage}_scope')}?agent={AGENT}&scope={SCOPE}",
        f"{reverse(f'{usage}_compare')}?scope={SCOPE}&scope=other",
        f"{reverse('admin:stores_app_document_add')}?agent={AGENT}&scope_id={SCOPE}&store=orders",
    }  # fmt: skip
    for model, page in registered().items():
        row = ROWS[model]()
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths |= {reverse(f"{base}_changelist"), reverse(f"{base}_change", args=[quote(row.pk)])}
        if page.has_add_permission(request) and model is not EvalRun:  # whose page needs a host
            paths.add(reverse(f"{base}_add"))
        if model in ALIKE and page.has_delete_permission(request, row):
            paths.add(reverse(f"{base}_delete", args=[quote(row.pk)]))
            paths.add(reverse(f"{base}_history", args=[quote(row.pk)]))
    return paths


def _get(staff: Client, path: str) -> str:
    answer = staff.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def _app(rendered: dict[str, str]) -> web.Application:
    """Answers with the pages, and with files of ours that the browser may keep."""

    async def page(request: web.Request) -> web.StreamResponse:
        text = rendered.get(request.path_qs)
        if text is None:
            return web.Response(status=404)
        return web.Response(text=text, content_type="text/html")

    async def file(request: web.Request) -> web.StreamResponse:
        found = finders.find(request.match_info["name"])
        if not isinstance(found, str):
            return web.Response(status=404)
        return web.FileResponse(found, headers={"Cache-Control": "max-age=600"})

    app = web.Application()
    app.router.add_get("/static/{name:.*}", file)
    app.router.add_get("/{path:.*}", page)
    return app


async def _look(page: Any, url: str, path: str) -> list[str]:
    await page.set_viewport_size(DESK)
    await page.goto(url + path)
    found = (await Axe().run(page, options=OPTIONS)).response["violations"]
    faults = [
        f"{path}: {fault['id']} {fault['nodes'][0]['target']} {fault['nodes'][0]['html'][:120]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
    await page.set_viewport_size(PHONE)
    wide = await page.evaluate(WIDE)
    return [*faults, f"{path} is {wide} wide"] if wide else faults


@pytest.mark.timeout(600)
@requirement("admin.accessible")
async def test_no_page_of_the_admin_has_a_serious_fault(rendered: dict[str, str]) -> None:
    assert len(rendered) > AT_LEAST
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    waiting, faults = list(rendered), []
    async with TestServer(_app(rendered)) as server, async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser: Any = await playwright.chromium.launch(executable_path=program, args=flags)

        context = await browser.new_context()

        async def work() -> None:
            page = await context.new_page()
            while waiting:
                faults.extend(
                    await _look(page, f"http://{server.host}:{server.port}", waiting.pop())
                )

        await asyncio.gather(*(work() for _ in range(TABS)))
        await browser.close()
    assert not faults, "\n".join(sorted(faults))
