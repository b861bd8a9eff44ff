"""Row scoping: which rows of an answer a caller may see.

Law: fails closed. A row is kept when a rule that applies to the caller lets it through;
a row that cannot be judged is dropped, and so is what stands beside rows and is neither a
row nor one of the usual words of an envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.entities import find_named, find_typed
from agentsite.connections.errors import Refused
from agentsite.connections.fieldnames import fold_name, fold_names
from agentsite.connections.fields import told_entities
from agentsite.connections.prepare import Prepared
from agentsite.manifest.access import RowRule

Rules = Mapping[str, RowRule]
ENVELOPES = fold_names(
    """
    data result results item items record records row rows entry entries value values
    content contents hits hit list objects elements nodes node edges page response payload
    collection _embedded _source documents matches
    """
)
WORDS_BESIDE = fold_names(
    """
    total count page pages page_size per_page limit offset cursor next previous prev first
    last has_more has_next next_cursor next_page next_page_token total_count total_pages
    success ok status code error errors message detail details title reason type description
    request_id object kind links meta paging pagination
    """
)


def pick_rules(scoping: Rules, caller: Caller) -> list[tuple[str, RowRule]] | None:
    """The (field, rule) pairs that hold for a caller; None where all rows are theirs.

    A key that is one of the caller's roles decides alone, several roles add up; any other
    key names a field, and all of those must hold. No pair at all means no row.
    """
    own = [(key, rule) for key, rule in scoping.items() if key in caller.roles]
    if any(rule.type == "all" for _, rule in own):
        return None
    if own:
        return [(rule.user_context_field or key, rule) for key, rule in own]
    return [(key, rule) for key, rule in scoping.items() if rule.type != "all"]


class RowFiltering:
    """Filters one answer."""

    def __init__(self, prepared: Prepared, caller: Caller) -> None:
        scoping = prepared.rules.access.row_scoping
        self._caller = caller
        self._scoping = scoping
        self.scoped = {name for name, rules in scoping.items() if _is_limited(rules, caller)}
        """Entities of which this caller may not see all rows."""
        self._returned = told_entities(prepared.decision.rules)
        self.hidden = 0
        self.labels = {
            rule.label
            for name in self.scoped
            for _, rule in pick_rules(scoping[name], caller) or ()
            if rule.label
        }
        if self.scoped and self._returned is None:
            raise Refused(
                "Permission denied: access.json does not say what this endpoint returns, and rows"
                " of this connection are limited to those of the caller"
            )

    def filter(self, value: Any) -> Any:
        """A JSON value without rows of others. Raises `Refused` if nothing may be shown."""
        if not self.scoped:
            return value
        folded = {fold_name(entity) for entity in self._returned or ()}
        expected = frozenset(name for name in self.scoped if fold_name(name) in folded)
        if not expected:
            return self._walk(value)
        if isinstance(value, list):
            return self._keep(value, expected)
        if isinstance(value, dict):
            if self._is_envelope(value, expected):
                return self._open(value, expected)
            if self._may_see(value, expected):
                return self._walk(value)
            self.hidden += 1
            raise Refused("Permission denied: this row is not among those of the caller")
        if value is None:
            return None
        raise Refused("Permission denied: the answer holds no rows that could be judged")

    def _keep(self, items: list[Any], expected: frozenset[str]) -> list[Any]:
        kept = []
        for item in items:
            if isinstance(item, dict):
                if self._is_envelope(item, expected):
                    kept.append(self._open(item, expected))
                    continue
                if self._may_see(item, find_typed(item, self.scoped) or expected):
                    kept.append(self._walk(item))
                    continue
            self.hidden += 1
        return kept

    def _is_envelope(self, item: dict[str, Any], expected: frozenset[str]) -> bool:
        """Whether an object holds rows and is none itself."""
        fields = {fold_name(name) for entity in expected for name in self._fields(entity)}
        if any(fold_name(key) in fields for key in item):
            return False
        return all(
            fold_name(key) in ENVELOPES | WORDS_BESIDE or find_named(key, expected) for key in item
        )

    def _open(self, item: dict[str, Any], expected: frozenset[str]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, inner in item.items():
            named = find_named(key, expected)
            if fold_name(key) in ENVELOPES or named:
                kept[key] = self._open_value(inner, named or expected)
            else:
                kept[key] = self._walk(inner)
        return kept

    def _open_value(self, inner: Any, expected: frozenset[str]) -> Any:
        if isinstance(inner, list):
            return self._keep(inner, expected)
        if isinstance(inner, dict):
            if self._is_envelope(inner, expected):
                return self._open(inner, expected)
            if self._may_see(inner, expected):
                return self._walk(inner)
            self.hidden += 1
            return None
        return inner if isinstance(inner, int | float | bool | None) else None

    def _walk(self, value: Any) -> Any:
        """Judge rows of scoped entities that stand inside something else."""
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            named = find_named(key, self.scoped)
            if named and isinstance(inner, list | dict):
                kept[key] = self._open_value(inner, named)
            else:
                kept[key] = self._walk(inner)
        return kept

    def _fields(self, entity: str) -> list[str]:
        rules = pick_rules(self._scoping[entity], self._caller) or []
        return [key for key, rule in rules if rule.type == "field_match"]

    def _may_see(self, item: dict[str, Any], entities: frozenset[str]) -> bool:
        return all(self._fits(item, entity) for entity in entities)

    def _fits(self, item: Any, entity: str) -> bool:
        if entity not in self._scoping:
            return False
        rules = pick_rules(self._scoping[entity], self._caller)
        if rules is None:
            return True
        if not rules or not isinstance(item, dict):
            return False
        verdicts = [self._obeys(item, key, rule) for key, rule in rules]
        by_role = any(key in self._caller.roles for key in self._scoping[entity])
        return any(verdicts) if by_role else all(verdicts)

    def _obeys(self, item: dict[str, Any], key: str, rule: RowRule) -> bool:
        if rule.type == "field_match":
            own = self._caller.value(rule.user_context_field or "")
            return _is_own(_find_field(item, key), own)
        through = rule.through_entity or ""
        related = [inner for name, inner in item.items() if find_named(name, (through,)) and inner]
        parts = [p for one in related for p in (one if isinstance(one, list) else [one])]
        return bool(parts) and any(self._fits(part, through) for part in parts)


def _is_limited(rules: Rules, caller: Caller) -> bool:
    return pick_rules(rules, caller) is not None


def _find_field(item: Any, path: str) -> Any:
    """A field by its name, or by dots: `owner.id`."""
    if not isinstance(item, dict):
        return None
    found = [inner for key, inner in item.items() if fold_name(key) == fold_name(path)]
    if len(found) == 1:
        return found[0]
    first, _, rest = path.partition(".")
    return _find_field(item.get(first), rest) if rest and not found else None


def _is_own(value: Any, own: Any) -> bool:
    """Whether a row's value is the caller's; a list of the caller's means one of."""
    if value is None or own is None or own == "" or isinstance(value, dict | list | bool):
        return False
    owned = own if isinstance(own, list | tuple) else [own]
    return any(str(value) == str(one) for one in owned if not isinstance(one, bool))
