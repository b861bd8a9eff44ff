"""Which model serves when, and with which key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError
from agentsite.providers.openai_address import reasons
from tests.manifest.agents import find_problems, write_agent


@pytest.mark.parametrize(
    ("env", "label"),
    [
        ({"GOOGLE_API_KEY": "key-g", "ANTHROPIC_API_KEY": "key-a"}, "google/gemini-3.8-flash"),
        ({"GEMINI_API_KEY": "key-g", "OPENAI_API_KEY": "key-o"}, "google/gemini-3.8-flash"),
        ({"ANTHROPIC_API_KEY": "key-a", "OPENAI_API_KEY": "key-o"}, "anthropic/claude-sonnet-5-5"),
        ({"OPENAI_API_KEY": "key-o"}, "openai/gpt-5.4-mini"),
        ({"OPENAI_API_KEY": ""}, "scripted/offline"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "AGENT_MODEL": "qwen3"}, "openai/qwen3"),
        (
            {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "ANTHROPIC_API_KEY": "key-a"},
            "anthropic/claude-sonnet-5-5",
        ),
        ({}, "scripted/offline"),
    ],
)
def test_first_key_of_the_environment_decides(
    tmp_path: Path, env: dict[str, str], label: str
) -> None:
    bundle = load(write_agent(tmp_path), env)
    assert bundle.model().label == label
    assert (bundle.notice is not None) == (label == "scripted/offline")
    assert bundle.warnings == ()


def test_production_refuses_to_answer_from_a_script(tmp_path: Path) -> None:
    root = write_agent(tmp_path)
    with pytest.raises(ManifestError) as caught:
        load(root, {}, production=True)
    assert [(p.path, p.code) for p in caught.value.problems] == [
        ("models.main", "CONFIG_VALIDATION_FAILED")
    ]
    assert load(root, {"OPENAI_API_KEY": "key-o"}, production=True).notice is None


def test_offline_without_scripts_says_so(tmp_path: Path) -> None:
    bundle = load(write_agent(tmp_path), {})
    assert "no scripts" in bundle.scripts[0].choose("hi", 0, None).text


def test_declared_scripted_model_needs_scripts(tmp_path: Path) -> None:
    models = {"main": {"provider": "scripted", "model": "demo"}}
    assert [p.path for p in find_problems(write_agent(tmp_path, models=models))] == ["models.main"]
    write_agent(tmp_path, {"scripts/demo.json": {"replies": [{"text": "hi"}]}}, models=models)
    assert load(tmp_path, {}).notice is None


def test_tiers_fall_back_to_main_and_keys_are_put_in_place(tmp_path: Path) -> None:
    main = {
        "provider": "anthropic",
        "model": "a",
        "fallback": {"provider": "openai", "model": "o", "credentials": {"api_key": "own-key"}},
    }
    root = write_agent(tmp_path, models={"main": main})
    bundle = load(root, {"ANTHROPIC_API_KEY": "std-key", "OPENAI_API_KEY": "unused"})
    keys = [model.api_key.get_secret_value() for model in bundle.model().chain if model.api_key]
    assert keys == ["std-key", "own-key"]
    assert bundle.model("simple") == bundle.model("advanced") == bundle.model()
    assert {"std-key", "own-key"} <= bundle.secrets


def test_vendor_without_key_is_a_warning(tmp_path: Path) -> None:
    local = {"provider": "openai", "model": "o", "baseUrl": "http://127.0.0.1:1/v1"}
    main = {"provider": "anthropic", "model": "a", "fallback": local}
    warnings = load(write_agent(tmp_path, models={"main": main}), {}).warnings
    assert [(w.code, w.path) for w in warnings] == [("ENV_NOT_SET", "models.main")]
    assert "ANTHROPIC_API_KEY" in warnings[0].message


def test_base_url_of_the_environment_serves_models_that_name_none(tmp_path: Path) -> None:
    env = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "key-a"}
    main = {"provider": "anthropic", "model": "a"}
    root = write_agent(tmp_path, models={"main": main})
    assert load(root, env).model().base_url == "http://127.0.0.1:9"
    write_agent(root, models={"main": {**main, "baseUrl": "http://own"}})
    assert load(root, env).model().base_url == "http://own"
    write_agent(root, models={"main": main})
    problems = find_problems(root, {**env, "ANTHROPIC_BASE_URL": "nonsense"})
    assert [p.file for p in problems] == ["environment variable ANTHROPIC_BASE_URL"]


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "gpt-5-chat-latest"])
def test_thinking_of_a_model_that_does_not_reason_is_refused(tmp_path: Path, model: str) -> None:
    env = {"OPENAI_API_KEY": "key-o"}
    main = {"provider": "openai", "model": "gpt-5", "thinking": 2000}
    root = write_agent(tmp_path, models={"main": {**main, "fallback": {**main, "model": model}}})
    (problem,) = find_problems(root, env)
    assert problem.path == "models.main.fallback.thinking"
    assert "remove it or name another model" in problem.message
    assert not reasons(model)
    # Another server may know another model by that name, and of other names nobody knows.
    local = {**main, "model": model, "baseUrl": "http://127.0.0.1:1/v1"}
    for passes in (local, {**main, "model": "qwen3"}, {**main, "model": model, "thinking": 0}):
        load(write_agent(root, models={"main": passes}), env)


def test_temperature_beside_thinking_is_refused_where_it_is_dropped(tmp_path: Path) -> None:
    env = {"ANTHROPIC_API_KEY": "key-a", "GOOGLE_API_KEY": "key-g"}
    main = {"provider": "anthropic", "model": "a", "temperature": 0.5, "thinking": 2000}
    root = write_agent(tmp_path, models={"main": main})
    (problem,) = find_problems(root, env)
    assert "`temperature` has no effect with anthropic while `thinking` is on" in problem.message
    for passes in ({**main, "thinking": 0}, {**main, "provider": "google", "model": "g"}):
        load(write_agent(root, models={"main": passes}), env)


def test_region_needs_the_cloud_it_belongs_to(tmp_path: Path) -> None:
    bedrock = {"provider": "anthropic", "model": "a", "region": "us-east-1"}
    root = write_agent(tmp_path, models={"main": bedrock})
    assert [p.path for p in find_problems(root)] == ["models.main.region"]
    env = {"AWS_ACCESS_KEY_ID": "aws-id-1", "AWS_SECRET_ACCESS_KEY": "aws-secret-1"}
    bundle = load(root, env)
    assert bundle.model().credentials.has_aws
    assert "aws-secret-1" in bundle.secrets
    vertex = {
        "provider": "google",
        "model": "g",
        "region": "europe-west1",
        "credentials": {"project": "p"},
    }
    assert load(write_agent(root, models={"main": vertex}), {}).warnings == ()
