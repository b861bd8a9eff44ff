"""Which entity an object of an answer is.

Law: told by what names it: its own type field, the key it stands under, else what the
endpoint returns. A name that ends in the entity's name counts (`primary_contact`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
TYPE_KEYS = ("type", "object", "kind", "_type", "entity", "resourceType", "resource_type")
TYPE_NAMES = (*TYPE_KEYS, "__typename", "@type", "objectType", "object_type")


def name_forms(text: str) -> frozenset[str]:
    """The ways a key may name an entity: its last word, its last two, … each in the singular."""
    words = [word.lower() for word in WORDS.findall(unicodedata.normalize("NFKC", text))]
    return frozenset(
        "".join([*words[start:-1], form])
        for start in range(len(words))
        for form in _singulars(words[-1])
    )


def fold_entity(entity: str) -> frozenset[str]:
    """An entity's own name as one word, in the singular."""
    words = [word.lower() for word in WORDS.findall(unicodedata.normalize("NFKC", entity))]
    return (
        frozenset("".join([*words[:-1], form]) for form in _singulars(words[-1]))
        if words
        else (frozenset())
    )


def _singulars(word: str) -> set[str]:
    forms = {word}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms


def find_named(key: str, entities: Iterable[str]) -> frozenset[str]:
    """Entities that a key names."""
    forms = name_forms(key)
    return frozenset(entity for entity in entities if fold_entity(entity) & forms)


def find_typed(item: Mapping[str, Any], entities: Iterable[str]) -> frozenset[str]:
    """Entities that an object says it is."""
    for name in TYPE_NAMES:
        value = item.get(name)
        if isinstance(value, str) and (found := find_named(value, entities)):
            return found
    return frozenset()
