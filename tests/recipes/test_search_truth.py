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


def test_a_stamp_is_right_for_its_noun_and_for_all_that_is_broader(data_root: Path, wordnet: WordNet) -> None:
    folder = data_root / "tuxpaint_stamps" / "images"
    if not folder.is_dir():
        pytest.skip("needs tuxpaint_stamps")
    truth, named = SETS["tuxpaint_stamps"].truth(data_root, [str(p) for p in sorted(folder.iterdir())], wordnet)
    assert truth["frog"]
    assert truth["crow"] < truth["bird"]
    assert named == set(truth)


def test_areas_and_kinds_of_groceries_are_queries(data_root: Path, wordnet: WordNet) -> None:
    if not (data_root / "msrc_large").is_dir() or not (data_root / "grocery_packages").is_dir():
        pytest.skip("needs msrc_large and grocery_packages")
    photos = [str(p) for p in sorted((data_root / "msrc_large" / "images").iterdir())]
    truth, named = SETS["msrc_large"].truth(data_root, photos, wordnet)
    assert {"grass", "cow", "sky"} < named == set(truth)
    shelf = [str(p) for p in sorted((data_root / "grocery_packages" / "photos").rglob("*.jpg"))]
    truth, named = SETS["grocery_packages"].truth(data_root, shelf, wordnet)
    assert {"juice", "apple"} < named
    assert "juice" in truth
    assert "apple" not in truth
