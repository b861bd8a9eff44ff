"""`manage.py startagent`: what it writes is valid and can chat offline at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agentsite.management.commands import startagent
from agentsite.manifest.loader import load


def test_new_agent_validates_and_talks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "desk"
    call_command("startagent", "billing-helper", to=target)
    shown = capsys.readouterr().out
    assert f"AGENT_DIR={target}" in shown
    call_command("validate", target)
    bundle = load(target, {})
    assert (bundle.name, bundle.version, bundle.warnings) == ("billing-helper", "0.1.0", ())
    assert bundle.scripts[0].choose("hello", 0, None).text
    assert (target / "README.md").is_file()
    assert (target / ".env.example").is_file()
    assert not list(target.rglob("__pycache__"))
    assert '"x-models"' in (target / "amodal.json").read_text()


def test_keys_and_credentials_of_the_template_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = shutil.copytree(startagent.TEMPLATE, tmp_path / "template")
    (template / ".env").write_text("OPENAI_API_KEY=sk-mine")
    (template / ".amodal").mkdir(exist_ok=True)
    (template / ".amodal" / "scopes.json").write_text('{"acme": {"TOKEN": "mine"}}')
    monkeypatch.setattr(startagent, "TEMPLATE", template)
    call_command("startagent", "desk", to=tmp_path / "desk")
    made = {path.name for path in (tmp_path / "desk").iterdir()}
    assert not made & {".env", ".amodal"}
    assert {".env.example", ".gitignore", "amodal.json"} <= made


@pytest.mark.parametrize("name", ["Billing", "bill ing", "../up", "", "a_b", "a-"])
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="lower case with dashes"):
        call_command("startagent", name, to=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CommandError, match="exists already"):
        call_command("startagent", "desk", to=tmp_path)
    with pytest.raises(CommandError, match="exists already"):
        call_command("startagent", "desk", to=tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("startagent", "desk", to=tmp_path / "file" / "desk")
