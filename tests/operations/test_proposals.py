"""What a model proposes for the knowledge base becomes a file only by an operator's decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agentsite.bus.models import BusEvent
from agentsite.manifest.loader import load
from agentsite.operations import proposals
from agentsite.operations.models import Proposal
from agentsite.operations.proposals import CannotAccept, NewProposal, name_file
from tests.requirements import requirement

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(tmp_path: Path, settings: Any) -> Path:
    """The folder of the agent that is served."""
    (tmp_path / "amodal.json").write_text(json.dumps({"name": "desk", "version": "1.0.0"}))
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "old.md").write_text("# Old\n\nKnown already.")
    settings.AGENT_DIR, settings.AGENTS_DIR = tmp_path, None
    return tmp_path.resolve()


def propose(title: str, content: str = "Ask for the number.", id: str = "prop_1") -> Proposal:
    new = NewProposal(id, "desk", "acme", "s_1", title, "Often asked", content)
    assert proposals.create(new) is None
    return Proposal.objects.get(pk=id)


def press(action: str, row: Proposal) -> str:
    """What the admin says when an operator has chosen an action."""
    staff = Client()
    staff.force_login(User.objects.create_superuser(f"ada-{action}"))
    body = {"action": action, "_selected_action": [row.pk]}
    answer = staff.post(reverse("admin:operations_proposal_changelist"), body, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


@requirement("agent.proposals")
def test_an_accepted_proposal_is_a_document_of_the_agent(root: Path) -> None:
    row = propose("Rückgabe: how?", "# Not a title\n\n---\nAsk for the number.")
    assert "knowledge/ruckgabe-how.md" in press("accept", row)
    row.refresh_from_db()
    assert (row.status, row.file) == ("accepted", "knowledge/ruckgabe-how.md")
    told = BusEvent.objects.get(type="files_changed")
    assert (told.audience, told.agent, told.scope_id) == ("staff", row.agent, "")
    assert json.loads(told.data)["path"] == row.file
    found = {document.name: document for document in load(root, {}).knowledge}
    assert found["ruckgabe-how"].title == "Rückgabe: how?"
    assert "Ask for the number." in found["ruckgabe-how"].body
    assert sorted(p.name for p in (root / "knowledge").iterdir()) == ["old.md", "ruckgabe-how.md"]
    with pytest.raises(CannotAccept, match="decided before"):
        proposals.accept(row, "ada")
    assert len(list((root / "knowledge").iterdir())) == 2


@requirement("agent.proposals")
def test_a_refused_proposal_is_told_when_it_comes_again(root: Path) -> None:
    row = propose("Refunds")
    press("refuse", row)
    again = NewProposal("prop_2", "desk", "acme", "s_2", "Refunds", "Why", row.content)
    refused = proposals.create(again)
    assert refused is not None and refused.pk == row.pk
    assert sorted(p.name for p in (root / "knowledge").iterdir()) == ["old.md"]


@requirement("agent.proposals")
@pytest.mark.parametrize("title", ["../../etc/passwd", "/abs", "..", "a/b\\c", "CON\x00", "💥"])
def test_no_title_leads_out_of_the_folder(root: Path, title: str) -> None:
    name = name_file(title)
    assert name and not set(name) & set("/\\.\x00")
    file = proposals.accept(propose(title.replace("\x00", "")), "ada")
    assert (root / file).resolve().parent == root / "knowledge"


@requirement("agent.proposals")
def test_what_cannot_be_served_or_leads_elsewhere_is_not_written(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(CannotAccept, match="is empty"):
        proposals.accept(propose("Nothing", " \n"), "ada")
    assert sorted(p.name for p in (root / "knowledge").iterdir()) == ["old.md"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (root / "knowledge" / "old.md").unlink()
    (root / "knowledge").rmdir()
    (root / "knowledge").symlink_to(elsewhere)
    with pytest.raises(CannotAccept, match="leads out"):
        proposals.accept(propose("Away", id="prop_2"), "ada")
    assert list(elsewhere.iterdir()) == []
    assert Proposal.objects.get(pk="prop_2").status == "waiting"
