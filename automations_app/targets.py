"""Which target is which, and what was taken out of it: a place in a list says nothing for long.

Law: what was taken out of one target is never given to another. Targets are the same when all
that is shown of them is; where that leaves a doubt, what was taken out decides, by its digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.utils.crypto import salted_hmac

from agentsite.rows.secrets import Sealed

Shown = Mapping[str, Any]
Hidden = Mapping[str, str]
NAMES_ITSELF = {"webhook": "url"}
"""Types with a secret that is not the address, and the key of the address."""


class Known(NamedTuple):
    """A target of an automation: what is shown of it, and what was taken out."""

    shown: Shown
    hidden: Hidden

    @property
    def mark(self) -> str:
        """By which it is known where what is shown is not enough; empty when that is all."""
        if not self.hidden:
            return ""
        whole = msgspec.json.encode([self.shown, self.hidden], order="deterministic")
        return salted_hmac("automations_app.targets", whole, algorithm="sha256").hexdigest()


def read_targets(name: str, block: Shown | None, sealed: object) -> list[Known]:
    """The targets of `delivery` or `failure_alert`. Raises `SecretLost`."""
    text = sealed.open() if isinstance(sealed, Sealed) else str(sealed or "{}")
    taken = msgspec.json.decode(text, type=dict[str, dict[str, str]])
    targets = block["targets"] if block else ()
    return [Known(shown, taken.get(f"{name}.{place}", {})) for place, shown in enumerate(targets)]


def find_target(known: Iterable[Known], shown: Shown, mark: str) -> Known | None:
    """The same target as it is now, with a new secret where it has been given one."""
    alike = [each for each in known if each.shown == shown]
    exact = next((each for each in alike if each.mark == mark), None)
    if exact is not None or len(alike) != 1:
        return exact
    # Its address is shown, so it is no other, whatever it is signed with by now.
    return alike[0] if NAMES_ITSELF.get(str(shown["type"])) in shown else None


def find_edited(
    known: Sequence[Known], planned: Sequence[tuple[Shown, str]], place: int
) -> Known | None:
    """What a target has become that was edited in its place, all others being as they were.

    `planned` are the targets as they were, as what is shown of each and its mark.
    """
    if len(known) != len(planned) or place >= len(known):
        return None
    if known[place].shown["type"] != planned[place][0]["type"]:
        return None
    pairs = list(zip(known, planned, strict=True))
    del pairs[place]
    kept = all((each.shown, each.mark) == before for each, before in pairs)
    return known[place] if kept else None


class Unclear(ValueError):
    """A target whose secret has to be given again; `str()` says which one and what."""


def put_back(given: Sequence[Any], known: Sequence[Known]) -> list[tuple[Any, frozenset[str]]]:
    """Targets as somebody wrote them, with what was taken out of the same ones before.

    Beside each the keys that are not to be shown. Raises `Unclear`.
    """
    groups = [_alike(each, known) for each in given]
    lacking = [
        bool(alike) and any(key not in each for key in alike[0].hidden)
        for each, alike in zip(given, groups, strict=True)
    ]
    whole = []
    for place, (each, alike) in enumerate(zip(given, groups, strict=True)):
        if not isinstance(each, dict):
            whole.append((each, frozenset[str]()))
        elif not alike:
            _check_changed(place, each, groups, known)
            whole.append((each, frozenset()))
        else:
            same = [n for n, other in enumerate(groups) if lacking[n] and other == alike]
            hidden = _choose(place, same, alike) if lacking[place] else alike[0].hidden
            whole.append(({**hidden, **each}, frozenset(alike[0].hidden)))
    return whole


def _alike(given: Any, known: Sequence[Known]) -> list[Known]:
    """Targets of which the same is shown, and something was taken out."""
    if not isinstance(given, dict):
        return []
    return [
        each
        for each in known
        if each.hidden and {k: v for k, v in given.items() if k not in each.hidden} == each.shown
    ]


def _choose(place: int, same: Sequence[int], alike: Sequence[Known]) -> Hidden:
    """What was taken out of the one of several that look alike; all are there, or all equal."""
    if len(same) == len(alike):
        return alike[same.index(place)].hidden
    if all(each.hidden == alike[0].hidden for each in alike):
        return alike[0].hidden
    raise Unclear(_ask(place, alike[0].hidden, "several look like it"))


def _check_changed(
    place: int, given: Mapping[str, Any], groups: Sequence[list[Known]], known: Sequence[Known]
) -> None:
    """Refuse one without a secret that may be one which had one, and was changed."""
    for each in known:
        gone = each.hidden and not any(each in alike for alike in groups)
        alike = each.shown["type"] == given.get("type")
        if gone and alike and not each.hidden.keys() <= given.keys():
            raise Unclear(_ask(place, each.hidden, "it is another one than before"))


def _ask(place: int, hidden: Hidden, why: str) -> str:
    keys = " and ".join(f'"{key}"' for key in sorted(hidden))
    none = " (null for none)" if hidden.keys() == {"secret"} else ""
    return f"targets.{place}: Give its {keys} again{none}: {why}."
