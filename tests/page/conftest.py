"""The page in a real browser, served by the fake API.

Law: the browser lives for one module at a time, because Playwright's own event loop
must not run while tests of other folders start theirs.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest
from django.test import RequestFactory
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sessions_app.pages import chat_page
from tests.page.fake_api import FakeApi

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
expect.set_options(timeout=8_000)


@pytest.fixture(scope="session")
def page_html() -> bytes:
    """The page as the view renders it."""
    return asyncio.run(chat_page(RequestFactory().get("/"))).content


@pytest.fixture(scope="module")
def server(page_html: bytes) -> Iterator[FakeApi]:
    with FakeApi(page_html) as fake:
        yield fake


@pytest.fixture
def api(server: FakeApi) -> FakeApi:
    """The fake server with nothing in it."""
    server.reset()
    return server


@pytest.fixture(scope="module")
def browser(server: FakeApi) -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for all tabs of a module, so that the scripts are fetched once."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, locale="en-GB")
    yield context
    context.close()


@pytest.fixture
def page(api: FakeApi, context: BrowserContext) -> Iterator[Page]:
    """A tab; the test fails when the page threw, broke its policy or asked a foreign host."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((api.url, "data:", "blob:"))
            or complaints.append(f"asked {asked.url}")
        ),
    )
    yield page
    page.close()
    expected = "Failed to load resource"  # Chromium's line for a refusal that a test scripted
    assert [line for line in complaints if not line.startswith(expected)] == []
