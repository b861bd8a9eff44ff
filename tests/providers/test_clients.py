"""Clients are shared, bounded, never closed in use, and all closed in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentsite.providers import clients


class Client:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


async def borrow(name: str, made: list[Client]) -> Client:
    async with clients.lease(name, make(made)) as client:
        borrowed: Client = client
        return borrowed


def make(made: list[Client]) -> Any:
    async def build() -> tuple[Client, Any]:
        client = Client()
        made.append(client)
        return client, client.close

    return build


async def test_a_client_is_built_once_per_name(closing_clients: None) -> None:
    made: list[Client] = []
    assert await borrow("a", made) is await borrow("a", made)
    assert await borrow("b", made) is made[1]


async def test_the_cache_is_bounded_and_spares_those_in_use(closing_clients: None) -> None:
    made: list[Client] = []
    async with clients.lease("held", make(made)):
        for number in range(clients.MOST_CLIENTS + 5):
            await borrow(f"c{number}", made)
        assert not made[0].closed
        assert sum(not client.closed for client in made) <= clients.MOST_CLIENTS + 1


async def test_many_that_want_a_new_client_make_it_once_and_it_is_closed() -> None:
    made: list[Client] = []
    gate = asyncio.Event()

    async def build() -> tuple[Client, Any]:
        await gate.wait()
        return await make(made)()

    async def borrow_slowly() -> Client:
        async with clients.lease("slow", build) as client:
            borrowed: Client = client
            return borrowed

    waiting = [asyncio.create_task(borrow_slowly()) for _ in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(clients.close_clients())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert {id(client) for client in await asyncio.gather(*waiting)} == {id(made[0])}
    assert len(made) == 1 and made[0].closed


async def test_what_could_not_be_made_is_tried_again(closing_clients: None) -> None:
    made: list[Client] = []

    async def fail() -> tuple[Client, Any]:
        raise OSError("no certificates")

    with pytest.raises(OSError, match="certificates"):
        async with clients.lease("a", fail):
            pass
    assert await borrow("a", made) is made[0]


async def test_all_are_closed_in_the_end() -> None:
    made: list[Client] = []
    await borrow("x", made)
    await clients.close_clients()
    assert made[0].closed
    await borrow("x", made)
    assert len(made) == 2
    await clients.close_clients()


def test_names_do_not_give_keys_away() -> None:
    name = clients.digest("anthropic", None, "sk-secret")
    assert "secret" not in name
    assert name != clients.digest("anthropic", "sk-secret", None)
