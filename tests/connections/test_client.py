"""The guarded client against real servers on loopback."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator

import httpx2
import pytest

from agentsite.connections import addresses
from agentsite.connections.addresses import Verdict
from agentsite.connections.client import GuardedClient, Outbound
from agentsite.connections.errors import RateLimited, Refused, TimedOut, TooLarge
from agentsite.connections.rates import Rate
from agentsite.connections.targets import Origin, Target
from agentsite.connections.transport import GuardedTransport
from tests.connections.site import Site, drip, hang, redirect, send_bomb, serve_site, set_cookie
from tests.requirements import requirement

PUBLIC = "127.0.0.2"
"""Counts as public here."""


def judge(address: str) -> Verdict:
    return "public" if address == PUBLIC else addresses.judge(address)


class Names:
    """A name server that can change its mind."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): value for name, value in answers.items()}
        self.asked: list[str] = []

    async def look_up(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        return self.answers[host]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site(hang=hang, drip=drip, cookie=set_cookie, bomb=send_bomb(60)) as site:
        yield site


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    client = GuardedClient()
    yield client
    await client.close()


def name(site: Site, host: str = "127.0.0.1") -> frozenset[Origin]:
    return frozenset((Origin(host, site.port),))


async def test_reaches_a_private_host_only_where_a_file_names_it(
    site: Site, client: GuardedClient
) -> None:
    with pytest.raises(Refused, match="private address"):
        await client.send(Outbound(url=site.url("/a")))
    with pytest.raises(Refused):  # another port of the named host
        elsewhere = frozenset((Origin("127.0.0.1", site.port + 1),))
        await client.send(Outbound(url=site.url("/a"), named=elsewhere))
    answer = await client.send(Outbound(url=site.url("/a"), named=name(site)))
    assert (answer.status, len(site.seen)) == (200, 1)
    with pytest.raises(Refused):  # the open connection is not lent to those who may not
        await client.send(Outbound(url=site.url("/a")))


@requirement("agent.outbound")
async def test_judges_the_address_that_it_connects_to(site: Site) -> None:
    async with serve_site(PUBLIC) as other:
        names = Names(rebind_test=[PUBLIC], both_test=[PUBLIC, "127.0.0.1"])
        client = GuardedClient(names.look_up, judge)
        with pytest.raises(Refused):
            await client.send(Outbound(url=other.url(host="both.test")))
        request = Outbound(url=other.url(host="rebind.test"))
        assert (await client.send(request)).status == 200
        names.answers["rebind.test"] = ["127.0.0.1"]
        with pytest.raises(Refused):
            await client.send(Outbound(url=site.url(host="rebind.test")))
        assert (await client.send(request)).status == 200  # pinned: the same connection
        assert names.asked == ["both.test", "rebind.test", "rebind.test"]
        await client.close()
    assert not site.seen


async def test_a_name_may_lead_to_a_private_address_where_it_is_named(site: Site) -> None:
    names = Names(api_test=["127.0.0.1"], cloud_test=["169.254.169.254"])
    client = GuardedClient(names.look_up)
    url = site.url("/x", host="api.test")
    assert (await client.send(Outbound(url=url, named=name(site, "api.test")))).status == 200
    assert site.seen[0].headers["host"] == f"api.test:{site.port}"
    with pytest.raises(Refused):
        named = name(site, "cloud.test")
        await client.send(Outbound(url=site.url(host="cloud.test"), named=named))
    await client.close()


async def test_redirects_are_checked_hop_by_hop(site: Site, client: GuardedClient) -> None:
    async with serve_site() as other:
        site.pages["/away"] = redirect(other.url("/x"))
        site.pages["/home"] = redirect("/there?y=1")
        site.pages["/round"] = redirect("/round")
        site.pages["/odd"] = redirect("http://a@127.0.0.1/")
        site.pages["/file"] = redirect("file:///etc/passwd")
        headers = {"Authorization": "Bearer t", "X-Key": "k", "Accept": "a/b"}
        both = name(site) | name(other)
        with pytest.raises(Refused):  # named for this connection, but reached by a redirect
            await client.send(Outbound(url=site.url("/away"), headers=headers, named=both))
        assert not other.seen
        answer = await client.send(
            Outbound(url=site.url("/home"), headers=headers, named=name(site))
        )
        assert answer.url.path == "/there"
        assert site.seen[-1].headers["authorization"] == "Bearer t"
        answer = await client.send(Outbound(url=site.url("/round"), named=name(site)))
        assert answer.status == 302
        for odd in ("/odd", "/file"):
            with pytest.raises(Refused):
                await client.send(Outbound(url=site.url(odd), named=name(site)))
        posted = Outbound(url=site.url("/home"), method="POST", named=name(site))
        assert (await client.send(posted)).status == 302

        def refuse(target: Target) -> None:
            raise Refused(target.path)

        with pytest.raises(Refused, match="/there"):
            await client.send(Outbound(url=site.url("/home"), named=name(site), check=refuse))


async def test_credentials_stay_at_their_origin(site: Site) -> None:
    async with serve_site(PUBLIC) as other:
        site.pages["/away"] = redirect(other.url("/x"))
        client = GuardedClient(judge=judge)
        headers = {"Authorization": "Bearer t", "Cookie": "c=1", "X-Key": "k", "Accept": "a/b"}
        await client.send(Outbound(url=site.url("/away"), headers=headers, named=name(site)))
        assert site.seen[0].headers["x-key"] == "k"
        told = set(other.seen[0].headers) - {"host", "user-agent", "accept-encoding"}
        assert told == {"accept"}
        await client.close()


async def test_time_and_size_are_bounded(site: Site, client: GuardedClient) -> None:
    named = name(site)
    for path in ("/hang", "/drip"):
        with pytest.raises(TimedOut, match=r"0\.2 seconds"):
            await client.send(Outbound(url=site.url(path), named=named, seconds=0.2))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await client.send(Outbound(url=site.url("/bomb"), named=named, max_bytes=100_000))
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    cut = Outbound(url=site.url("/bomb"), named=named, max_bytes=1_000, cut=True)
    answer = await client.send(cut)
    assert (len(answer.body), answer.cut) == (1_000, True)


async def test_keeps_no_cookies_and_takes_no_proxy(site: Site) -> None:
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = "http://127.0.0.1:1"
    try:
        client = GuardedClient()
        for _ in range(2):
            await client.send(Outbound(url=site.url("/cookie"), named=name(site)))
        assert "cookie" not in site.seen[1].headers
        assert site.seen[0].peer == site.seen[1].peer  # one pooled connection
        await client.close()
    finally:
        del os.environ["HTTP_PROXY"], os.environ["http_proxy"]


async def test_rates_hold_per_host(site: Site, client: GuardedClient) -> None:
    request = Outbound(url=site.url(), named=name(site), rate=Rate("fetch", 2, 60))
    await asyncio.gather(client.send(request), client.send(request))
    with pytest.raises(RateLimited, match="ask again in 60 s"):
        await client.send(request)
    assert len(site.seen) == 2


async def test_guards_the_transport_of_other_clients(site: Site) -> None:
    site.pages["/meta"] = redirect("http://169.254.169.254/latest")
    transport = GuardedTransport(name(site))
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        assert (await client.get(site.url("/a"))).status_code == 200
        with pytest.raises(httpx2.ConnectError, match="private address"):
            await client.get(site.url("/meta"), follow_redirects=True)
    async with httpx2.AsyncClient(transport=GuardedTransport(frozenset())) as client:
        for url in (site.url(), "http://localhost:1/", "http://0x7f.1/"):
            with pytest.raises(httpx2.ConnectError):
                await client.get(url)
