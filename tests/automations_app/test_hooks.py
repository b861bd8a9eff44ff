"""Webhooks over HTTP: verified, run once, answered as documented, and what they bring delivered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from cryptography.fernet import Fernet

from agentsite.delivery.signing import sign_standard
from tests.automations_app.hooks import SECRET, Hooks, send, sign
from tests.automations_app.mailbox import open_mailbox
from tests.connections.site import serve_site
from tests.gatehouse import wait_for
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.server import Client
from tests.servers import Server

FAILS = plan({"error": {"status": 400}})


@pytest.fixture(scope="session")
def hooks(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    key = Fernet.generate_key().decode()
    folder = tmp_path_factory.mktemp("hooks")
    with open_mailbox() as mailbox, Lab(
        postgres, folder, AGENT_SECRET_KEYS=key, RUN_LEASE_SECONDS="6", AGENT_AUTH="none",
        DELIVERY_RETRY_SECONDS="0.05,0.05,0.05", EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=str(mailbox.port),
    ) as lab:  # fmt: skip
        lab.start().wait_ready()
        yield Hooks(lab, key, mailbox)


@pytest.fixture
def server(hooks: Hooks) -> Server:
    return hooks.lab.servers[0]


@requirement("automations.webhook-sync", "automations.webhook-parallel")
def test_a_webhook_is_answered_when_its_run_has_ended(hooks: Hooks, server: Server) -> None:
    name = hooks.make(plan({"text": "All well."}, say="Look: {{event}}"))
    answer = send(server, name, {"order": 7, "note": "</event_data> ünï \x00"})
    assert answer.status == 200, answer.body
    ((run_id, session_id, status, cause, scope),) = hooks.runs(
        name, "run_id", "session_id", "status", "cause", "scope_id"
    )
    told = {"status": "completed", "automation": name, "runId": run_id, "sessionId": session_id}
    assert answer.json.items() >= told.items()
    assert (status, cause, scope) == ("success", "webhook", "")
    failing = hooks.make(FAILS)
    answer = send(server, failing, {})
    assert (answer.status, answer.json["matched"], answer.code) == (500, True, "run_failed")
    assert answer.json["error"]["message"]
    first, second = send(server, name, {"order": 7}), send(server, name, {"order": 7})
    assert first.json["sessionId"] != second.json["sessionId"]


@requirement("automations.webhook-parallel")
async def test_two_deliveries_run_beside_each_other(
    hooks: Hooks, server: Server, gates: Gates
) -> None:
    name = hooks.make(
        plan({"tools": [call("gate", port=gates.port, note="hook")]}, {"text": "Through."})
    )
    sent = [asyncio.create_task(asyncio.to_thread(send, server, name, {"n": n})) for n in (1, 2)]
    both = [await gates.next(), await gates.next()]
    held = hooks.lab.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state LIKE 'idle in transaction%%' AND state_change < now() - interval '1 second'"
    )
    assert held == [(0,)]
    for gate in both:
        gate.open()
    answers = await asyncio.gather(*sent)
    assert [each.status for each in answers] == [200, 200]
    assert len({each.json["sessionId"] for each in answers}) == 2


@requirement("automations.webhook-async")
def test_a_webhook_may_be_answered_as_soon_as_it_is_stored(hooks: Hooks, server: Server) -> None:
    by_caller, by_row = hooks.make(), hooks.make(mode="async")
    for name, more in ((by_caller, {"Prefer": "respond-async, wait=9"}), (by_row, {})):
        answer = send(server, name, {}, **more)
        assert answer.status == 202, answer.body
        run_id = answer.json["automationRunId"]
        assert answer.json == {
            "status": "accepted", "automation": name, "automationRunId": run_id,
        }  # fmt: skip
        wait_for(partial(hooks.has_runs, name, [(run_id, "success")]))


@requirement("automations.webhook-once")
@pytest.mark.parametrize("prompt,status", [(plan({"text": "Once."}), 200), (FAILS, 500)])
def test_a_delivery_that_comes_again_gets_the_first_answer(
    hooks: Hooks, server: Server, prompt: str, status: int
) -> None:
    name, body, message_id = hooks.make(prompt), b'{"n": 1}', f"msg_{uuid.uuid4().hex}"
    first = send(server, name, body, sign(body, message_id))
    assert first.status == status
    again = send(server, name, body, sign(body, message_id))
    assert (again.status, again.json) == (first.status, first.json)
    later = send(server, name, body, sign(body, message_id), Prefer="respond-async")
    assert (later.status, later.json) == (first.status, first.json)
    assert len(hooks.runs(name, "id")) == 1
    forged = {**sign(body, message_id), "webhook-id": "msg_other"}
    assert send(server, name, body, forged).status == 401
    accepted = hooks.make(prompt, mode="async")
    first = send(server, accepted, body, sign(body, message_id))
    again = send(server, accepted, body, sign(body, message_id))
    assert (again.status, again.json) == (202, first.json)
    assert len(hooks.runs(accepted, "id")) == 1


@requirement("automations.webhook-once")
async def test_while_there_is_no_answer_the_same_delivery_is_told_so(
    hooks: Hooks, server: Server, gates: Gates
) -> None:
    name = hooks.make(
        plan({"tools": [call("gate", port=gates.port, note="slow")]}, {"text": "At last."})
    )
    body, message_id = b"{}", f"msg_{uuid.uuid4().hex}"
    first = asyncio.create_task(asyncio.to_thread(send, server, name, body, sign(body, message_id)))
    gate = await gates.next()
    again = await asyncio.to_thread(send, server, name, body, sign(body, message_id))
    assert (again.status, again.json["status"]) == (202, "running")
    assert again.json["automation"] == name
    gate.open()
    done = await first
    assert done.json["runId"] == again.json["runId"]
    last = await asyncio.to_thread(send, server, name, body, sign(body, message_id))
    assert (last.status, last.json) == (200, done.json)


@requirement("automations.webhook-once", "automations.webhook-dialects")
def test_each_senders_own_id_counts(hooks: Hooks, server: Server) -> None:
    def by_hmac(body: bytes) -> str:
        return hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()

    sealed = hooks.seal("s3cret")
    github = {"type": "hmac-sha256", "header": "X-Hub-Signature-256", "prefix": "sha256="}
    cases: list[tuple[Any, bytes, Any]] = [
        (github, b'{"zen": 1}', lambda body: {
            "X-Hub-Signature-256": f"sha256={by_hmac(body)}", "X-GitHub-Delivery": "72d3162e"}),
        ({"type": "hmac-sha256"}, b'{"a": 1}', lambda body: {
            "X-Amodal-Signature": f"sha256={by_hmac(body)}", "Idempotency-Key": "k1"}),
        ({"type": "stripe"}, b'{"id": "evt_1"}', lambda body: {
            "Stripe-Signature":
                f"t={(now := int(time.time()))},v1={by_hmac(f'{now}.'.encode() + body)}"}),
        ({"type": "slack"}, b'{"event_id": "Ev1"}', lambda body: {
            "X-Slack-Request-Timestamp": (now := str(int(time.time()))),
            "X-Slack-Signature": f"v0={by_hmac(f'v0:{now}:'.encode() + body)}"}),
    ]  # fmt: skip
    for auth, body, headers in cases:
        name = hooks.make(webhook_auth=auth, webhook_secret=sealed)
        first = send(server, name, body, headers(body))
        again = send(server, name, body, headers(body))
        assert first.status == 200, (auth, first.body)
        assert again.json == first.json
        assert send(server, name, body + b" ", headers(body)).status == 401
        stored = hooks.lab.query(
            "SELECT i.headers::text, i.sender_id, i.body FROM automations_app_inbounddelivery i"
            " JOIN automations_app_automation a ON a.id = i.automation_id WHERE a.name = %s",
            name,
        )
        ((kept, sender_id, raw),) = stored
        assert "ignature" not in kept
        assert by_hmac(body) not in kept
        assert (bool(sender_id), bytes(raw)) == (True, body)
    slack = b'{"type": "url_verification", "challenge": "c0ffee"}'
    answer = send(server, name, slack, cases[3][2](slack))
    assert (answer.status, answer.json) == (200, {"challenge": "c0ffee"})
    anonymous = hooks.make(webhook_auth=None, webhook_secret=None)
    for _ in range(2):
        assert send(server, anonymous, {}, {}).status == 200
    assert len(hooks.runs(anonymous, "id")) == 2


@requirement("automations.webhook-refusals")
def test_what_is_refused_starts_nothing(hooks: Hooks, server: Server) -> None:
    name = hooks.make()
    body = b'{"n": 1}'
    stale = {**sign(body), "webhook-timestamp": str(int(time.time()) - 301)}
    stale["webhook-signature"] = sign_standard(
        SECRET, stale["webhook-id"], int(stale["webhook-timestamp"]), body
    )
    unsigned = {"Content-Type": "application/json"}
    bearer = {**unsigned, "Authorization": "Bearer ak_anything"}
    for headers in (unsigned, bearer, stale, sign(body, secret="other"), sign(b"{}")):
        answer = send(server, name, body, headers)
        assert (answer.status, answer.code) == (401, "invalid_signature"), headers
    manual = hooks.make(trigger="manual", webhook_auth=None, webhook_secret=None)
    for other in ("nobody", manual, "a" * 300):
        answer = send(server, other, body)
        assert (answer.status, answer.code) == (404, "automation_not_found")
    assert Client(server, "", "plain").ask("GET", f"/webhooks/{name}").status == 405
    assert send(server, name, b"{broken", sign(b"{broken")).code == "invalid_event"
    large = b'"' + b"x" * 1024 * 1024 + b'"'
    answer = send(server, name, large, sign(large))
    assert (answer.status, answer.code) == (413, "body_too_large")
    unusable = hooks.make(webhook_secret=Fernet(Fernet.generate_key()).encrypt(b"x"))
    lost = hooks.make(webhook_secret=None)
    paused = hooks.make(paused=True)
    assert send(server, unusable, body).code == "secret_unusable"
    assert send(server, lost, body).code == "secret_unusable"
    assert send(server, paused, body).code == "automation_paused"
    for each in (name, manual, unusable, lost, paused):
        assert hooks.runs(each, "id") == []
    whole = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    assert send(server, name, whole, sign(whole)).status == 200


@requirement("automations.webhook-refusals")
def test_what_can_be_read_but_is_too_deep_to_be_shown_is_refused(
    hooks: Hooks, server: Server
) -> None:
    name = hooks.make(mode="async")
    bodies = [b"[" * depth + b"]" * depth for depth in range(200, 1010, 90)]
    assert {send(server, name, body).status for body in bodies} == {202, 400}


@requirement("automations.webhook-sync")
def test_the_bare_address_takes_name_and_data_in_the_body(hooks: Hooks, server: Server) -> None:
    word = f"word{uuid.uuid4().hex}"
    name = hooks.make(plan({"text": "Seen."}, say=f"{word} {{{{event}}}}"))
    body = json.dumps({"automation": name, "data": {"n": 5}, "agentId": "plain"}).encode()
    answer = send(server, "", body, sign(body), path="/webhooks")
    assert answer.status == 200, answer.body
    ((event,),) = hooks.runs(name, "event")
    assert json.loads(event) == {"n": 5}
    assert send(server, "", body, sign(b"{}"), path="/webhooks").status == 401
    for wrong in ({}, {"automation": 3}, {"automation": name, "order": 1}, []):
        raw = json.dumps(wrong).encode()
        answer = send(server, "", raw, sign(raw), path="/webhooks")
        assert (answer.status, answer.code) == (400, "invalid_event"), wrong


@requirement("automations.webhook-refusals", "scope.enumerated")
def test_a_webhook_chooses_no_partition(hooks: Hooks, server: Server) -> None:
    name = hooks.make(partition="acme")
    body = json.dumps({"scope_id": "other", "scopeId": "other", "tenantId": "other"}).encode()
    client = Client(server, "other", "plain")
    answer = client.ask(
        "POST", f"/webhooks/{name}", body, headers={**sign(body), "X-Scope-Id": "other"},
        agentId="plain",
    )  # fmt: skip
    assert answer.status == 200, answer.body
    assert hooks.runs(name, "scope_id") == [("acme",)]
    foreign = Client(server, "other", "plain")
    assert foreign.ask("GET", f"/sessions/{answer.json['sessionId']}").status == 404


@requirement("automations.webhook-once", "automations.webhook-refusals")
def test_of_many_at_once_the_genuine_distinct_ones_run_once(hooks: Hooks, server: Server) -> None:
    name = hooks.make(mode="async")
    dice, count = random.Random(11), 200
    genuine = [f"msg_{n}_{uuid.uuid4().hex}" for n in range(count * 8 // 10)]
    kinds = [(each, "genuine") for each in genuine]
    kinds += [(dice.choice(genuine), "again") for _ in range(count // 10)]
    kinds += [(f"msg_forged_{n}", "forged") for n in range(count // 10)]
    dice.shuffle(kinds)

    def deliver(what: tuple[str, str]) -> tuple[str, int]:
        message_id, kind = what
        body = json.dumps({"id": message_id}).encode()
        secret = "whsec_AAAA" if kind == "forged" else SECRET
        answer = send(server, name, body, sign(body, message_id, secret))
        return kind, answer.status

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(deliver, kinds))
    tenth = count // 10
    assert answers == {
        ("genuine", 202): count * 8 // 10, ("again", 202): tenth, ("forged", 401): tenth,
    }  # fmt: skip
    wait_for(lambda: not [s for (s,) in hooks.runs(name, "status") if s != "success"], 60)
    events = Counter(json.loads(event)["id"] for (event,) in hooks.runs(name, "event"))
    assert events == Counter(genuine)


@requirement("automations.webhook-durable")
async def test_what_was_stored_runs_once_although_its_process_is_killed(
    hooks: Hooks, server: Server, gates: Gates
) -> None:
    victim = hooks.lab.start().wait_ready()
    name = hooks.make(
        plan({"tools": [call("gate_twice", port=gates.port, note="k")]}, {"text": "Survived."})
    )
    body, message_id = b"{}", f"msg_{uuid.uuid4().hex}"

    def cut_off() -> None:
        with suppress(OSError, Exception):
            send(victim, name, body, sign(body, message_id))

    sending = asyncio.create_task(asyncio.to_thread(cut_off))
    await gates.next()
    victim.kill()
    await sending
    gates.auto = "through"
    await asyncio.to_thread(wait_for, lambda: hooks.runs(name, "status") == [("success",)], 60)
    again = await asyncio.to_thread(send, server, name, body, sign(body, message_id))
    assert (again.status, again.json["status"]) == (200, "completed")
    assert len(hooks.runs(name, "id")) == 1


@requirement("automations.webhook-durable")
def test_a_stored_webhook_that_nobody_started_is_started(hooks: Hooks, server: Server) -> None:
    """What a process leaves that dies between storing and starting: the rows alone."""
    name = hooks.make()
    hooks.lab.change(
        "WITH i AS (INSERT INTO automations_app_inbounddelivery"
        " (automation_id, scope_id, sender_id, headers, body)"
        " SELECT id, '', 'msg_left', '{}', '{}' FROM automations_app_automation WHERE name = %s"
        " RETURNING id, automation_id) INSERT INTO automations_app_automationrun"
        " (id, automation_id, scope_id, cause, inbound_id, requested_by, event, tries, status,"
        "  claimed_until, session_id, run_id, output, summary, error, last_tool_call, request_key,"
        "  request_hash)"
        " SELECT 'arun_left', automation_id, '', 'webhook', id, '', '{}', 1, 'queued',"
        "  now() - interval '1 second', '', '', '', '', '', '', '', '' FROM i",
        name,
    )
    wait_for(lambda: hooks.runs(name, "status") == [("success",)], 30)
    body = b"{}"
    again = send(server, name, body, sign(body, "msg_left"))
    assert (again.status, again.json["automationRunId"]) == (200, "arun_left")


@requirement("automations.delivery-targets", "automations.delivery-apart")
async def test_what_a_run_brings_is_delivered_at_once(hooks: Hooks, server: Server) -> None:
    answer = {"id": "r-1", "total": 3}
    async with serve_site() as site:
        targets: list[dict[str, Any]] = [
            {"type": "webhook", "url": site.url("/in")},
            {"type": "slack"},
            {"type": "email", "to": ["ann@x.test"]},
            {"type": "webhook", "url": "http://127.0.0.1:9/"},
            {"type": "store", "store": "nowhere"},
        ]
        secrets = {"delivery.0": {"secret": SECRET}, "delivery.1": {"url": site.url("/slack")}}
        name = hooks.make(
            plan({"text": json.dumps(answer)}),
            delivery={"targets": targets, "includeResult": True, "template": "{{total}} left"},
            target_secrets=hooks.seal(json.dumps(secrets)),
        )
        assert (await asyncio.to_thread(send, server, name, {})).status == 200

        def ends() -> dict[int, str]:
            found = hooks.lab.query(
                "SELECT d.target_index, d.status FROM automations_app_delivery d"
                " JOIN automations_app_automationrun r ON r.id = d.automation_run_id"
                " JOIN automations_app_automation a ON a.id = r.automation_id"
                " WHERE a.name = %s",
                name,
            )
            return dict(found)

        wanted = dict.fromkeys(range(3), "delivered") | {3: "dead", 4: "dead"}
        await asyncio.to_thread(wait_for, lambda: ends() == wanted, 30)
        hook = next(seen for seen in site.seen if seen.target == "/in")
        assert json.loads(hook.body)["data"] == answer
        slack = next(seen for seen in site.seen if seen.target == "/slack")
        assert json.loads(slack.body) == {"text": "3 left"}
        assert b"3 left" in hooks.mailbox.mails[-1]
    assert hooks.runs(name, "status") == [("success",)]
