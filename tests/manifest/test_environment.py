"""`.env`, `env:NAME`, `scope:KEY`, and what counts as a secret."""

from __future__ import annotations

from pathlib import Path

from agentsite.manifest.connections import RestSpec
from agentsite.manifest.database import find_database
from agentsite.manifest.loader import load
from tests.manifest.agents import find_problems, load_all, write_agent

MODEL = {"provider": "openai", "model": "m", "credentials": {"api_key": "env:MY_KEY"}}


def test_reference_is_resolved_and_kept_secret(tmp_path: Path) -> None:
    root = write_agent(tmp_path, models={"main": MODEL}, description="env:ABOUT")
    bundle = load(root, {"MY_KEY": "sk-abc-123", "ABOUT": "hi there"})
    key = bundle.model().api_key
    assert key is not None
    assert key.get_secret_value() == "sk-abc-123"
    assert bundle.config.description == "hi there"
    assert {"sk-abc-123", "hi there"} <= bundle.secrets
    assert "sk-abc-123" not in repr(bundle)


def test_missing_variable_names_file_and_path_once(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        models={"main": {**MODEL, "baseUrl": "env:MY_URL", "fallback": MODEL}},
        description="env:",
    )
    problems = find_problems(root)
    assert [(p.code, p.path, p.message) for p in problems] == [
        (
            "ENV_NOT_SET",
            "models.main.credentials.api_key",
            'Environment variable "MY_KEY" is not set',
        ),
        ("ENV_NOT_SET", "models.main.baseUrl", 'Environment variable "MY_URL" is not set'),
        (
            "ENV_NOT_SET",
            "models.main.fallback.credentials.api_key",
            'Environment variable "MY_KEY" is not set',
        ),
        ("ENV_NOT_SET", "description", 'Empty environment variable name in "env:" reference'),
    ]


def test_dotenv_counts_in_development_and_never_overrides(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path, {".env": "MY_KEY='from-file'\nOTHER=other-value\n"}, models={"main": MODEL}
    )
    key = load(root, {}).model().api_key
    assert key is not None
    assert key.get_secret_value() == "from-file"
    key = load(root, {"MY_KEY": "from-environment"}).model().api_key
    assert key is not None
    assert key.get_secret_value() == "from-environment"


def test_dotenv_is_not_read_in_production(tmp_path: Path) -> None:
    root = write_agent(tmp_path, {".env": "OPENAI_API_KEY=from-file"})
    assert load(root, {"ANTHROPIC_API_KEY": "k-anthropic"}, production=True).model().label == (
        "anthropic/claude-sonnet-5-5"
    )


def test_unreadable_dotenv_is_a_problem(tmp_path: Path) -> None:
    root = write_agent(tmp_path)
    (root / ".env").write_bytes(b"A=\xff\xfe")
    assert [(p.code, p.file) for p in find_problems(root)] == [("READ_FAILED", ".env")]


def test_connection_specs_resolve_env_and_leave_scope(tmp_path: Path) -> None:
    written = {
        "baseUrl": "env:CRM_URL",
        "auth": {"type": "bearer", "token": "scope:CRM_TOKEN"},
        "contextInjection": {"tenant": {"in": "header", "field": "X-Tenant"}},
    }
    root = write_agent(tmp_path, {"connections/crm/spec.json": written})
    spec = load_all(root, {"CRM_URL": "https://crm.example"}).connections[0].spec
    assert isinstance(spec, RestSpec)
    assert spec.auth is not None
    assert spec.base_url == "https://crm.example"
    assert spec.auth.token.get_secret_value() == "scope:CRM_TOKEN"
    problems = find_problems(root)
    assert [(p.file, p.path) for p in problems] == [("connections/crm/spec.json", "baseUrl")]


def test_passwords_in_addresses_are_secrets_short_values_are_not(tmp_path: Path) -> None:
    root = write_agent(tmp_path, stores={"postgresUrl": "env:PG"}, description="env:SHORT")
    secrets = load(root, {"PG": "postgres://me:pass-word@db/x", "SHORT": "abc"}).secrets
    assert secrets == {"postgres://me:pass-word@db/x", "pass-word"}


def test_tools_get_the_variables_they_name(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "tools/t/tool.json": {"description": "d", "env": ["SHOP_KEY", "ABSENT"]},
            "tools/t/handler.py": "async def handle(params, ctx): ...",
        },
    )
    bundle = load(root, {"SHOP_KEY": "shop-secret", "OTHER": "x"})
    assert dict(bundle.tool_env) == {"SHOP_KEY": "shop-secret"}
    assert "shop-secret" in bundle.secrets
    assert [(w.code, w.path) for w in bundle.warnings] == [("ENV_NOT_SET", "env[1]")]


def test_database_address_is_found_before_loading(tmp_path: Path) -> None:
    root = write_agent(tmp_path, stores={"backend": "postgres", "connectionString": "env:PG"})
    assert find_database(root, {"PG": "postgres://a/b"}).address == "postgres://a/b"
    assert find_database(
        root, {"PG": "postgres://a/b", "DATABASE_URL": "postgres://c/d"}
    ).address == ("postgres://c/d")
    assert find_database(root, {}).address is None
    write_agent(root, stores={"dataDir": "data"})
    assert find_database(root, {}).data_dir == root / "data"
    write_agent(root, stores={"dataDir": "../data"})
    assert find_database(root, {}).data_dir == root.parent / "data"
    (root / "ring").symlink_to("ring")
    for unusable in ("a\0b", "ring"):  # told of where it is used
        write_agent(root, stores={"dataDir": unusable})
        assert find_database(root, {}).data_dir == root / unusable
    (root / "amodal.json").write_text("{")
    assert find_database(root, {}).address is None
