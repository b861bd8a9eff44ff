"""Attempts to make this server reach what is not on the public web: none may pass."""
# ruff: noqa: RUF001 - letters that look like others are what is tried here

from __future__ import annotations

from contextlib import suppress

import pytest

from agentsite.connections.addresses import judge
from agentsite.connections.client import GuardedClient, Outbound
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.targets import Origin, parse_target
from tests.connections.site import redirect, serve_site
from tests.requirements import requirement

PRIVATE = """
127.0.0.1 127.1.2.3 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
169.254.1.1 100.64.0.1 100.127.255.255 192.0.0.1 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 192.88.99.1 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 ::127.0.0.1
64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: 2001:db8::1
fc00::1 fd12:3456::1 fe80::1 fec0::1 100::1 3fff::1 2001:2::1 5f00::1 2620:4f:8000::1
""".split()  # noqa: SIM905 - a table
NEVER = """
169.254.169.254 169.254.170.2 169.254.169.253 100.100.100.200 192.0.0.192 168.63.129.16 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 ff02::1 fd00:ec2::254 fd20:ce::254
2001:0:7f00:1:: ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: ::ffff:0:169.254.169.254
""".split()  # noqa: SIM905 - a table
PUBLIC = """
1.1.1.1 8.8.8.8 172.32.0.1 100.128.0.1 2606:4700::1111 2a00:1450::1 64:ff9b::101:101
""".split()  # noqa: SIM905 - a table
ODD = (
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://127.0.0.01/",
    "http://127.0.0.1.",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://ⓛocalhost/",
    "http://localhost%00.example.com/",
    "http://127.0.0.1%2f@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://user:pass@example.com/",
    "http://@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "//127.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[0:0:0:0:0:ffff:7f00:1]/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:８０/",
    "http://127.0.0.1\t/",
    " http://127.0.0.1/",
    "http://127.0.0.1\r\nHost: example.com/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.google.internal./",
    "http://metadata/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://instance-data/",
    "https://169.254.169.254/",
    "http://0/",
    "http://0.0.0.0:1/",
    "http://./",
    "http://-/",
    "http://a..b/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/",
    "jar:http://127.0.0.1/",
    "data:text/html,x",
    "unix:///var/run/docker.sock",
    "http+unix://x/",
    "javascript:alert(1)",
    "",
    "http://" + "a" * 9_000,
)
REDIRECTS = (
    "http://169.254.169.254/latest",
    "http://127.0.0.1:22/",
    "//127.0.0.1:22/",
    "///127.0.0.1:22/",
    "/\\127.0.0.1:22/",
    "http:\\\\127.0.0.1:22",
    "http://[::1]:22/",
    "http://0x7f.1/",
    "http://a@127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
)


async def look_up(host: str, _port: int) -> list[str]:
    """Names of loopback, and one whose answer holds a private address among public ones."""
    return {"localhost": ["127.0.0.1", "::1"], "mixed.test": ["1.1.1.1", "10.0.0.1"]}[host]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known(address: str) -> None:
    assert judge(address) == "private"


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_nobody_may_name_are_known(address: str) -> None:
    assert judge(address) == "never"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_known(address: str) -> None:
    assert judge(address) == "public"


@requirement("agent.ssrf")
async def test_nothing_gets_past_the_guard() -> None:
    attempts = [*ODD, "http://mixed.test/"]
    attempts += [f"http://{f'[{a}]' if ':' in a else a}/" for a in (*PRIVATE, *NEVER)]
    assert len(attempts) >= 120
    passed = []
    client = GuardedClient(look_up)
    for url in attempts:
        try:
            await client.send(Outbound(url=url, seconds=2))
            passed.append(url)
        except Refused:
            pass
        except OutboundError as error:  # it was about to connect
            passed.append(f"{url}: {error}")
    assert passed == []
    for address in NEVER:  # not even where a file names them
        host = f"[{address}]" if ":" in address else address
        try:
            target = parse_target(f"http://{host}/")
        except Refused:
            continue
        with pytest.raises(Refused):
            await client.send(Outbound(url=str(target.url), named=frozenset((target.origin,))))
    await client.close()


async def test_no_redirect_leads_past_the_guard() -> None:
    async with serve_site() as site, serve_site() as other:
        client = GuardedClient(look_up)
        named = frozenset((Origin("127.0.0.1", site.port),))
        for location in (*REDIRECTS, other.url("/x"), f"//127.0.0.1:{other.port}/x"):
            site.pages["/go"] = redirect(location)
            with suppress(Refused):
                answer = await client.send(Outbound(url=site.url("/go"), named=named))
                # Read as a path of the same server: that is where it began.
                assert (answer.url.host, answer.url.port) == ("127.0.0.1", site.port)
        assert other.seen == []
        await client.close()
