from __future__ import annotations

from pathlib import Path

import pytest

from diptych.data.words.wordnet import WordNet
from recipes.search_truth import SETS, SHOWN, WORDS


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


def test_class_folders_are_queries_and_looks_too(wordnet: WordNet) -> None:
    names = ["/x/caltech40/train/grand_piano/1.jpg", "/x/caltech40/val/crab/2.jpg", "/x/caltech40/val/crab/3.jpg"]
    truth, named = SETS["caltech40"].truth(Path(), names, wordnet)
    assert truth == {"grand piano": {names[0]}, "crab": set(names[1:])}
    assert named == set(truth)
    drawing = "/x/pacs_large/sketch/train/elephant/a.jpg"
    truth, named = SETS["pacs_large"].truth(Path(), [drawing], wordnet)
    assert truth == {"elephant": {drawing}, "a sketch of an elephant": {drawing}}
    assert "elephant" in named


def test_captions_and_classes_of_the_sets_give_their_nouns(data_root: Path, wordnet: WordNet) -> None:
    folder = data_root / "imagenet1k_sample" / "images"
    if not folder.is_dir():
        pytest.skip("needs imagenet1k_sample")
    names = [str(p) for p in sorted(folder.glob("*.jpg"))]
    truth, _ = SETS["imagenet1k_sample"].truth(data_root, names, wordnet)
    assert {Path(n).name[:9] for n in truth["tench"]} == {"n01440764"}
    assert truth["tench"] < truth["fish"]


def test_words_that_labels_name_are_no_absent_words(wordnet: WordNet) -> None:
    every = [w.strip() for w in WORDS.replace("\n", " ").split(",")]
    assert len(every) == len(set(every)) == 180
    left = SETS["caltech40"].absent("caltech40", {"kangaroo", "butterfly", "violin case"}, wordnet)
    assert not {"kangaroo", "violin", "moon"} & set(left)  # named, named within a phrase, and shown by a picture
    assert {"giraffe", "lighthouse"} < set(left)
    struck = {w.replace("_", " ") for words in SHOWN.values() for w in words.split()}
    assert struck <= set(every)
