"""`manage.py validate`: the whole list, and an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.manifest.agents import write_agent
from tests.requirements import requirement


def test_good_agent_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_agent(
        tmp_path,
        {"knowledge/a.md": "x", "scripts/s.json": {"replies": [{"text": "t"}]}},
        models={"main": {"provider": "scripted", "model": "s"}},
    )
    call_command("validate", root)
    counted = "0 skills, 1 documents, 0 tools, 0 automations, 1 scripts"
    assert f"scripted/s, {counted}" in capsys.readouterr().out


@requirement("automations.webhook-address")
def test_addresses_of_webhooks_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "automations/signed.json": {
            "title": "t", "prompt": "p", "webhookAuth": {"secret": "env:HOOK"}
        },
        "automations/open.md": "# Automation: Open\n\nSchedule: on webhook\n\n## Check\nLook.",
        "automations/clock.json": {"title": "t", "prompt": "p", "schedule": "0 9 * * *"},
        ".env": "HOOK=a-long-secret-of-the-sender",
    }  # fmt: skip
    root = write_agent(tmp_path, files, proactive={"webhook": "https://x.example/hooks/"})
    call_command("validate", root)
    shown = capsys.readouterr().out
    assert "signed: POST https://x.example/hooks/signed\n" in shown
    assert "open: POST https://x.example/hooks/open\n" in shown
    assert shown.count("takes unsigned calls") == 1 and "automations/open: it takes" in shown
    assert "clock" not in shown and "a-long-secret" not in shown


def test_every_problem_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_agent(tmp_path, {"knowledge/a.md": "", "evals/a.md": "x"}, agent={"maxTurn": 1})
    with pytest.raises(CommandError):
        call_command("validate", root)
    shown = capsys.readouterr().out
    assert 'amodal.json at agent.maxTurn: unknown key "maxTurn"; did you mean "maxTurns"?' in shown
    assert 'evals/a.md: the section "## Query" is missing or empty' in shown
    assert "knowledge/a.md: is empty [CONFIG_VALIDATION_FAILED]" in shown


def test_handler_that_cannot_be_imported_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_agent(
        tmp_path,
        {
            "tools/t/tool.json": {"description": "d"},
            "tools/t/handler.py": "import no_such_module\nasync def handle(params, ctx): ...",
        },
    )
    with pytest.raises(CommandError):
        call_command("validate", root)
    assert "no_such_module" in capsys.readouterr().out


def test_production_wants_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_agent(tmp_path)
    with pytest.raises(CommandError):
        call_command("validate", root, production=True)
    assert "models.main" in capsys.readouterr().out


def test_without_a_folder_all_served_agents_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_agent(tmp_path / "one", name="first")
    write_agent(tmp_path / "two", name="second")
    with override_settings(AGENTS_DIR=tmp_path):
        call_command("validate")
    shown = capsys.readouterr().out
    assert "first 0.1.0" in shown
    assert "second 0.1.0" in shown


def test_a_chain_is_a_tool_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"protocol": "rest", "baseUrl": "https://api.example.org", "testPath": "/"}
    chain = {
        "description": "d",
        "type": "chain",
        "steps": [{"name": "a", "connection": "c", "endpoint": "/a"}],
    }
    root = write_agent(tmp_path, {"tools/fan/tool.json": chain, "connections/c/spec.json": spec})
    call_command("validate", root)
    assert "1 tools" in capsys.readouterr().out
