"""`evals/*.md`: a question to the agent and what must be true of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

import regex

from agentsite.manifest.markdown import parse_page, split_sections, strip_label, take_line
from agentsite.manifest.reader import Entry, Reader

KINDS = (
    "contains",
    "regex",
    "starts_with",
    "length_between",
    "tool_called",
    "tool_not_called",
    "max_latency",
    "max_turns",
)
SECTIONS = {"", "setup", "query", "assertions"}
ITEM = re.compile(r"^\s*[-*]\s+(?:\[.\]\s+)?(.+?)\s*$", re.MULTILINE)
NEGATION = re.compile(r"^(should not|not)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Assertion:
    """One line of `## Assertions`: deterministic, or a rubric for a judging model."""

    kind: str
    """One of `KINDS`, or `rubric`."""
    value: str
    negated: bool


@dataclass(frozen=True)
class Eval:
    """One evaluation."""

    name: str
    title: str
    description: str
    app: str
    context: str
    query: str
    assertions: tuple[Assertion, ...]


def read_evals(reader: Reader) -> tuple[Eval, ...]:
    """Read all evaluations; every defect becomes a problem."""
    read = (read_eval(reader, entry) for entry in reader.entries("evals"))
    return tuple(one for one in read if one is not None)


def read_eval(reader: Reader, entry: Entry) -> Eval | None:
    if entry.path.is_dir() or entry.path.suffix != ".md":
        reader.report(entry.file, "evals/ holds .md files only")
        return None
    text = reader.read_text(entry.path)
    if text is None:
        return None
    try:
        page = parse_page(text)
    except ValueError as error:
        reader.report(entry.file, str(error), code="CONFIG_PARSE_FAILED")
        return None
    for key in page.meta:
        reader.report(entry.file, "an eval has no front matter", key)
    sections = split_sections(page.body)
    query = sections.get("query", "").strip().strip('"').strip()
    assertions = tuple(
        read_assertion(line) for line in ITEM.findall(sections.get("assertions", ""))
    )
    if not query:
        reader.report(entry.file, 'the section "## Query" is missing or empty')
    if not assertions:
        reader.report(entry.file, 'the section "## Assertions" lists nothing')
    for assertion in assertions:
        if message := find_fault(assertion):
            reader.report(entry.file, f'assertion "{assertion.kind}: {assertion.value}" {message}')
    app, context = read_setup(reader, entry.file, sections)
    title = strip_label(page.heading, "Eval") or page.heading or entry.name
    return Eval(entry.name, title, sections[""], app, context, query, assertions)


def read_setup(reader: Reader, file: str, sections: dict[str, str]) -> tuple[str, str]:
    """App and context; what nobody would read becomes a problem."""
    for unknown in sorted(sections.keys() - SECTIONS):
        text = f'takes the sections Setup, Query and Assertions, not "{unknown}"'
        reader.report(file, text)
    app, rest = take_line(sections.get("setup", ""), "App")
    context, rest = take_line(rest, "Context")
    if rest.strip():
        reader.report(file, 'the section "## Setup" takes the lines App: and Context: alone')
    return app or "", context or ""


def read_assertion(line: str) -> Assertion:
    """Read one line; `Should NOT` and `NOT` before it turn it round."""
    rest = NEGATION.sub("", line)
    kind, colon, value = rest.partition(":")
    if colon and kind.strip().lower() in KINDS:
        return Assertion(kind.strip().lower(), value.strip().strip('"'), rest != line)
    return Assertion("rubric", line, rest != line)


def find_fault(assertion: Assertion) -> str | None:
    """Say what is wrong with an assertion's value, if anything."""
    if not assertion.value:
        return "has no value"
    if assertion.kind == "regex":
        try:
            regex.compile(assertion.value)
        except regex.error as error:
            return f"is not a regular expression: {error}"
    if assertion.kind == "length_between" and not re.fullmatch(r"\d+\s*,\s*\d+", assertion.value):
        return "needs two whole numbers, as in 10,200"
    if assertion.kind == "length_between":
        low, high = map(int, assertion.value.split(","))
        if low > high:
            return "fits nothing: its first number is the larger one"
    if assertion.kind in ("max_latency", "max_turns") and not assertion.value.isdigit():
        return "needs a whole number"
    return None
