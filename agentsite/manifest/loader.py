"""Reads an agent repository whole, and reports every problem at once.

Law: files are read here and nowhere later, save handlers, supporting files of
skills and scripts of executables, whose content is in the hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agentsite.manifest import support
from agentsite.manifest.agents import check_agents, read_agents
from agentsite.manifest.automations import read_automations
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.connections import Connection, RestSpec, read_connections
from agentsite.manifest.detect import settle_models
from agentsite.manifest.env import Resolver, merge_environment
from agentsite.manifest.evals import read_evals
from agentsite.manifest.knowledge import read_knowledge
from agentsite.manifest.mcp import SERVER_NAME, McpServer
from agentsite.manifest.packages import FOLDERS, REFUSED_FOLDERS, add_packages
from agentsite.manifest.problems import ManifestError, Problem, suggest
from agentsite.manifest.reader import Reader
from agentsite.manifest.schema import AgentConfig, WebTools
from agentsite.manifest.scripts import Script
from agentsite.manifest.skills import read_skills
from agentsite.manifest.stores import check_embedding, check_tool_names, read_stores
from agentsite.manifest.tools import ToolFolder, read_tools

MANIFEST = "amodal.json"
SPARE_SCRIPT = Script.model_validate(
    {
        "name": "offline",
        "replies": [
            {"when": {"user": "^USER: "}, "text": "Offline conversation"},
            {
                "text": "No model is connected and this agent has no scripts to play offline. "
                "Set `ANTHROPIC_API_KEY`, `OPENAI_API_KEY` or `GOOGLE_API_KEY` and start again."
            },
        ],
    }
)


def load(
    root: Path,
    env: Mapping[str, str],
    *,
    production: bool = False,
    unsupported: frozenset[str] = support.UNSUPPORTED,
) -> Bundle:
    """Read the agent in `root`; `env` is the environment, `.env` is added in development.

    Raises `ManifestError` with all problems. `unsupported` is the table of what is refused
    although it parses; tests of parsing pass an empty one.
    """
    root = root.resolve()
    reader = Reader(root, Resolver(env))
    if not root.is_dir():
        reader.report(root.name, "there is no such folder", code="CONFIG_NOT_FOUND")
        raise ManifestError(reader.problems)
    reader.resolver.env = env = read_environment(reader, env, production=production)
    _, config = read_config(reader)
    if config is not None:
        add_packages(reader, config.packages)
    identity, agents = read_agents(reader)
    parts: dict[str, Any] = {
        "skills": read_skills(reader),
        "knowledge": read_knowledge(reader),
        "connections": read_connections(reader),
        "stores": read_stores(reader),
        "automations": read_automations(reader),
        "tools": read_tools(reader),
        "evals": read_evals(reader),
        "scripts": read_scripts(reader),
    }
    check_tool_names(reader, parts["stores"], {tool.name for tool in parts["tools"]})
    check_callers(reader, parts["connections"], parts["tools"])
    check_mcp(reader, config, parts["connections"])
    notice = None
    named = {tool.name for tool in parts["tools"]}
    named |= {name for store in parts["stores"] for name in store.tool_names}
    check_agents(reader, agents, config.disabled_subagents if config else (), named)
    if config is not None:
        config, notice = settle_config(reader, config, env, production=production)
        check_embedding(reader, parts["stores"], config.models.embedding)
        parts["scripts"] = check_scripts(reader, config, parts["scripts"], spare=notice is not None)
    tool_env = pick_environment(reader, parts["tools"], env)
    warn_of_misspelt_folders(reader)
    support.refuse_folders(reader, unsupported)
    problems = [*reader.problems, *reader.resolver.problems]
    if problems or config is None:
        raise ManifestError(sort_problems(problems))
    return Bundle(
        root=root,
        config=config,
        hash=reader.fingerprint(),
        identity=identity,
        agents=agents,
        warnings=tuple(reader.warnings),
        notice=notice,
        watched=tuple(layer.path for layer in reader.layers),
        secrets=frozenset(reader.resolver.secrets),
        tool_env=tool_env,
        **parts,
    )


def check_callers(
    reader: Reader, connections: tuple[Connection, ...], tools: tuple[ToolFolder, ...]
) -> None:
    """Report tools that call a connection which is none, or which is no REST API."""
    known = {each.name for each in connections if isinstance(each.spec, RestSpec)}
    for tool in tools:
        steps = enumerate(tool.manifest.steps or ())
        named: list[tuple[tuple[str | int, ...], str]] = [
            (("steps", n, "connection"), step.connection) for n, step in steps
        ]
        if tool.manifest.connection is not None:
            named.append((("connection",), tool.manifest.connection))
        for path, name in named:
            if name not in known:
                message = f'there is no REST connection "{name}"{suggest(name, known)}'
                reader.report(f"tools/{tool.name}/tool.json", message, *path)


def check_mcp(
    reader: Reader, config: AgentConfig | None, connections: tuple[Connection, ...]
) -> None:
    """Report MCP servers whose names cannot stand before `__`, or stand twice."""
    servers = config.mcp.servers if config is not None else {}
    rule = "the name of an MCP server is letters, digits, _ and -, at most 40 of them"
    for name in servers:
        if not SERVER_NAME.fullmatch(name):
            reader.report(MANIFEST, rule, "mcp", "servers", name)
    for each in connections:
        file = f"connections/{each.name}/spec.json"
        if not isinstance(each.spec, McpServer):
            continue
        if not SERVER_NAME.fullmatch(each.name):
            reader.report(file, rule)
        if each.name in servers:
            reader.report(file, f'"{each.name}" stands in mcp.servers of {MANIFEST} too')


def find_folders(agents_dir: Path) -> list[Path]:
    """Return the agents in a folder of agents, by name; the folder itself when it is an agent."""
    return sorted(path.parent for path in agents_dir.glob(f"*/{MANIFEST}")) or [agents_dir]


def read_environment(
    reader: Reader, env: Mapping[str, str], *, production: bool
) -> Mapping[str, str]:
    """Return the environment with `.env` below it; an unreadable `.env` is a problem."""
    try:
        return merge_environment(reader.root, env, production=production)
    except (OSError, UnicodeDecodeError):
        reader.report(".env", "cannot be read as UTF-8 text", code="READ_FAILED")
        return env


def read_config(reader: Reader) -> tuple[dict[str, Any], AgentConfig | None]:
    """Return amodal.json as it stands and as a value; None when it has problems."""
    path = reader.root / MANIFEST
    if not path.is_file():
        message = "is missing; an agent is a folder with this file in it"
        reader.report(MANIFEST, message, code="CONFIG_NOT_FOUND")
        return {}, None
    data = reader.read_json(path)
    if data is None:
        return {}, None
    resolved = reader.resolver.resolve(data, MANIFEST)
    return data, reader.validate(resolved, AgentConfig, MANIFEST)


def settle_config(
    reader: Reader, config: AgentConfig, env: Mapping[str, str], *, production: bool
) -> tuple[AgentConfig, str | None]:
    """Return the config with settled models, and the notice of offline mode."""
    models, notice = settle_models(reader, config.models, env, production=production)
    database = env.get("DATABASE_URL") or config.stores.address
    if config.stores.backend == "postgres" and not database:
        message = 'is required with backend "postgres", here or as DATABASE_URL'
        reader.report(MANIFEST, message, "stores", "postgresUrl")
    reader.resolver.keep_secret(database)
    web_tools = settle_web_tools(reader, config.web_tools, env)
    return config.model_copy(update={"models": models, "web_tools": web_tools}), notice


def settle_web_tools(
    reader: Reader, config: WebTools | None, env: Mapping[str, str]
) -> WebTools | None:
    """Return the block with its key from the environment; a missing key is a warning."""
    names = {"google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"), "brave": ("BRAVE_API_KEY",)}
    if config is None or config.api_key is not None or config.provider not in names:
        return config
    key = next((env[name] for name in names[config.provider] if env.get(name)), None)
    if key is None:
        message = f"web_search has no key: set {names[config.provider][0]}, or apiKey here"
        reader.warn(MANIFEST, message, "webTools", code="ENV_NOT_SET")
        return config
    reader.resolver.keep_secret(key)
    return config.model_copy(update={"api_key": SecretStr(key)})


def read_scripts(reader: Reader) -> tuple[Script, ...]:
    """Read `scripts/*.json`; every defect becomes a problem."""
    scripts = []
    for entry in reader.entries("scripts"):
        if entry.path.is_dir() or entry.path.suffix != ".json":
            reader.report(entry.file, "scripts/ holds .json files only")
            continue
        data = reader.read_json(entry.path)
        if data is None:
            continue
        if data.setdefault("name", entry.name) != entry.name:
            reader.report(entry.file, f'must be "{entry.name}", like the file', "name")
        script = reader.validate(data, Script, entry.file)
        if script is not None:
            scripts.append(script)
    return tuple(scripts)


def check_scripts(
    reader: Reader, config: AgentConfig, scripts: tuple[Script, ...], *, spare: bool
) -> tuple[Script, ...]:
    """Return the scripts to play; a declared scripted model without any is a problem."""
    if scripts:
        return scripts
    if spare:
        return (SPARE_SCRIPT,)
    for name in ("main", "simple", "advanced"):
        tier = getattr(config.models, name)
        if tier and any(model.provider == "scripted" for model in tier.chain):
            message = "the scripted provider needs scripts/*.json"
            reader.report(MANIFEST, message, "models", name)
            break
    return ()


def pick_environment(
    reader: Reader, tools: tuple[ToolFolder, ...], env: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables tools may read; they are secrets, and missing ones a warning."""
    picked = {}
    for tool in tools:
        for index, name in enumerate(tool.env):
            if name in env:
                picked[name] = env[name]
                reader.resolver.keep_secret(env[name])
                continue
            message = f'Environment variable "{name}" is not set'
            reader.warn(f"tools/{tool.name}/tool.json", message, "env", index, code="ENV_NOT_SET")
    return picked


def warn_of_misspelt_folders(reader: Reader) -> None:
    """Warn of a folder at the root whose name is nearly one we know."""
    known = (*FOLDERS, *REFUSED_FOLDERS)
    for path in reader.list_folder(reader.root):
        if path.is_dir() and path.name not in known:
            hint = suggest(path.name, known)
            if "did you mean" in hint:
                reader.warn(path.name, f"this folder is not read{hint}")


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """Sort by file, amodal.json first, and drop repetitions."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file != MANIFEST, p.file))
