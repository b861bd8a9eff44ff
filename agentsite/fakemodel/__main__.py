"""`python -m agentsite.fakemodel --port N`: serve the fake model until interrupted."""

from __future__ import annotations

import argparse
import contextlib
import sys

import uvloop

from agentsite.fakemodel.server import FakeModel


async def serve(host: str, port: int) -> None:
    async with FakeModel(host, port) as fake:
        sys.stdout.write(f"fake model on {fake.url} (openai: {fake.openai_url})\n")
        sys.stdout.flush()
        await fake.serve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agentsite.fakemodel", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(given.host, given.port))


if __name__ == "__main__":
    main()
