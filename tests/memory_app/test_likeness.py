"""Near-duplicates are one entry; nothing that differs in meaning is."""

from __future__ import annotations

import pytest

from memory_app.likeness import says_the_same

LONG = "The customer has three dogs and wants large parcels left with the neighbour on Oak Road"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Likes tea.", "likes  TEA"),
        ("The user's name is Ada", "The user\u2019s name is ADA!"),
        ("\uff21da likes tea", "Ada likes tea"),
        (LONG, f"{LONG} today"),
        ("!!!", "!!!"),
    ],
)
def test_the_same(one: str, other: str) -> None:
    assert says_the_same(one, other)
    assert says_the_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Likes tea", "Likes coffee"),
        ("Alice reports to Bob", "Bob reports to Alice"),
        (LONG, f"{LONG} 12"),
        (LONG, LONG.replace("wants", "never wants")),
        (LONG, LONG.replace("wants", "wants doesn't")),
        (LONG, LONG.replace("three", "four")),
        ("Likes tea", "Likes tea a lot"),
        ("!!!", "???"),
        ("", "word"),
    ],
)
def test_not_the_same(one: str, other: str) -> None:
    assert not says_the_same(one, other)
