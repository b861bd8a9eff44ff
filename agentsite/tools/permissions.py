"""Rules of `agent.permissions`: which calls are refused, asked about, or let through.

Law: deny before ask before allow, then the mode. A guard that fails refuses. A rule that
refuses or asks covers whatever might be meant, one that allows only what is meant for sure.
"""

from __future__ import annotations

import logging
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from agentsite.manifest.blocks import Permissions
from agentsite.tools import shell_rules
from agentsite.tools.base import Tool
from agentsite.tools.patterns import compile_pattern, could_match, fill_in
from agentsite.tools.shell_words import parse

logger = logging.getLogger(__name__)

Decision = Literal["deny", "ask", "allow"]
RULE = re.compile(r"([^()]+?)(?:\((.*)\))?", re.DOTALL)
NAMED = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")
AUTHORITY = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
DOTS = re.compile("[\u3002\uff61]")
"""Names of hosts may be written with these."""
LOOSE = re.compile(r"/ *([^/]*[^/ .])[ .]*(?=/|$)")
"""Spaces around a segment, and dots after it, say nothing to some servers."""
DECODINGS = 4
UNCLEAR = "what it would run cannot be told for sure; say it plainly, without indirection"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call, and which rule says so."""

    decision: Decision
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """`tool` or `tool(pattern)`; the tool's name may hold `*`."""

    text: str
    tool: str
    pattern: str | None

    def names(self, tool: Tool) -> bool:
        """Whether it is about this tool, whichever of its names the rule or the call uses."""
        wanted = self.tool.casefold()
        return any(fnmatchcase(name.casefold(), wanted) for name in (tool.name, *tool.other_names))


class Guard:
    """The rules of one agent."""

    def __init__(self, permissions: Permissions) -> None:
        self._mode: Decision = permissions.mode
        self._deny = _read(permissions.deny)
        self._ask = _read(permissions.ask)
        self._allow = _read(permissions.allow)

    def judge(self, tool: Tool, arguments: Mapping[str, Any]) -> Verdict:
        """Decide on one call; whatever goes wrong meanwhile refuses it."""
        try:
            return self._judge(tool, arguments)
        except Exception:
            logger.exception("The permission rules could not be applied to a call of %s", tool.name)
            return Verdict("deny", "the permission rules could not be applied to it")

    def _judge(self, tool: Tool, arguments: Mapping[str, Any]) -> Verdict:
        allowed = [rule for rule in self._allow if rule.names(tool)]
        patterns = [rule.pattern for rule in allowed if rule.pattern is not None]
        if tool.shell_argument is None:
            subject: _Subject = _Values(arguments, tool.subject)
        else:
            subject = _Program(str(arguments.get(tool.shell_argument, "")), patterns)
        ladder: tuple[tuple[Decision, tuple[Rule, ...]], ...] = (
            ("deny", self._deny),
            ("ask", self._ask),
        )
        for decision, rules in ladder:
            for rule in rules:
                if rule.names(tool) and (rule.pattern is None or subject.might(rule.pattern)):
                    return Verdict(decision, f"the rule {rule.text} says so")
            if subject.hidden and any(rule.names(tool) for rule in rules):
                return Verdict(decision, UNCLEAR)
        if any(rule.pattern is None for rule in allowed) or subject.surely(patterns):
            return Verdict("allow")
        return Verdict(self._mode, "no rule allows it" if self._mode != "allow" else "")


def _read(rules: tuple[str, ...]) -> tuple[Rule, ...]:
    return tuple(_read_rule(text) for text in rules)


def _read_rule(text: str) -> Rule:
    found = RULE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no rule")
    return Rule(text, found[1].strip(), found[2])


class _Subject(Protocol):
    """What patterns are held against."""

    @property
    def hidden(self) -> bool:
        """Whether there may be more to it than can be seen."""

    def might(self, pattern: str) -> bool:
        """Whether it could be meant by the pattern, in any reading."""

    def surely(self, patterns: list[str]) -> bool:
        """Whether all of it is meant by these patterns, in every reading."""


class _Program:
    """A shell program, command by command."""

    def __init__(self, source: str, trusted: list[str]) -> None:
        self._script = parse(source)
        # An operator who names an interpreter in a rule means it.
        self.hidden = shell_rules.is_opaque(self._script, trusted)

    def might(self, pattern: str) -> bool:
        return shell_rules.may_run(self._script, pattern)

    def surely(self, patterns: list[str]) -> bool:
        return shell_rules.permits(self._script, patterns)


