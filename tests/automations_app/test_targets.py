"""Every kind of target, against real receivers on loopback; stores are in `test_hooks.py`."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web
from django.test.utils import override_settings

from agentsite.connections.client import close_guarded_client
from agentsite.delivery.base import Outcome, Outgoing
from agentsite.delivery.email import SMTP
from agentsite.delivery.sending import send
from agentsite.delivery.signals import automation_delivered
from tests.automations_app.mailbox import open_mailbox
from tests.connections.site import Page, Site, serve_site
from tests.requirements import requirement

SECRET = "whsec_" + "a2" * 16
PAYLOAD = {"automation": "daily", "status": "success", "timestamp": "now", "result": "A <b> & ü"}
CALLS: list[tuple[Any, ...]] = []


def outgoing(target: dict[str, Any], **payload: Any) -> Outgoing:
    told = {**PAYLOAD, **payload}
    return Outgoing("msg_1", 2, "desk", "daily", "acme", "sess_1", "run_1", target, told)


def refuse(status: int, **headers: str) -> Page:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    return page


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
    pages = {
        "busy": refuse(429, **{"Retry-After": "7"}),
        "later": refuse(503, **{"Retry-After": later}),
        "odd": refuse(429, **{"Retry-After": "soon"}),
        "broken": refuse(500),
        "gone": refuse(410),
        "wrong": refuse(422),
        "moved": refuse(301, Location="/"),
    }
    async with serve_site(**pages) as site:
        yield site
    await close_guarded_client()


@requirement("automations.delivery-targets")
async def test_a_webhook_is_signed_in_both_ways_under_a_stable_id(site: Site) -> None:
    target = {"type": "webhook", "url": site.url("/in?x=1"), "secret": SECRET}
    for _ in range(2):
        assert await send(outgoing(target)) == Outcome(status=200)
    first, second = site.seen
    assert (first.method, first.target) == ("POST", "/in?x=1")
    assert first.headers["content-type"] == "application/json"
    assert standardwebhooks.Webhook(SECRET).verify(first.body, first.headers) == PAYLOAD
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "msg_1"
    assert first.headers["x-amodal-signature"].startswith("sha256=")
    assert await send(outgoing({"type": "webhook", "url": site.url()})) == Outcome(status=200)
    unsigned = site.seen[-1].headers
    assert unsigned["webhook-id"] == "msg_1"
    assert not {"webhook-signature", "x-amodal-signature"} & set(unsigned)


@requirement("automations.delivery-retries")
async def test_what_may_pass_is_tried_again_and_what_will_not_is_not(site: Site) -> None:
    async def to(url: str) -> Outcome:
        return await send(outgoing({"type": "webhook", "url": url}))

    busy = await to(site.url("/busy"))
    assert (busy.status, busy.transient, busy.retry_after) == (429, True, 7)
    later = await to(site.url("/later"))
    assert (later.status, later.transient) == (503, True)
    assert 400 < later.retry_after <= 500
    odd = await to(site.url("/odd"))
    assert (odd.transient, odd.retry_after) == (True, 0)
    assert (await to(site.url("/broken"))).transient
    for path, status in (("/gone", 410), ("/wrong", 422), ("/moved", 301)):
        refused = await to(site.url(path))
        assert (refused.status, refused.transient) == (status, False)
        assert str(status) in refused.problem
    closed = await to("http://127.0.0.1:9/")
    assert (closed.transient, closed.problem) == (True, "No connection to 127.0.0.1:9.")
    never = await to("http://metadata.google.internal/")
    assert (never.transient, "never reached" in never.problem) == (False, True)


@requirement("automations.delivery-targets")
async def test_slack_gets_a_text_that_mentions_nobody(site: Site) -> None:
    target = {"type": "slack", "url": site.url("/services/T/B/x")}
    for told, said in (
        ({"result": "<!channel> hi"}, "*daily*\n&lt;!channel&gt; hi"),
        ({"message": "<https://a.test|made>"}, "<https://a.test|made>"),
        ({"status": "failure", "error": "a<b"}, "*daily* failed: a&lt;b"),
    ):
        assert await send(outgoing(target, **told)) == Outcome(status=200)
        assert json.loads(site.seen[-1].body) == {"text": said}


def mailing(port: int) -> override_settings:
    return override_settings(
        EMAIL_BACKEND=SMTP,
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_FROM_EMAIL="a@site.test",
    )


@requirement("automations.delivery-targets")
async def test_mail_goes_through_djangos_backend() -> None:
    target = {"type": "email", "to": ["ann@x.test", "bob@x.test"], "subject": "{{automation}}\nü"}
    with open_mailbox() as mailbox, mailing(mailbox.port):
        assert await send(outgoing(target, message="Näheres\n.")) == Outcome()
        del target["subject"]
        assert await send(outgoing(target, status="failure", error="Broken.")) == Outcome()
        first, second = (
            email.message_from_bytes(raw, policy=email.policy.default) for raw in mailbox.mails
        )
        assert (first["Subject"], first["To"]) == ("daily ü", "ann@x.test, bob@x.test")
        assert first["Message-ID"] == second["Message-ID"] == "<msg_1@site.test>"
        assert first.get_content() == "Näheres\r\n..\r\n"  # SMTP doubles the dot
        assert (second["Subject"], second.get_content()) == ("daily: failure", "Broken.\r\n")
        for said, transient in (("550 no such user", False), ("451 later", True)):
            mailbox.refusal = said
            outcome = await send(outgoing(target))
            assert (outcome.status, outcome.transient) == (int(said[:3]), transient)
    with mailing(9):
        assert (await send(outgoing(target))).transient
    with override_settings(EMAIL_BACKEND=SMTP, EMAIL_HOST=""):
        outcome = await send(outgoing(target))
        assert (outcome.transient, "EMAIL_HOST" in outcome.problem) == (False, True)


def note(payload: dict[str, Any], info: dict[str, Any]) -> None:
    CALLS.append((payload["result"], info))


async def note_later(payload: dict[str, Any], info: dict[str, Any]) -> None:
    CALLS.append((payload["result"], info["id"]))


def fail(payload: dict[str, Any], info: dict[str, Any]) -> None:
    raise RuntimeError("no")


@requirement("automations.delivery-targets")
async def test_a_callback_is_a_function_or_a_signal() -> None:
    CALLS.clear()

    async def call(name: str | None) -> Outcome:
        named = {} if name is None else {"name": name}
        return await send(outgoing({"type": "callback", **named}))

    assert await call(f"{__name__}.note") == Outcome()
    assert await call(f"{__name__}.note_later") == Outcome()
    info = {"name": "daily", "id": "msg_1", "attempt": 2, "scopeId": "acme"}
    assert [("A <b> & ü", info), ("A <b> & ü", "msg_1")] == CALLS
    raised = await call(f"{__name__}.fail")
    assert (raised.transient, raised.problem) == (True, "The callback raised RuntimeError.")
    for name in ("no.such.module", "nothing", f"{__name__}.PAYLOAD", f"{__name__}.absent"):
        assert not (await call(name)).transient, name
    silent = await call(None)
    assert (silent.transient, silent.problem) == (False, "Nobody listens to the signal.")
    heard: list[Any] = []

    def hear(**given: Any) -> None:
        heard.append((given["payload"], given["info"]))

    automation_delivered.connect(hear)
    try:
        assert await call(None) == Outcome()
    finally:
        automation_delivered.disconnect(hear)
    assert heard == [(PAYLOAD, info)]
