"""What `access.json` says of one call: allowed, asked for, or refused.

Law: of all rules that a path could fall under the strictest counts, unless one names the
path to the letter. Pure; a number that cannot be read counts as too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from agentsite.connections.caller import PLANNING, READ_ONLY, Caller
from agentsite.connections.fieldnames import fold_name, name_readings
from agentsite.connections.routes import Route, cut_at_mark, is_exact, matches
from agentsite.manifest.access import Access, Endpoint, Threshold

Tier = Literal["allow", "confirm", "review", "never"]
ORDER: tuple[Tier, ...] = ("allow", "confirm", "review", "never")
REVIEW = "This operation requires human review and cannot be executed by the agent"
NEVER = "This operation is not allowed"
EXCLUDED = "This endpoint is excluded from the connection's surface"
READING = frozenset(("GET", "HEAD"))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a call."""

    tier: Tier = "allow"
    reason: str = ""
    escalated: bool = False
    rules: tuple[Endpoint, ...] = ()
    """All that the path falls under."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to be asked about a connection."""

    access: Access
    base: tuple[str, ...] = ()
    """Folded segments of the base address's path."""
    excluded: tuple[str, ...] = ()
    """`METHOD /path` of the surface's excluded part."""


def decide(
    rules: Rules, method: str, route: Route, query: Mapping[str, Any], body: Any, caller: Caller
) -> Decision:
    """Judge one call, whose query and body are what will be sent."""
    found = find_rules(rules, method, route)
    decision = Decision(rules=tuple(found))
    for rule in found:
        tier: Tier = "confirm" if rule.confirm is True else rule.confirm or "allow"
        decision = _stricter(decision, tier, rule.reason)
        for threshold in rule.thresholds:
            if exceeds(threshold, query, body):
                reason = f"Threshold escalation: {rule.reason or _describe(threshold)}"
                decision = _stricter(decision, threshold.escalate, reason, escalated=True)
    if (
        decision.tier == "confirm"
        and caller.delegated
        and rules.access.delegations.escalate_confirm
    ):
        why = decision.reason or "only a person's own request may do this"
        decision = _stricter(
            decision, "review", f"Delegated agent escalation: {why}", escalated=True
        )
    if _is_listed(rules.excluded, rules, method, route):
        decision = _stricter(decision, "never", EXCLUDED)
    if (shorter := cut_at_mark(route)) is not None:
        other = decide(rules, method, shorter, query, body, caller)
        decision = _stricter(decision, other.tier, other.reason, escalated=other.escalated)
    if method not in READING and caller.frozen:
        decision = _stricter(decision, "never", caller.frozen)
    return decision


def explain(decision: Decision) -> str:
    """The documented sentence of a refusal."""
    default = REVIEW if decision.tier == "review" else NEVER
    reason = decision.reason or default
    return reason if reason in (READ_ONLY, PLANNING) else f"Permission denied: {reason}"


def find_rules(rules: Rules, method: str, route: Route) -> list[Endpoint]:
    """The rules a path falls under: the one that names it, else all whose template fits."""
    fitting: list[Endpoint] = []
    for key, endpoint in rules.access.endpoints.items():
        wanted, _, template = key.partition(" ")
        if not _is_same_method(wanted, method):
            continue
        if is_exact(template, route):
            return [endpoint]
        if matches(template, route, rules.base):
            fitting.append(endpoint)
    return fitting


def _is_same_method(wanted: str, method: str) -> bool:
    """A rule on GET holds for HEAD, too: it tells the same, save the body."""
    return wanted == method or (wanted == "GET" and method == "HEAD")


def _is_listed(keys: Iterable[str], rules: Rules, method: str, route: Route) -> bool:
    return any(
        _is_same_method(wanted, method) and matches(template, route, rules.base)
        for wanted, _, template in (key.partition(" ") for key in keys)
    )


def _stricter(now: Decision, tier: Tier, reason: str, *, escalated: bool = False) -> Decision:
    if ORDER.index(tier) <= ORDER.index(now.tier):
        return now
    return Decision(tier, reason, escalated or now.escalated, now.rules)


def _describe(threshold: Threshold) -> str:
    return f"{threshold.field} is above {threshold.above:g}"


def exceeds(threshold: Threshold, query: Mapping[str, Any], body: Any) -> bool:
    """Tell whether a number of the call lies above the limit, wherever a server may find it."""
    root, _, rest = threshold.field.partition(".")
    path = rest if root in ("body", "data", "params", "query") and rest else threshold.field
    keys = path.split(".")
    found = [*_look_up(body, keys), *_look_up(query, keys), *_look_up(query, keys[-1:])]
    limit = Decimal(str(threshold.above))
    return any(_is_above(value, limit) for value in found)


def _look_up(value: Any, keys: list[str]) -> Iterator[Any]:
    """All values under these keys, through lists, whatever the letter case."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _look_up(item, keys)
    elif not keys:
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if fold_name(keys[0]) in name_readings(key):
                yield from _look_up(inner, keys[1:])


def _is_above(value: Any, limit: Decimal) -> bool:
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return Decimal(int(value)) > limit
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return True
    return number.is_nan() or number > limit