class _Values:
    """The arguments of any other tool: texts and numbers, wherever they stand."""

    hidden = False

    def __init__(self, arguments: Mapping[str, Any], subject: str | None) -> None:
        self._leaves = tuple(_leaves(arguments, ""))
        self._routes = tuple(_routes(arguments, arguments.get("endpoint")))
        endpoint = arguments.get("endpoint")
        if isinstance(endpoint, str):  # as it will be sent, once params are put in
            endpoint = fill_in(endpoint, arguments.get("params"))
        self._sent = tuple(_routes(arguments, endpoint))
        self._filled = tuple(("endpoint", each) for each in (endpoint,) if isinstance(each, str))
        self._subject = subject or ""

    def might(self, pattern: str) -> bool:
        name, pattern = _split(pattern)
        wanted = pattern.casefold()
        told = (*self._leaves, *(("", route) for route in self._routes))
        sent = (*self._filled, *(("", route) for route in self._sent))
        return any(
            matches(wanted, form)
            for values, matches in ((told, _matches), (sent, could_match))
            for path, value in values
            if _concerns(path, name)
            for form in _spellings(value)
        )

    def surely(self, patterns: list[str]) -> bool:
        return any(self._is(*_split(pattern)) for pattern in patterns)

    def _is(self, name: str, pattern: str) -> bool:
        wanted = compile_pattern(pattern)
        if not name and self._sent:
            return any(_is_canonical(line) and wanted.fullmatch(line) for line in self._sent)
        name = name or self._subject
        values = (*self._leaves, *self._filled)
        meant = [value for path, value in values if _concerns(path, name)]
        return bool(meant) and all(_is_canonical(v) and wanted.fullmatch(v) for v in meant)


def _split(pattern: str) -> tuple[str, str]:
    found = NAMED.fullmatch(pattern)
    return (found[1], found[2]) if found else ("", pattern)


def _matches(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).fullmatch(text) is not None


def _concerns(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}.")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each value with the names that lead to it; places in lists count for nothing."""
    match value:
        case dict():
            for key, item in value.items():
                yield from _leaves(item, f"{path}.{key}" if path else str(key))
        case list() | tuple():
            for item in value:
                yield from _leaves(item, path)
        case str():
            yield path, value
        case bool():
            yield path, str(value).lower()
        case int() | float():
            yield path, str(value)
        case _:
            pass


def _routes(arguments: Mapping[str, Any], endpoint: Any) -> Iterator[str]:
    """A call of a connection as one line: `POST /refunds`, and `crm POST /refunds`."""
    method, connection = arguments.get("method"), arguments.get("connection")
    if isinstance(method, str) and isinstance(endpoint, str):
        line = f"{method.upper()} {endpoint}"
        yield line
        if isinstance(connection, str):
            yield f"{connection} {line}"


def _spellings(value: str) -> set[str]:
    """Ways in which a value may be read further on, in lower case."""
    plain = INVISIBLE.sub("", unicodedata.normalize("NFKC", value))
    forms = {value, DOTS.sub(".", plain)}
    for _ in range(DECODINGS):
        forms |= {unquote(form) for form in forms}
    forms |= {form.replace("\\", "/") for form in forms}
    forms |= {form.split("?")[0].split("#")[0] for form in forms}
    forms |= {form.split("\x00")[0] for form in forms}
    forms |= {_settle_path(form) for form in forms} | {form.strip() for form in forms}
    forms |= {LOOSE.sub(r"/\1", form) for form in forms}
    forms |= {_settle_url(form) for form in forms if "://" in form}
    forms |= {form.removeprefix("/") for form in forms}
    return {form.casefold() for form in forms}


def _settle_path(text: str) -> str:
    return re.sub("^//", "/", posixpath.normpath(text)) if "/" in text else text


def _settle_url(text: str) -> str:
    """An address without user, port and dots that change nothing."""
    try:
        parts = urlsplit(text.strip())
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return text
    return f"{parts.scheme}://{host}{_settle_path(parts.path or '/')}"


def _is_canonical(value: str) -> bool:
    """Whether a value can be read in one way only."""
    if INVISIBLE.search(value) or "%" in value or "\\" in value:
        return False
    scheme, is_url, rest = value.partition("://")
    if is_url and not AUTHORITY.fullmatch(rest.partition("/")[0]):
        return False
    segments = (rest if is_url else scheme).split("/")
    if any(part in {".", ".."} for part in segments) or "" in segments[1:-1]:
        return False
    return unicodedata.normalize("NFKC", value) == value
