"""`knowledge/*.md`: reference documents, in the prompt or loaded on demand."""

from __future__ import annotations

from dataclasses import dataclass

from agentsite.manifest.base import SnakeModel, Text
from agentsite.manifest.markdown import strip_label, take_line
from agentsite.manifest.reader import Entry, Reader


class DocumentMeta(SnakeModel):
    """Front matter of a knowledge document."""

    title: Text | None = None
    tags: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Document:
    """A reference document; `name` is its file name without `.md`."""

    name: str
    title: str
    tags: tuple[str, ...]
    body: str


def read_knowledge(reader: Reader) -> tuple[Document, ...]:
    """Read all documents; every defect becomes a problem."""
    read = (read_document(reader, entry) for entry in reader.entries("knowledge"))
    return tuple(document for document in read if document is not None)


def read_document(reader: Reader, entry: Entry) -> Document | None:
    if entry.path.is_dir() or entry.path.suffix != ".md":
        reader.report(entry.file, "knowledge/ holds .md files only")
        return None
    page = reader.read_page(entry.path)
    if page is None:
        return None
    meta = reader.validate(page.meta, DocumentMeta, entry.file)
    if meta is None:
        return None
    if not page.body:
        reader.report(entry.file, "is empty")
        return None
    line, body = (
        take_line(page.body, "Tags")
        if page.body.lower().startswith("tags:")
        else (
            None,
            page.body,
        )
    )
    tags = meta.tags or tuple(tag.strip() for tag in (line or "").split(",") if tag.strip())
    title = meta.title or strip_label(page.heading, "Knowledge") or page.heading or entry.name
    return Document(entry.name, title, tags, body)
