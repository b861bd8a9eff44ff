"""`manage.py validate`: the whole list, and an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.manifest.agents import write_agent


def test_good_agent_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_agent(
        tmp_path,
        {"knowledge/a.md": "x", "scripts/s.json": {"replies": [{"text": "t"}]}},
        models={"main": {"provider": "scripted", "model": "s"}},
    )
    call_command("validate", root)
    assert "scripted/s, 0 skills, 1 documents, 0 tools, 1 scripts" in capsys.readouterr().out


def test_every_problem_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_agent(tmp_path, {"knowledge/a.md": ""}, agent={"maxTurn": 1}, scope={})
    with pytest.raises(CommandError):
        call_command("validate", root)
    shown = capsys.readouterr().out
    assert 'amodal.json at agent.maxTurn: unknown key "maxTurn"; did you mean "maxTurns"?' in shown
    assert 'amodal.json at scope: "scope" is not supported yet' in shown
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
