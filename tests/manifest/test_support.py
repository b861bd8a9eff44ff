"""What has no behaviour here is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError, Problem
from tests.manifest.agents import write_agent
from tests.manifest.test_data import ITEMS

HANDLER = "async def handle(params, ctx): ..."
MODEL = {"provider": "openai", "model": "m"}
FILES: list[tuple[str, dict[str, Any]]] = [
    ("pages/p.tsx", {"pages/p.tsx": "export"}),
    ("channels/slack", {"channels/slack/channel.json": {}}),
    ("intents/i", {"intents/i/intent.ts": ""}),
]


def find_refusals(root: Path) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        load(root, {"OPENAI_API_KEY": "key-o"})
    return list(caught.value.problems)


@pytest.mark.parametrize(("file", "files"), FILES)
def test_folder_is_refused(tmp_path: Path, file: str, files: dict[str, Any]) -> None:
    root = write_agent(tmp_path, files)
    problems = find_refusals(root)
    assert [p.file for p in problems] == [file]
    assert "not supported yet" in problems[0].message


def test_what_is_supported_passes(tmp_path: Path) -> None:
    prices = {"openai/m": {"input": 1, "output": 2, "cacheRead": 0.1, "cacheWrite": 1.25}}
    agent = {
        "maxTurns": 3,
        "maxToolRepeats": 2,
        "toolConcurrency": 4,
        "toolTimeout": 1.5,
        "runTimeout": 60,
        "exposeThinking": True,
        "permissions": {"mode": "ask", "deny": ["shell_exec(rm*)"], "allow": ["present"]},
    }
    model = {
        **MODEL,
        "contextWindow": 1000,
        "maxTokens": 10,
        "temperature": 0,
        "thinking": 1024,
        "timeout": 5,
        "api": "chat",
    }
    root = write_agent(
        tmp_path,
        {"agents/main.md": "Me.", "knowledge/a.md": "x", "stores/items.json": ITEMS},
        description="d",
        basePrompt="b",
        agent=agent,
        prices=prices,
        models={"main": model, "simple": MODEL, "advanced": MODEL},
        stores={"backend": "pglite", "dataDir": "d"},
        memory={"enabled": True, "editableBy": "none", "maxEntries": 3, "nudgeInterval": 0},
    )
    config = load(root, {"OPENAI_API_KEY": "key-o"}).config
    assert config.memory is not None
    assert (config.memory.max_entries, config.memory.max_total_chars) == (3, 8000)
    assert config.prices["openai/m"].cache_write == 1.25
    assert config.agent.expose_thinking
    assert (config.models.main.timeout, config.models.main.api) == (5, "chat")  # type: ignore[union-attr]  # settled
