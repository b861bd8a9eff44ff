"""Proposals for the knowledge base: made by models, decided by operators, written as files.

Law: a file is written only by an operator's decision, inside the agent's own `knowledge/`, whole
or not at all, and only if the agent can be served with it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec
import yaml
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import FilesChanged
from agentsite.bus.writing import tell
from agentsite.manifest.env import read_environ
from agentsite.manifest.loader import MANIFEST, load
from agentsite.manifest.problems import ManifestError
from agentsite.operations.models import Proposal
from agentsite.rows.auditing import record

NAME_CHARS = 60


class CannotAccept(Exception):
    """Why a proposal cannot become a file."""


class NewProposal(msgspec.Struct, frozen=True):
    """What a model proposes."""

    id: str
    agent: str
    scope_id: str
    session_id: str
    title: str
    reasoning: str
    content: str


def create(new: NewProposal) -> Proposal | None:
    """Store a proposal, once per id; the refusal of an equal one, if an operator has given one."""
    same = Proposal.objects.filter(agent=new.agent, scope_id=new.scope_id, title=new.title)
    refused = same.filter(status=Proposal.Status.REFUSED, content=new.content).first()
    if refused is not None and refused.pk != new.id:
        return refused
    Proposal.objects.get_or_create(pk=new.id, defaults=msgspec.structs.asdict(new))
    return None


def to_api(new: NewProposal) -> dict[str, Any]:
    """The `proposal` of the event."""
    return {
        "id": new.id,
        "scope": "agent",
        "title": new.title,
        "reasoning": new.reasoning,
        "content": new.content,
    }


def refuse(row: Proposal, by: str, comment: str = "") -> bool:
    """Decide against a proposal; False when it was decided before."""
    return _decide(row, Proposal.Status.REFUSED, by, comment)


def accept(row: Proposal, by: str) -> str:
    """Write a proposal as a file; its path inside the agent. Raises `CannotAccept`."""
    root = find_root(row.agent)
    path = root / "knowledge" / f"{name_file(row.title)}.md"
    before = write_document(root, path, compose(row.title, row.content))
    if not _decide(row, Proposal.Status.ACCEPTED, by, "", path.relative_to(root).as_posix()):
        restore(path, before)
        raise CannotAccept("it was decided before")
    return path.relative_to(root).as_posix()


def _decide(row: Proposal, status: str, by: str, comment: str, file: str = "") -> bool:
    waiting = Proposal.objects.filter(pk=row.pk, status=Proposal.Status.WAITING)
    with transaction.atomic():
        changed = waiting.update(
            status=status, decided_by=by, decided_at=Now(), comment=comment, file=file
        )
        if changed:
            after = {"status": status, "file": file}
            told = {"before": {"status": Proposal.Status.WAITING}, "after": after}
            record(by, f"proposal.{status}", row.pk, told)
            if file:
                tell(row.agent, "", FilesChanged(file), audience="staff")
    return bool(changed)


def find_root(agent: str) -> Path:
    """The folder of an agent. Raises `CannotAccept`."""
    folders: Path | None = settings.AGENTS_DIR
    if folders is not None and list(folders.glob(f"*/{MANIFEST}")):
        found = [p.parent for p in folders.glob(f"*/{MANIFEST}") if p.parent.name == agent]
        if not found:
            raise CannotAccept(f'there is no agent "{agent}" any more')
        return found[0].resolve()
    return Path(folders or settings.AGENT_DIR).resolve()


def name_file(title: str) -> str:
    """A file name that says the title in a few plain letters."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:NAME_CHARS].strip("-")
    return name or "proposal"


def compose(title: str, content: str) -> str:
    """The document with its title in front matter, so that no heading is misread."""
    meta = yaml.safe_dump({"title": title}, allow_unicode=True, width=10_000)
    return f"---\n{meta}---\n{content.strip()}\n"


def write_document(root: Path, path: Path, text: str) -> bytes | None:
    """Put the file in place if the agent can be served with it; what stood there before.

    Raises `CannotAccept`; then the folder is as it was.
    """
    folder = path.parent
    try:
        folder.mkdir(exist_ok=True)
        if folder.resolve() != root / "knowledge" or path.is_symlink():
            raise CannotAccept(f"{folder.name}/ leads out of the agent's folder")
        before = path.read_bytes() if path.exists() else None
        put(path, text.encode())
    except OSError as error:
        raise CannotAccept(f"the file cannot be written: {error.strerror}") from error
    try:
        load(root, read_environ(), production=settings.PRODUCTION)
    except ManifestError as error:
        restore(path, before)
        raise CannotAccept(f"the agent could not be served with it: {error}") from error
    return before


def put(path: Path, raw: bytes) -> None:
    """Replace a file whole: nobody ever reads half of it."""
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


def restore(path: Path, before: bytes | None) -> None:
    """Put back what stood there."""
    if before is None:
        path.unlink(missing_ok=True)
    else:
        put(path, before)
