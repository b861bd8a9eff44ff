"""Shell programs as the commands they would run, word by word; nothing is executed.

Law: what cannot be read for sure is said to be unclear; a word that only the shell could tell
is None. Grammar: tree-sitter-bash, which knows all of bash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")
SPECIAL = frozenset("*?[]{}~$`")
"""Unquoted, each of these makes a word that only the shell can tell."""
LONGEST = 20_000
SIMPLE = frozenset(
    (
        "program",
        "list",
        "pipeline",
        "command",
        "command_name",
        "negated_command",
        "redirected_statement",
        "file_redirect",
        "file_descriptor",
        "word",
        "number",
        "string",
        "string_content",
        "raw_string",
        "concatenation",
        "simple_expansion",
        "expansion",
        "variable_name",
        "special_variable_name",
        "command_substitution",
        "comment",
    )
)
"""Programs of nothing else may be allowed by rules: no assignments, functions, loops."""
DECLARING = frozenset(("declaration_command", "unset_command"))

Word = str | None


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: its words without assignments and redirections."""

    words: tuple[Word, ...]
    assigned: tuple[str, ...] = ()
    """Names of variables set for it."""


@dataclass(frozen=True, slots=True)
class Script:
    """Every command of a program, nested ones too."""

    commands: tuple[Command, ...]
    clear: bool
    """False: it was not understood whole."""
    simple: bool
    """Made of plain commands only, whose output goes to no file."""
    assigned: tuple[str, ...] = ()
    """Variables that it sets, and functions that it defines."""


UNCLEAR = Script((), clear=False, simple=False)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def parse(source: str) -> Script:
    """The commands of a shell program; unclear when the grammar does not take all of it."""
    if CONTROL.search(source) or len(source) > LONGEST:
        return UNCLEAR
    try:
        root = _parser().parse(source.replace("\\\n", "").encode()).root_node
    except UnicodeEncodeError:
        return UNCLEAR
    if root.has_error:
        return UNCLEAR
    nodes = list(_walk(root))
    return Script(
        commands=tuple(_read(node) for node in nodes if node.type in {"command", *DECLARING}),
        clear=True,
        simple=all(_is_simple(node) for node in nodes if node.is_named),
        assigned=tuple(_assigned(nodes)),
    )


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _is_simple(node: Node) -> bool:
    if node.type == "file_redirect":
        target = node.child_by_field_name("destination")
        return target is not None and _text(target) in {"/dev/null", "0", "1", "2"}
    return node.type in SIMPLE


def _assigned(nodes: list[Node]) -> Iterator[str]:
    for node in nodes:
        name = node.child_by_field_name("name")
        if node.type in {"variable_assignment", "function_definition"} and name is not None:
            yield _text(name)


def _read(node: Node) -> Command:
    words: list[Word] = []
    for child in node.children:
        if child.type == "command_name":
            words.append(_word(child.children[0]) if child.children else None)
        elif child.type in {"variable_assignment", "subscript"} and node.type == "command":
            continue
        elif node.type in DECLARING:
            words.append(_text(child))
        elif child.is_named and not child.type.endswith("_redirect"):
            words.append(_word(child))
    return Command(tuple(words), tuple(_assigned(node.children)))


def _word(node: Node) -> Word:
    """What the shell makes of this word; None when only running it could tell."""
    match node.type:
        case "word":
            return _unescape(_text(node))
        case "number" | "string_content":
            return _text(node)
        case "raw_string":
            return _text(node)[1:-1]
        case "concatenation":
            if _text(node) == "{}":  # find's placeholder: no braces to expand
                return "{}"
            return _join(node.children)
        case "string":
            if any(c.is_named and c.type != "string_content" for c in node.children):
                return None
            return re.sub(r'\\([\\"$`])', r"\1", _text(node)[1:-1])
        case _:
            return None


def _join(nodes: list[Node]) -> Word:
    parts = [_word(node) for node in nodes]
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None


def _unescape(text: str) -> Word:
    """A bare word without its backslashes; None where the shell would expand something."""
    plain: list[str] = []
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            plain.append(next(letters, ""))
        elif letter in SPECIAL:
            return None
        else:
            plain.append(letter)
    return "".join(plain)


def _text(node: Node) -> str:
    return (node.text or b"").decode()
