"""A first message's model is asked while the database commits; nothing else may precede that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from tests.folding import assert_folds
from tests.lab import Lab, plan
from tests.requirements import requirement
from tests.wire_client import Client

LOCK = 4711
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


async def begin(lone_lab: Callable[..., Lab], then: str) -> tuple[Lab, str]:
    """A laboratory whose commits are held up, and its server's address."""
    lab = lone_lab()
    server = lab.start()
    await asyncio.to_thread(server.wait_ready)
    await asyncio.to_thread(hold_up_commits, lab, then)
    return lab, server.url


@requirement("runs.committed-first")
async def test_an_answer_waits_for_the_commit_of_its_question(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab, url = await begin(lone_lab, "")
    client = Client(http, url)
    talking = asyncio.create_task(client.talk(plan(SLOW, say="Early.")))
    # Its last word has come from the model, and nobody has heard the first.
    await lab.fake.wait_until(lambda fake: bool(fake.requests) and fake.open_streams == 0)
    assert not talking.done()
    assert lab.query("SELECT 1 FROM sessions_app_session") == []
    let_commit(lab)
    stream = await talking
    assert stream.reason == "model_stop"
    await assert_folds(client, lab, stream.session_id)


@requirement("runs.committed-first")
async def test_an_answer_to_what_was_not_committed_is_thrown_away(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab, url = await begin(lone_lab, "RAISE EXCEPTION 'no room';")
    client = Client(http, url)
    asking = asyncio.create_task(
        client.post("/chat/stream", client.body(plan({**SLOW, "deltas": 10_000}, say="Lost.")))
    )
    await lab.fake.wait_until(lambda fake: fake.open_streams == 1)
    let_commit(lab)
    reply = await asking
    assert (reply.status, reply.json["error"]["code"]) == (500, "internal")
    await lab.fake.wait_until(lambda fake: fake.open_streams == 0)  # the vendor is hung up on
    assert (
        lab.query(
            "SELECT 1 FROM sessions_app_session UNION ALL SELECT 1 FROM sessions_app_run"
            " UNION ALL SELECT 1 FROM sessions_app_message UNION ALL SELECT 1 FROM"
            " sessions_app_eventbatch UNION ALL SELECT 1 FROM sessions_app_modelcall"
        )
        == []
    )

    lab.change("DROP TRIGGER await_lock ON sessions_app_session")
    stream = await client.talk(plan(SLOW, say="Kept."))
    assert stream.reason == "model_stop"
    await assert_folds(client, lab, stream.session_id)
