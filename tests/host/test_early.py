"""A first message's model is asked while the database commits; nothing else may precede that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from tests.folding import assert_folds
from tests.lab import Lab, plan
from tests.requirements import requirement
from tests.wire_client import Client

LOCK = 4711
ROWS = (
    "SELECT (SELECT count(*) FROM sessions_app_session), (SELECT count(*) FROM sessions_app_run),"
    " (SELECT count(*) FROM sessions_app_message),"
    " (SELECT count(DISTINCT session_id) FROM sessions_app_eventbatch),"
    " (SELECT count(*) FROM sessions_app_modelcall WHERE purpose = 'main')"
)
SLOW = {"deltas": 20, "chars": 5, "rate": 50}


def hold_up_commits(lab: Lab, then: str) -> None:
    """Let every new session be committed only while nobody holds the lock, and `then`."""
    lab.change(f"SELECT pg_advisory_lock({LOCK})")
    lab.change(
        "CREATE FUNCTION await_lock() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); {then} RETURN NULL; END $$"
    )
    lab.change(
        "CREATE CONSTRAINT TRIGGER await_lock AFTER INSERT ON sessions_app_session"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION await_lock()"
    )


def let_commit(lab: Lab) -> None:
    lab.change(f"SELECT pg_advisory_unlock({LOCK})")


async def begin(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, known: bool, then: str
) -> tuple[Lab, Client]:
    """A laboratory whose commits are held up, and a client of its server.

    Of a scope that is `known` nothing has to be read: its transactions take one trip.
    """
    lab = lone_lab()
    server = lab.start()
    await asyncio.to_thread(server.wait_ready)
    client = Client(http, server.url)
    if known:
        await client.talk("Hello")
        await lab.fake.wait_until(lambda fake: len(fake.requests) == 2)  # its title, too
    await asyncio.to_thread(hold_up_commits, lab, then)
    lab.fake.fake.requests.clear()
    return lab, client


@requirement("runs.committed-first")
@pytest.mark.parametrize("known", [False, True])
async def test_an_answer_waits_for_the_commit_of_its_question(
    known: bool, lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab, client = await begin(lone_lab, http, known, "")
    before = lab.query("SELECT count(*) FROM sessions_app_session")
    talking = asyncio.create_task(client.talk(plan(SLOW, say="Early.")))
    # Its last word has come from the model, and nobody has heard the first.
    await lab.fake.wait_until(lambda fake: bool(fake.requests) and fake.open_streams == 0)
    assert not talking.done()
    assert lab.query("SELECT count(*) FROM sessions_app_session") == before
    let_commit(lab)
    stream = await talking
    assert stream.reason == "model_stop"
    await assert_folds(client, lab, stream.session_id)


@requirement("runs.committed-first")
@pytest.mark.parametrize("known", [False, True])
async def test_an_answer_to_what_was_not_committed_is_thrown_away(
    known: bool, lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab, client = await begin(lone_lab, http, known, "RAISE EXCEPTION 'no room';")
    before = lab.query(ROWS)
    asking = asyncio.create_task(
        client.post("/chat/stream", client.body(plan({**SLOW, "deltas": 10_000}, say="Lost.")))
    )
    await lab.fake.wait_until(lambda fake: fake.open_streams == 1)
    let_commit(lab)
    reply = await asking
    assert (reply.status, reply.json["error"]["code"]) == (500, "internal")
    await lab.fake.wait_until(lambda fake: fake.open_streams == 0)  # the vendor is hung up on
    assert lab.query(ROWS) == before

    lab.change("DROP TRIGGER await_lock ON sessions_app_session")
    stream = await client.talk(plan(SLOW, say="Kept."))
    assert stream.reason == "model_stop"
    await assert_folds(client, lab, stream.session_id)
