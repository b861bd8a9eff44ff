"""When two entries say the same.

Law: merging may never lose a fact. Two texts are one if their words are equal in their
order, or if one holds all words of the other in that order, at least nine of ten, and
the few more are neither numbers nor words that turn a sentence around.
"""

from __future__ import annotations

import re
import unicodedata

ALIKE = 0.9
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_TURNING = """
no not never none nor without hardly formerly previously unless except longer stopped
nicht kein keine keinen keinem keiner nie niemals ohne früher außer
ne pas non jamais aucun aucune sans sauf plus rien
ni nunca jamás sin ningún ninguna ya mai senza nessun nessuna
não sem nenhum nenhuma niet geen nooit zonder inte aldrig ikke aldri
"""
TURNING = frozenset(_TURNING.split())


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text without case, punctuation and compatibility forms."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return tuple(WORD.findall(plain.casefold()))


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts are near-duplicates (see the law above)."""
    shorter, longer = sorted((words_of(one), words_of(other)), key=len)
    if shorter == longer:
        return bool(shorter) or one.strip() == other.strip()
    if not shorter or len(shorter) / len(longer) < ALIKE:
        return False
    more = _left_over(shorter, longer)
    return more is not None and not any(map(_changes_meaning, more))


def is_fuller(new: str, old: str) -> bool:
    """Whether the new wording has words that the old one lacks."""
    return len(words_of(new)) > len(words_of(old))


def _left_over(shorter: tuple[str, ...], longer: tuple[str, ...]) -> list[str] | None:
    """Words of the longer text between those of the shorter; None if their order differs."""
    more: list[str] = []
    place = 0
    for word in longer:
        if place < len(shorter) and word == shorter[place]:
            place += 1
        else:
            more.append(word)
    return more if place == len(shorter) else None


def _changes_meaning(word: str) -> bool:
    negated = word.endswith("n't")
    return negated or word in TURNING or any(char.isdigit() for char in word)
