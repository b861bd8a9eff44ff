"""Deliveries as rows: planned once, claimed, sent, tried again, given up and replayed."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from django.conf import LazySettings
from django.db.models import F, Q
from django.test.utils import override_settings

from agentsite.bus.models import BusEvent
from agentsite.connections.client import close_guarded_client
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from automations_app import courier, deliveries
from automations_app.models import Automation, AutomationRun, Delivery, FailureStreak
from tests.connections.site import serve_site
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
QUICK = (0.01, 0.01, 0.02, 0.03, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05)


@pytest.fixture(autouse=True)
def quick(settings: LazySettings) -> None:
    settings.DELIVERY_RETRY_SECONDS = QUICK


@pytest.fixture(autouse=True)
async def clients() -> AsyncIterator[None]:
    act_for_all("a test looks at everything")
    yield
    await close_guarded_client()


def make_run(targets: list[dict[str, Any]], **columns: Any) -> AutomationRun:
    """A run that has succeeded, of an automation with these targets."""
    automation = Automation.objects.create(
        agent="desk", name=f"a{Automation.objects.count()}", title="A", prompt="Go.",
        delivery={"targets": targets, "includeResult": True}, **columns,
    )  # fmt: skip
    return AutomationRun.objects.create(
        id=f"arun_{automation.pk}", automation=automation, scope_id="acme", cause="manual",
        status="success", output="Done.", session_id="sess_1", run_id=f"run_{automation.pk}",
        ended_at=datetime.now(UTC),
    )  # fmt: skip


def plan(targets: list[dict[str, Any]], **columns: Any) -> Delivery:
    run = make_run(targets, **columns)
    deliveries.plan(run, "result")
    return run.deliveries.get(target_index=0)


@asynccontextmanager
async def carrying() -> AsyncIterator[None]:
    """A courier at work."""
    await courier.startup()
    try:
        yield
    finally:
        await courier.shutdown()


async def settled() -> None:
    """Return when nothing waits any more."""
    async with asyncio.timeout(60):
        while await unit(Delivery.objects.filter(status="pending").exists):
            await deliveries.send_due(50)


@requirement("automations.delivery-retries")
@pytest.mark.timeout(300)
async def test_a_thousand_arrive_each_once_by_its_id_where_a_third_fails() -> None:
    """Nothing arrives again but what broke after the receiver had taken it: under its old id."""
    dice = random.Random(7)
    taken, refused, broken, again = (Counter[str]() for _ in range(4))

    async def receive(request: web.Request) -> web.Response:
        message_id, chance = request.headers["webhook-id"], dice.random()
        if message_id in taken:
            again[message_id] += 1
            return web.Response()
        if chance < 0.2:
            refused[message_id] += 1
            return web.Response(status=dice.choice((500, 503, 429)))
        if chance < 0.25:
            refused[message_id] += 1
        else:
            taken[message_id] += 1
            broken[message_id] += chance < 0.3
        if chance < 0.3 and request.transport is not None:
            request.transport.abort()  # who sends cannot know what became of it
        return web.Response()

    async with serve_site(**{"in": receive}) as site:
        run = await unit(make_run, [{"type": "webhook", "url": site.url("/in")}] * 1000)
        for _ in range(2):  # the second finds everything there
            await unit(deliveries.plan, run, "result")
        async with carrying():
            courier.wake()
            async with asyncio.timeout(250):
                while await unit(Delivery.objects.exclude(status="delivered").exists):
                    await deliveries.send_due(20)  # another process beside the courier
    tries = await unit(lambda: dict(Delivery.objects.values_list("pk", "attempts")))
    assert len(tries) == 1000
    assert taken == dict.fromkeys(tries, 1)
    assert +again == +broken
    # A connection that breaks may have another behind it, on which then nothing arrives.
    assert all(tries[pk] > refused[pk] + broken[pk] for pk in tries)
    assert (sum(refused.values()) > 200, sum(broken.values()) > 30) == (True, True)
    assert all(json.loads(seen.body)["result"] == "Done." for seen in site.seen)


@requirement("automations.delivery-retries")
async def test_pauses_are_those_of_the_setting_or_what_the_target_asks_for() -> None:
    answers = iter([(500, {}), (429, {"Retry-After": "900"}), (429, {"Retry-After": "999999"})])

    async def receive(_request: web.Request) -> web.Response:
        status, headers = next(answers)
        return web.Response(status=status, headers=headers)

    async with serve_site(**{"in": receive}) as site:
        row = await unit(plan, [{"type": "webhook", "url": site.url("/in")}])
        with override_settings(DELIVERY_RETRY_SECONDS=(1.0, 5.0, 30.0)):
            for pause, code in ((1, 500), (900, 429), (3600, 429)):
                assert await deliveries.send_due(5) == 1
                assert await deliveries.send_due(5) == 0
                await unit(row.refresh_from_db)
                assert (row.status, row.response_code) == ("pending", code)
                left = await unit(deliveries.seconds_to_next)
                assert left is not None
                assert pause - 30 < left <= pause
                soon = Delivery.objects.filter(pk=row.pk)
                await unit(soon.update, next_try_at=datetime.now(UTC))


@requirement("automations.delivery-retries")
async def test_the_courier_alone_tries_again_in_time() -> None:
    """Its looks for what others left are too rare to serve for retries."""
    statuses, arrived = [500, 503, 429, 200], asyncio.Event()

    async def receive(_request: web.Request) -> web.Response:
        status = statuses.pop(0)
        if not statuses:
            arrived.set()
        return web.Response(status=status)

    async with serve_site(**{"in": receive}) as site:
        row = await unit(plan, [{"type": "webhook", "url": site.url("/in")}])
        alone = courier.Courier(look_seconds=3600)
        async with asyncio.timeout(60):
            await arrived.wait()
        await alone.close()
    await unit(row.refresh_from_db)
    assert (row.status, row.attempts) == ("delivered", 4)


@requirement("automations.delivery-dead-letters", "automations.delivery-apart")
async def test_what_never_arrives_is_a_dead_letter_that_can_be_sent_again() -> None:
    status = 500

    async def receive(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serve_site(**{"in": receive}) as site:
        row = await unit(plan, [{"type": "webhook", "url": site.url("/in")}])
        await settled()
        await unit(row.refresh_from_db)
        assert (row.status, row.attempts, row.response_code) == ("dead", len(QUICK) + 1, 500)
        assert row.problem == "It answered with status 500."
        assert row.ended_at
        run = await unit(AutomationRun.objects.get)
        assert (run.status, run.error) == ("success", "")
        event = await unit(BusEvent.objects.get)
        told = json.loads(event.data)
        assert (event.type, event.audience) == ("delivery_failed", "staff")
        assert (told["deliveryId"], told["attempts"]) == (row.pk, len(QUICK) + 1)
        assert told["targetUrl"] == site.url("")
        status = 204
        assert await unit(deliveries.replay, row.pk)
        assert not await unit(deliveries.replay, row.pk)
        await settled()
        await unit(row.refresh_from_db)
        assert (row.status, row.attempts, row.response_code) == ("delivered", 1, 204)
        assert len({seen.headers["webhook-id"] for seen in site.seen}) == 1
        last = await unit(BusEvent.objects.order_by("-pk").first)
        assert last is not None
        assert last.type == "delivery_succeeded"
        status = 400
        once = await unit(plan, [{"type": "webhook", "url": site.url("/in")}])
        await settled()
        await unit(once.refresh_from_db)
        assert (once.status, once.attempts) == ("dead", 1)


@requirement("automations.delivery-targets")
async def test_secrets_go_to_the_target_they_were_given_for_and_to_no_other() -> None:
    async with serve_site() as site:
        target = {"type": "webhook", "url": site.url("/a")}
        secrets = json.dumps({"delivery.0": {"secret": "s3cret"}})
        row = await unit(plan, [target], target_secrets=secrets)
        assert "s3cret" not in json.dumps([row.target, row.payload])
        await settled()
        assert site.seen[0].headers["x-amodal-signature"].startswith("sha256=")
        row = await unit(plan, [target], target_secrets=secrets)
        other = {"targets": [{"type": "webhook", "url": site.url("/b")}]}
        automations = Automation.objects.filter(runs__deliveries=row)
        await unit(automations.update, delivery=other)
        await settled()
        await unit(row.refresh_from_db)
        assert (row.status, row.problem, len(site.seen)) == ("dead", deliveries.CHANGED, 1)
        assert await unit(deliveries.replay, row.pk)
        await settled()
        assert site.seen[1].target == "/b"
        await unit(automations.update, delivery={"targets": []})
        hidden = json.dumps({"delivery.0": {"url": site.url("/hidden")}})
        slack = await unit(plan, [{"type": "slack"}], target_secrets=hidden)
        await settled()
        await unit(slack.refresh_from_db)
        assert (slack.status, site.seen[2].target) == ("delivered", "/hidden")


@requirement("automations.delivery-retries")
async def test_what_died_while_it_was_sent_is_sent_again_and_not_for_ever() -> None:
    async with serve_site() as site:
        row = await unit(plan, [{"type": "webhook", "url": site.url("/a")}])
        assert len(await unit(deliveries.claim, 5)) == 1  # and this process dies
        assert await deliveries.send_due(5) == 0
        mine = Delivery.objects.filter(pk=row.pk)
        lapsed = F("next_try_at") - deliveries.dt.timedelta(seconds=deliveries.CLAIM_SECONDS + 1)
        await unit(mine.update, next_try_at=lapsed)
        assert await deliveries.send_due(5) == 1
        assert len(site.seen) == 1
        await unit(
            mine.update, status="pending", attempts=len(QUICK) + 1, next_try_at=datetime.now(UTC)
        )
        assert await deliveries.send_due(5) == 1
        await unit(row.refresh_from_db)
        assert (row.status, len(site.seen)) == ("dead", 1)


@requirement("automations.failure-alerts")
async def test_alerts_wait_for_their_count_and_their_cooldown() -> None:
    run = await unit(make_run, [])
    automation = run.automation
    block = {"after": 2, "cooldownMinutes": 60, "targets": [{"type": "callback"}]}
    await unit(Automation.objects.filter(pk=automation.pk).update, failure_alert=block)

    def fail(failures: int, **columns: Any) -> int:
        """How many alerts there are after a run has failed as often as that in a row."""
        mine = Automation.objects.filter(pk=automation.pk)
        FailureStreak.objects.update_or_create(
            {"failures": failures, **columns}, automation=automation, scope_id=""
        )
        failed = AutomationRun.objects.create(
            id=f"arun_{AutomationRun.objects.count()}", automation=mine.get(), cause="manual",
            status="failed", error="No.", run_id=f"run_{AutomationRun.objects.count()}",
        )  # fmt: skip
        deliveries.alert(failed)
        return Delivery.objects.filter(kind="alert").count()

    assert await unit(fail, 1) == 0
    assert await unit(fail, 2) == 1
    assert await unit(fail, 3) == 1  # within the hour
    earlier = F("last_alert_at") - deliveries.dt.timedelta(minutes=61)
    assert await unit(fail, 4, last_alert_at=earlier) == 2
    alert = await unit(Delivery.objects.filter(Q(kind="alert")).latest, "created_at")
    assert alert.payload["status"] == "failure"
    assert alert.payload["error"] == "No."
