"""Field restrictions: what is taken out of answers, or blacked out, before anybody reads them.

Law: a restricted field is found in lists, nested objects and JSON inside texts, whatever
the spelling of its name. Where it cannot be told which entity an answer holds, all
restrictions of the connection hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.entities import find_named, find_typed
from agentsite.connections.errors import Refused
from agentsite.connections.fieldnames import fold_base, fold_name, fold_names
from agentsite.connections.prepare import Prepared
from agentsite.connections.tables import PROBE, Hide, hide_in_list, hide_in_object
from agentsite.manifest.access import Access, Endpoint, FieldRestriction

REDACTED = "[REDACTED]"
PARTS = re.compile(r"[.:/>\[\]]+")
ASKING = fold_names(
    """
    query fields field select columns include expand embed filter filters where sort order
    orderby group groupby having search q projection props properties attributes variables
    sql graphql aggregate pick return returning
    """
)
"""Parameters that choose or compare fields; a restricted name in them would be an oracle."""


@dataclass
class Scrubbing:
    """Takes restricted fields out of one answer."""

    restrictions: tuple[FieldRestriction, ...]
    everywhere: frozenset[str]
    """Entities whose restrictions hold at every depth."""
    stripped: int = 0
    _found: dict[tuple[str, frozenset[str]], list[FieldRestriction]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    """`Entity.field` of what was found."""

    def scrub(self, value: Any) -> Any:
        """A JSON value without what is restricted."""
        if not self.restrictions:
            return value
        return self._walk(value, self.everywhere)

    def _walk(self, value: Any, entities: frozenset[str]) -> Any:
        if isinstance(value, list):
            return [
                self._walk(item, entities) for item in hide_in_list(value, self._hide(entities))
            ]
        if isinstance(value, dict):
            names = {one.entity for one in self.restrictions}
            return self._walk_object(value, entities | find_typed(value, names), names)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            return self._walk_text(value, entities)
        return value

    def _walk_object(
        self, item: dict[str, Any], entities: frozenset[str], names: set[str]
    ) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, inner in hide_in_object(item, self._hide(entities)).items():
            found = self._find(key, entities)
            if not found:
                kept[key] = self._walk(inner, entities | find_named(key, names))
                continue
            self._count(found)
            if all(one.policy == "retrieve_but_redact" for one in found):
                kept[key] = None if inner is None else REDACTED
        return kept

    def _find(self, key: str, entities: frozenset[str]) -> list[FieldRestriction]:
        """What restricts a field of this name; one written `contact.ssn` says whose it is."""
        if (known := self._found.get((key, entities))) is not None:
            return known
        *before, last = [part for part in PARTS.split(key) if part] or [key]
        names = {one.entity for one in self.restrictions}
        meant = entities.union(*(find_named(part, names) for part in before))
        found = [
            one
            for one in self.restrictions
            if _is_meant(one, key, meant) or _is_meant(one, last, meant)
        ]
        self._found[key, entities] = found
        return found

    def _hide(self, entities: frozenset[str]) -> Hide:
        """What is shown of a value that something else than its key names."""

        def hide(name: str, value: Any) -> Any:
            found = self._find(name, entities)
            if not found or value is None or value == REDACTED:
                return value
            if value is not PROBE:
                self._count(found)
            return REDACTED

        return hide

    def _count(self, found: list[FieldRestriction]) -> None:
        self.stripped += 1
        self.removed |= {f"{one.entity}.{one.field}" for one in found}

    def _walk_text(self, text: str, entities: frozenset[str]) -> str:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return text
        before = self.stripped
        walked = self._walk(inner, entities)
        return text if self.stripped == before else json.dumps(walked, ensure_ascii=False)


def _is_meant(restriction: FieldRestriction, key: str, entities: frozenset[str]) -> bool:
    """A field may be told as `address.street`: then its last name counts."""
    last = restriction.field.rpartition(".")[2]
    return restriction.entity in entities and fold_name(key) == fold_name(last)


def pick_restrictions(access: Access, caller: Caller) -> tuple[FieldRestriction, ...]:
    """The restrictions that hold for a caller."""
    return tuple(
        one
        for one in access.field_restrictions
        if not (one.policy == "role_gated" and caller.roles & set(one.allowed_roles))
    )


def begin_scrubbing(prepared: Prepared, caller: Caller) -> Scrubbing:
    """The restrictions of one call: those of what it returns, all where it does not say."""
    restrictions = pick_restrictions(prepared.rules.access, caller)
    returned = told_entities(prepared.decision.rules)
    names = frozenset(one.entity for one in restrictions)
    return Scrubbing(restrictions, names if returned is None else _same_entities(returned, names))


def told_entities(rules: Iterable[Endpoint]) -> frozenset[str] | None:
    """What the endpoint's rules say it returns; None where one of them, or nobody, says."""
    rules = list(rules)
    told = [set(rule.returns) for rule in rules if "returns" in rule.model_fields_set]
    if not told or len(told) != len(rules):
        return None
    return frozenset().union(*told)


def _same_entities(returned: frozenset[str], names: frozenset[str]) -> frozenset[str]:
    folded = {fold_name(entity) for entity in returned}
    return frozenset(name for name in names if fold_name(name) in folded)


def refuse_probing(prepared: Prepared, caller: Caller) -> None:
    """Refuse to filter, sort or select by a field that may not be retrieved: answers tell it."""
    hidden = [
        one
        for one in pick_restrictions(prepared.rules.access, caller)
        if one.policy != "retrieve_but_redact" or prepared.method in ("GET", "HEAD")
    ]
    if not hidden:
        return
    names = {fold_name(one.field.rpartition(".")[2]): one for one in hidden}
    spoken: set[str] = set()
    for name, value in prepared.query:
        spoken |= {fold_base(name), fold_name(name)} | _parts(name) | _words(value)
    spoken |= _asked(prepared.data)
    for name, one in names.items():
        if name in spoken:
            why = one.reason or "it may not be retrieved"
            raise Refused(f"Permission denied: {one.entity}.{one.field} is restricted: {why}")


def _asked(data: Any) -> set[str]:
    """Words of those parts of a body that choose or compare fields."""
    if isinstance(data, str):
        return _words(data)
    if isinstance(data, list):
        return set().union(*map(_asked, data)) if data else set()
    if not isinstance(data, Mapping):
        return set()
    spoken: set[str] = set()
    for key, value in data.items():
        spoken |= _words(json.dumps(value)) if fold_name(key) in ASKING else _asked_inside(value)
    return spoken


def _asked_inside(value: Any) -> set[str]:
    return _asked(value) if isinstance(value, list | Mapping) else set()


def _words(text: str) -> set[str]:
    flat = "".join(char if char.isalnum() or char in "_-" else " " for char in text)
    return {fold_name(word) for word in flat.split()} | {
        fold_name(part) for word in flat.split() for part in (word.lstrip("-+"),)
    }


def _parts(name: str) -> set[str]:
    return _words(name) | {fold_name(part) for part in name.replace("__", " ").split()}
