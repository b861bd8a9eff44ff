"""What parses but has no behaviour yet is refused by name, after its own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError, Problem
from tests.manifest.agents import load_all, write_agent
from tests.manifest.test_data import AUTOMATION, ITEMS

HANDLER = "async def handle(params, ctx): ..."
MODEL = {"provider": "openai", "model": "m"}
KEYS: list[tuple[str, dict[str, Any]]] = [
    ("agent.maxRunCost", {"agent": {"maxRunCost": 0}}),
    ("agent.permissions", {"agent": {"permissions": {"deny": ["shell_exec(rm*)"]}}}),
    ("budgets", {"budgets": {"agent": {"day": 5}}}),
    ("disabledSubagents", {"disabledSubagents": ["plan"]}),
    ("fileTools", {"fileTools": True}),
    ("mcp", {"mcp": {"servers": {}}}),
    ("models.embedding", {"models": {"embedding": MODEL}}),
    ("proactive", {"proactive": {"webhook": "https://x.example"}}),
    ("sandbox", {"sandbox": {"shellExec": False}}),
    ("scope", {"scope": {"requireScope": False}}),
    ("webTools", {"webTools": True}),
]
EMBEDDED = {
    "name": "notes",
    "entity": {"name": "Note", "key": "{k}", "schema": {"k": {"type": "string"}}},
    "embed": ["k"],
}
FILES: list[tuple[str, dict[str, Any]]] = [
    ("connections/c", {"connections/c/spec.json": {"baseUrl": "http://x"}}),
    ("stores/notes.json", {"stores/notes.json": EMBEDDED}),
    ("automations/a.json", {"automations/a.json": {**AUTOMATION, "delivery": None}}),
    ("agents/x", {"agents/x/AGENT.md": "Look around."}),
    ("evals/e.md", {"evals/e.md": "## Query\nq\n## Assertions\n- a"}),
    ("pages/p.tsx", {"pages/p.tsx": "export"}),
    ("channels/slack", {"channels/slack/channel.json": {}}),
    ("intents/i", {"intents/i/intent.ts": ""}),
    (
        "tools/t/tool.json",
        {
            "tools/t/tool.json": {
                "description": "d",
                "type": "chain",
                "steps": [{"name": "a", "connection": "c", "endpoint": "/"}],
            }
        },
    ),
]


def find_refusals(root: Path) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        load(root, {"OPENAI_API_KEY": "key-o"})
    return list(caught.value.problems)


@pytest.mark.parametrize(("name", "keys"), KEYS, ids=[name for name, _ in KEYS])
def test_key_is_parsed_and_then_refused(tmp_path: Path, name: str, keys: dict[str, Any]) -> None:
    root = write_agent(tmp_path, **keys)
    assert load_all(root, {"OPENAI_API_KEY": "key-o"}).name == "probe"
    problems = find_refusals(root)
    assert [(p.code, p.path) for p in problems] == [("CONFIG_VALIDATION_FAILED", name)]
    assert f'"{name}" is not supported yet' in problems[0].message


@pytest.mark.parametrize(("file", "files"), FILES)
def test_folder_is_parsed_and_then_refused(
    tmp_path: Path, file: str, files: dict[str, Any]
) -> None:
    root = write_agent(tmp_path, files)
    if not file.startswith(("pages", "channels", "intents")):
        load_all(root)
    problems = find_refusals(root)
    assert [p.file for p in problems] == [file]
    assert "not supported yet" in problems[0].message


def test_own_errors_of_a_refused_key_are_told_as_well(tmp_path: Path) -> None:
    problems = find_refusals(write_agent(tmp_path, fileTools={"allowedDirz": []}))
    said = " | ".join(str(problem) for problem in problems)
    assert 'did you mean "allowedDirs"?' in said
    assert '"fileTools" is not supported yet' in said


def test_what_is_supported_passes(tmp_path: Path) -> None:
    prices = {"openai/m": {"input": 1, "output": 2, "cacheRead": 0.1, "cacheWrite": 1.25}}
    agent = {
        "maxTurns": 3,
        "maxToolRepeats": 2,
        "toolConcurrency": 4,
        "toolTimeout": 1.5,
        "runTimeout": 60,
        "exposeThinking": True,
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
