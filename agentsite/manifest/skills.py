"""`skills/<name>/SKILL.md`: methods the model calls up by name, with supporting files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentsite.manifest.base import SnakeModel, Text
from agentsite.manifest.markdown import strip_label, take_line
from agentsite.manifest.reader import Entry, Reader


class SkillMeta(SnakeModel):
    """Front matter of a skill."""

    name: Text | None = None
    description: str = ""
    trigger: str = ""


@dataclass(frozen=True)
class Skill:
    """A method of working. `trigger` is a sentence for the model; no code matches it."""

    name: str
    description: str
    trigger: str
    body: str
    files: Mapping[str, Path]
    """Supporting files by their path below the skill's folder."""


def read_skills(reader: Reader) -> tuple[Skill, ...]:
    """Read all skills; every defect becomes a problem."""
    skills: dict[str, Skill] = {}
    for entry in reader.entries("skills"):
        skill = read_skill(reader, entry)
        if skill is None:
            continue
        if skill.name in skills:
            reader.report(entry.file, f'another skill is called "{skill.name}", too')
        skills[skill.name] = skill
    return tuple(skills.values())


def read_skill(reader: Reader, entry: Entry) -> Skill | None:
    main = entry.path / "SKILL.md"
    if not entry.path.is_dir() or not main.is_file():
        reader.report(entry.file, "a skill is a folder with a SKILL.md in it")
        return None
    page = reader.read_page(main)
    if page is None:
        return None
    file = reader.show(main)
    meta = reader.validate(page.meta, SkillMeta, file)
    if meta is None:
        return None
    line, body = take_line(page.body, "Trigger")
    trigger = meta.trigger or line or ""
    description = meta.description or trigger
    if not body:
        reader.report(file, "says nothing: the method itself is missing")
    if not description:
        reader.report(file, "needs a description or a `Trigger:` line; the model chooses by it")
    name = meta.name or strip_label(page.heading, "Skill") or entry.name
    return Skill(name, description, trigger, body, read_supporting_files(reader, entry.path))


def read_supporting_files(reader: Reader, folder: Path) -> dict[str, Path]:
    files = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
        if path.is_file() and not hidden and inner.as_posix() != "SKILL.md":
            reader.read_bytes(path)
            files[inner.as_posix()] = path
    return files
