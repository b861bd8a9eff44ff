"""Signed webhooks, some sent twice and some forged: how fast they are taken, and what has run.

Law: what ran is read off the database when all runs have ended, against what was sent.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import Counter

import msgspec

from agentsite.delivery.signing import sign_standard
from agentsite.management.bench.client import Line
from agentsite.management.bench.figures import Figures, quantiles
from agentsite.management.bench.load import PATIENCE, Plan
from agentsite.management.bench.report import WEBHOOKS
from agentsite.management.bench.stack import Stack

AT_ONCE = 20
SECRET = "whsec_" + base64.b64encode(b"known to bench alone....").decode()
FORGED = "whsec_" + base64.b64encode(b"known to nobody.........").decode()
NAME = "bench-hook"
FILE = {
    "title": "What bench sends",
    "prompt": f"{Plan(deltas=5).directive()} {{{{event}}}}",
    "mode": "async",
    "webhookAuth": {"type": "standard-webhooks", "secret": SECRET},
}
LOOK_SECONDS = 0.2


class Sent(msgspec.Struct, frozen=True):
    """One request: a delivery's id, and whether its signature is good."""

    id: str
    genuine: bool


def draw(count: int) -> list[Sent]:
    """Eight tenths that are genuine, one that comes again, one that is forged; shuffled."""
    chance = random.Random(7)  # noqa: S311 - the same each time
    tenth = count // 10
    genuine = [f"msg_{number}" for number in range(count - 2 * tenth)]
    sent = [Sent(each, genuine=True) for each in genuine]
    sent += [Sent(chance.choice(genuine), genuine=True) for _ in range(tenth)]
    sent += [Sent(f"msg_forged_{number}", genuine=False) for number in range(tenth)]
    chance.shuffle(sent)
    return sent


async def measure_webhooks(stack: Stack, figures: Figures, count: int) -> None:
    """Send `count` of them, `AT_ONCE` at a time, then wait until all runs have ended."""
    mark = f"{time.time_ns()}"
    sent = draw(count)
    left = iter(sent)
    waits: list[float] = []
    statuses: Counter[tuple[bool, int]] = Counter()

    async def post(line: Line, each: Sent) -> None:
        body = msgspec.json.encode({"delivery": f"{mark} {each.id}"})
        now = int(time.time())
        secret = SECRET if each.genuine else FORGED
        headers = {
            "webhook-id": f"{mark} {each.id}",
            "webhook-timestamp": str(now),
            "webhook-signature": sign_standard(secret, f"{mark} {each.id}", now, body),
        }
        async with asyncio.timeout(PATIENCE):
            answer = await line.ask("POST", f"/webhooks/{NAME}", body, headers)
        statuses[each.genuine, answer.status] += 1
        if each.genuine:
            waits.append(answer.whole_ms)

    async def talk() -> None:
        line = await Line.open(stack.url)
        for each in left:
            await post(line, each)
        line.close()

    began = time.perf_counter()
    await asyncio.gather(*(talk() for _ in range(AT_ONCE)))
    taken = time.perf_counter() - began
    await asyncio.to_thread(_await_ends, stack)
    ran = time.perf_counter() - began
    runs = await asyncio.to_thread(_count_runs, stack, mark)
    wanted = {f"{mark} {each.id}" for each in sent if each.genuine}
    wrong = sum(runs[name] != 1 for name in wanted) + sum(name not in wanted for name in runs)
    refused = {key: number for key, number in statuses.items() if key[1] != 202}
    wrong += sum(number for key, number in refused.items() if key != (False, 401))
    figures.add(
        WEBHOOKS,
        f"{count:,} webhooks",
        distinct=len(wanted),
        wrong=wrong,
        **{"taken/s": count / taken, "all run after s": ran},
        **quantiles(waits),
    )


def _await_ends(stack: Stack) -> None:
    """Until no run is open any more."""
    open_runs = (
        "SELECT 1 FROM automations_app_automationrun"
        " WHERE status IN ('queued', 'running', 'waiting') LIMIT 1"
    )
    while _ask(stack, open_runs):
        time.sleep(LOOK_SECONDS)


def _count_runs(stack: Stack, mark: str) -> Counter[str]:
    """Runs that succeeded, by what was sent."""
    rows = _ask(
        stack,
        "SELECT i.sender_id FROM automations_app_automationrun r"
        " JOIN automations_app_inbounddelivery i ON i.id = r.inbound_id"
        " WHERE r.status = 'success'",
    )
    return Counter(name for (name,) in rows if name.startswith(mark))


def _ask(stack: Stack, sql: str) -> list[tuple[str, ...]]:
    with stack.connect() as connection:
        return connection.execute(sql.encode()).fetchall()
