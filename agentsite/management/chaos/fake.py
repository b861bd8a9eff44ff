"""The fake model as a child: `python -m agentsite.management.chaos.fake --parent PID`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

import uvloop

from agentsite.embedded.fate import die_with_parent
from agentsite.fakemodel.server import FakeModel


async def serve() -> None:
    """Serve on a free port of loopback and say which."""
    async with FakeModel(keep=1) as fake:
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        await fake.serve()


def main() -> None:
    """Serve until a signal, or until the parent is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    die_with_parent(signal.SIGKILL, parser.parse_args().parent)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())


if __name__ == "__main__":
    main()
