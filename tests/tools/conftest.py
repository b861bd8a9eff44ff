"""Fixtures for tests of tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tools.agents import Calls, write_agent
from tests.tools.runs import Runner


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """Contexts in an agent with one skill and two documents."""
    files = {
        "skills/refund/SKILL.md": "---\nname: refund\ndescription: Pay back\n---\nAsk first.",
        "skills/refund/forms/a.txt": "Form A",
        "skills/refund/seal.png": "not a picture",
        "knowledge/shipping.md": "# Knowledge: Shipping times\n\nTwo days.",
        "knowledge/returns.md": "# Knowledge: Returns\n\nThirty days.",
    }
    bundle = write_agent(tmp_path, files)
    (tmp_path / "skills/refund/seal.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 9)
    return Calls(bundle)


@pytest.fixture
async def runner(calls: Calls) -> AsyncIterator[Runner]:
    """Runs calls; afterwards no task may be left."""
    before = asyncio.all_tasks()
    yield Runner(calls)
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
