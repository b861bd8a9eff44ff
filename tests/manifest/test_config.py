"""amodal.json: what it may say, its defaults, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError
from tests.manifest.agents import BASE, find_messages, find_problems, load_all, write_agent

SEED_MCP = {
    "sandbox": {"shellExec": True, "template": "finops-sandbox-v2", "maxTimeout": 60000},
    "stores": {"backend": "postgres", "postgresUrl": "env:DATABASE_URL"},
    "proactive": {"webhook": "https://hooks.acme.com/amodal/finops"},
    "mcp": {
        "servers": {
            "github": {
                "transport": "stdio",
                "command": "uvx",
                "args": ["mcp-server-github"],
                "env": {"GITHUB_TOKEN": "env:GITHUB_TOKEN"},
            },
            "custom-tools": {
                "transport": "sse",
                "url": "https://tools.internal.acme.com/mcp",
                "headers": {"Authorization": "env:INTERNAL_TOOLS_TOKEN", "x-team": "env:TEAM"},
            },
        }
    },
}
SEED_SSE = {"transport": "sse", "url": "http://x"}
SEED_ENV = {
    "DATABASE_URL": "postgres://u:pw-secret@db.example/x",
    "GITHUB_TOKEN": "gh-token-1",
    "INTERNAL_TOOLS_TOKEN": "internal-1",
    "TEAM": "blue-team",
}


def test_smallest_agent_has_the_documented_defaults(tmp_path: Path) -> None:
    bundle = load(write_agent(tmp_path), {})
    agent = bundle.config.agent
    assert (bundle.name, bundle.version, bundle.identity) == ("probe", "0.1.0", None)
    assert (agent.max_turns, agent.max_tool_repeats, agent.tool_concurrency) == (50, 0, 8)
    assert (agent.tool_timeout, agent.run_timeout, agent.recovery) == (30, 600, "resume")
    assert (agent.confirmation_ttl, agent.confirmation_grace) == (86400, 300)
    assert agent.max_run_cost is None
    assert agent.expose_thinking is False


def test_the_seeds_larger_manifest_is_read(tmp_path: Path) -> None:
    bundle = load_all(write_agent(tmp_path, **SEED_MCP), SEED_ENV)
    servers = bundle.config.mcp.servers
    assert servers["github"].env["GITHUB_TOKEN"].get_secret_value() == "gh-token-1"
    assert servers["custom-tools"].headers["x-team"].get_secret_value() == "blue-team"
    assert bundle.config.sandbox.max_timeout == 60000
    assert bundle.config.stores.address == SEED_ENV["DATABASE_URL"]


def test_memory_scope_and_switches_are_read(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        memory={"enabled": True},
        scope={"requireScope": True},
        webTools=True,
        fileTools={"allowedDirs": ["skills"]},
        disabledSubagents=["explore"],
    )
    config = load_all(root).config
    assert config.memory is not None
    assert (config.memory.max_entries, config.memory.nudge_interval) == (50, 10)
    assert (config.memory.editable_by, config.memory.session_search) == ("any", True)
    assert config.scope.require_scope
    assert config.web_tools is not None
    assert config.file_tools is not None
    assert config.file_tools.allowed_dirs == ("skills",)


def test_unknown_key_names_file_path_and_the_nearest_key(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        agent={"maxTurn": 3, "max_turns": 4},
        models={"main": {"provider": "openai", "model": "m", "baseURL": "http://x"}},
        basePromt="hello",
    )
    assert find_messages(root) == [
        'amodal.json models.main.baseURL: unknown key "baseURL"; did you mean "baseUrl"?',
        'amodal.json agent.maxTurn: unknown key "maxTurn"; did you mean "maxTurns"?',
        'amodal.json agent.max_turns: unknown key "max_turns"; did you mean "maxTurns"?',
        'amodal.json basePromt: unknown key "basePromt"; did you mean "basePrompt"?',
    ]


def test_comments_pass_at_every_level(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        **{"$schema": "https://example.com/s.json", "x-why": "env:NOT_A_REFERENCE"},
        agent={"x-note": ["anything"], "maxTurns": 3},
    )
    assert load(root, {}).config.agent.max_turns == 3


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({"agent": {"maxTurns": "50"}}, "agent.maxTurns", "must be a whole number"),
        ({"agent": {"maxTurns": True}}, "agent.maxTurns", "must be a whole number"),
        ({"agent": {"maxTurns": 0}}, "agent.maxTurns", "should be greater than 0"),
        ({"agent": {"exposeThinking": "yes"}}, "agent.exposeThinking", "must be true or false"),
        ({"agent": []}, "agent", "must be an object"),
        ({"version": "1.0"}, "version", "semantic version"),
        ({"name": ""}, "name", "must not be empty"),
        ({"packages": "x"}, "packages", "must be a list"),
        ({"models": {"main": {"provider": "openai"}}}, "models.main.model", "is required"),
        (
            {"models": {"main": {"provider": "groq", "model": "m"}}},
            "models.main.provider",
            'write "provider": "openai" and its "baseUrl"',
        ),
        (
            {"models": {"main": {"provider": "openai", "model": "m", "baseUrl": "ftp://x"}}},
            "models.main.baseUrl",
            "must be an http or https address",
        ),
        (
            {"models": {"main": {"provider": "openai", "model": "m", "region": "eu"}}},
            "models.main",
            "`region` has no effect with openai",
        ),
        ({"prices": {"gpt": {"input": 1, "output": 2}}}, "prices", "provider/model"),
        ({"prices": {"a/b": {"input": -1, "output": 2}}}, "prices.a/b.input", "greater than"),
        ({"stores": {"backend": "postgres"}}, "stores.postgresUrl", "is required"),
        ({"stores": {"backend": "pglite", "postgresUrl": "x"}}, "stores", "no effect"),
        (
            {"stores": {"postgresUrl": "a", "connectionString": "b"}},
            "stores",
            "are the same key",
        ),
        ({"mcp": {"servers": {"a": {"transport": "stdio"}}}}, "mcp.servers.a", "needs a command"),
        (
            {"mcp": {"servers": {"a": {"transport": "http", "url": "x"}}}},
            "mcp.servers.a.url",
            "http or https",
        ),
        (
            {"mcp": {"servers": {"a b": {"transport": "stdio", "command": "x"}}}},
            "mcp.servers.a b",
            "letters, digits",
        ),
        (
            {
                "mcp": {
                    "servers": {
                        "a": {"transport": "http", "url": "http://x", "headers": {"Host": "y"}}
                    }
                }
            },
            "mcp.servers.a",
            'cannot hold "Host"',
        ),
        ({"memory": {}}, "memory.enabled", "is required"),
        ({"agent": {"permissions": {"deny": ["(x"]}}}, "agent.permissions.deny", "a rule is"),
    ],
)
def test_each_mistake_is_told_where_it_is(
    tmp_path: Path, keys: dict[str, Any], path: str, message: str
) -> None:
    problems = find_problems(write_agent(tmp_path, **{**BASE, **keys}))
    assert [p.path for p in problems] == [path]
    assert problems[0].code == "CONFIG_VALIDATION_FAILED"
    assert message in problems[0].message


def test_all_problems_come_at_once_and_quote_no_values(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {"skills/empty/SKILL.md": "", "tools/broken/tool.json": "{", "knowledge/a.txt": "x"},
        version="one",
        models={"main": {"provider": "openai", "model": "m", "credentials": {"api_key": 7}}},
        agent={"toolTimeout": "sk-secret-value"},
        description="env:MISSING",
    )
    with pytest.raises(ManifestError) as caught:
        load(root, {})
    files = {problem.file for problem in caught.value.problems}
    assert files == {
        "amodal.json",
        "skills/empty/SKILL.md",
        "tools/broken/tool.json",
        "knowledge/a.txt",
    }
    codes = {problem.code for problem in caught.value.problems}
    assert codes == {"CONFIG_VALIDATION_FAILED", "CONFIG_PARSE_FAILED", "ENV_NOT_SET"}
    assert "sk-secret-value" not in str(caught.value)


@pytest.mark.parametrize("key", ["postgresUrl", "connectionString"])
def test_both_names_of_the_database_address_work(tmp_path: Path, key: str) -> None:
    root = write_agent(tmp_path, stores={"backend": "postgres", key: "postgres://db/x"})
    assert load(root, {}).config.stores.address == "postgres://db/x"
