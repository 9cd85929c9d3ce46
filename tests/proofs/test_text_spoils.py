"""Texts of controls: drawn words, and those of another class."""

from __future__ import annotations

from diptych.core import ClassNames, Run, Text, TextPool
from proofs.text_spoils import random_texts, swapped_texts


def test_random_words_leave_the_name_in_its_place() -> None:
    held = TextPool(
        {
            "elephant | dog": (Text("A photo of an elephant, with a trunk."), Text("Elephants are grey")),
            "elephant | cat": (Text("A photo of an elephant, with a trunk."),),
            "dog | elephant": (Text("A dog-like dog with dog"),),
        }
    )
    drawn = random_texts(held, 0).texts
    trunk, grey = (t.value.split() for t in drawn["elephant | dog"])
    assert (len(trunk), trunk[4], len(grey), grey[0]) == (8, "elephant,", 3, "Elephants")
    assert drawn["elephant | cat"] == drawn["elephant | dog"][:1], "one text of a class stays one text"
    said = drawn["dog | elephant"][0].value.split()
    assert [i for i, word in enumerate(said) if word == "dog"] == [2, 4], "dog-like is no dog, and no name is drawn"
    assert not {"elephant,", "Elephants"} & set(said)
    assert random_texts(TextPool({"a": (Text("a"),)}), 0).texts["a"][0].value == "a"


def test_swapped_texts_keep_the_names() -> None:
    held = TextPool(
        {
            "elephant": (Text("An elephant is big", "me"), Text("no name")),
            "dog": (Text("A dog is small"),),
            "elephant | dog": (Text("A photo of an elephant that a dog fears"),),
            "dog | elephant": (Text("dogs and a hot dog that barks"),),
            "elephant | cat": (Text("one side alone"),),
        }
    )
    moved = swapped_texts(ClassNames(("elephant", "dog")), held, Run()).texts
    assert moved == {
        "elephant": (Text("An elephant is small"),),
        "dog": (Text("A dog is big", "me"), Text("no name")),
        "elephant | dog": (Text("elephant and a hot elephant that barks"),),
        "dog | elephant": (Text("A photo of a dog that an elephant fears"),),
        "elephant | cat": (Text("one side alone"),),
    }
    inside = TextPool(
        {
            "shirt | shirt dress": (Text("a shirt"),),
            "shirt dress | shirt": (Text("a shirt dress, no shirt, no t-shirt"),),
        }
    )
    moved = swapped_texts(ClassNames(("shirt", "shirt dress")), inside, Run()).texts
    assert moved["shirt | shirt dress"][0].value == "a shirt, no shirt dress, no t-shirt"
