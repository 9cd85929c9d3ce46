from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from diptych.core import ClassNames, DataError, Evidence, MissingEvidence, Text, TextPool, UsageError
from diptych.data.named_sets import demo_folder
from diptych.data.words import textfiles
from diptych.data.words.classnames import tidy
from diptych.data.words.pools import class_texts, pair_texts, pool_of, read_pool, shipped

WHOLE = {
    "schema": 1,
    "datasets": ["mine"],
    "descriptions": {
        "writer": "w",
        "prompt": "p",
        "date": "2026-11-24",
        "texts": {"cat": [" soft fur ", "whiskers"], "dog": []},
    },
    "pairs": {
        "writer": "v",
        "texts": {"cat | dog": [{"attribute": "ears", "texts": ["a cat's ears", "a dog's ears"]}]},
    },
}


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "pool.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_pool_keeps_its_provenance_and_says_whose_each_text_is(tmp_path: Path) -> None:
    pool = read_pool(written(tmp_path, WHOLE))
    assert pool.texts == TextPool(
        {
            "cat": (Text("soft fur", "w", "p", "2026-11-24"), Text("whiskers", "w", "p", "2026-11-24")),
            "dog": (),
            "cat | dog": (Text("a cat's ears", "v"),),
            "dog | cat": (Text("a dog's ears", "v"),),
        }
    )
    assert pool.as_dict() == {"source": pool.source, "hash": pool.hash, "texts": 4, "writers": ["v", "w"]}


def test_a_bare_object_of_lists_is_read(tmp_path: Path) -> None:
    pool = read_pool(written(tmp_path, {"cat": ["soft fur"], "dog": ["wet nose"]}))
    assert pool.texts == TextPool({"cat": (Text("soft fur"),), "dog": (Text("wet nose"),)})


def test_one_object_of_descriptions_is_read(tmp_path: Path) -> None:
    pool = read_pool(written(tmp_path, WHOLE["descriptions"]))
    assert pool.texts.texts == {
        "cat": (Text("soft fur", "w", "p", "2026-11-24"), Text("whiskers", "w", "p", "2026-11-24")),
        "dog": (),
    }


def test_the_hash_follows_the_texts_and_not_their_order_in_the_file(tmp_path: Path) -> None:
    one = read_pool(written(tmp_path, {"cat": ["soft fur"], "dog": ["wet nose"]})).hash
    assert read_pool(written(tmp_path, {"dog": ["wet nose"], "cat": ["soft fur"]})).hash == one
    assert read_pool(written(tmp_path, {"dog": ["soft fur"], "cat": ["wet nose"]})).hash != one
    assert len(one) == 12


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not valid JSON"),
        ([], "must hold a JSON object"),
        ({"schema": 1}, "neither 'descriptions' nor 'pairs'"),
        ({"schema": 1, "descriptions": []}, "must be an object with 'texts'"),
        ({"schema": 1, "descriptions": {"texts": {}, "writer": 3}}, "must be strings"),
        ({"cat": "soft fur"}, "the texts of 'cat' must be a list"),
        ({"cat": [3]}, "every text of 'cat'"),
        ({"cat": ["  "]}, "every text of 'cat'"),
        ({"cat": ["x" * 1001]}, "every text of 'cat'"),
        ({"": ["x"]}, "no class name"),
        ({"cat | dog": ["x"]}, "no class name"),
        ({"schema": 1, "pairs": {"texts": {"cat": []}}}, "'cat' is no pair"),
        ({"schema": 1, "pairs": {"texts": {"cat | cat": []}}}, "is no pair"),
        ({"schema": 1, "pairs": {"texts": {"a | b | c": []}}}, "is no pair"),
        ({"schema": 1, "pairs": {"texts": {"a | b": {}}}}, "must be a list of objects"),
        ({"schema": 1, "pairs": {"texts": {"a | b": [{"texts": ["x"]}]}}}, "must be a list of objects"),
        ({"schema": 1, "pairs": {"texts": {"a | b": [], "b | a": []}}}, "holds the pair 'b | a' twice"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pool(written(tmp_path, value))


def test_another_schema_an_absent_file_and_a_large_one_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="schema 2"):
        read_pool(written(tmp_path, {"schema": 2}))
    with pytest.raises(UsageError, match="no file"):
        read_pool(tmp_path / "absent.json")
    with pytest.raises(UsageError, match="no file"):
        read_pool("../pools/clothes")
    monkeypatch.setattr(textfiles, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="too much for texts"):
        read_pool(written(tmp_path, WHOLE))


def test_classes_find_their_texts_by_name(tmp_path: Path) -> None:
    evidence: Evidence[Any] = Evidence(texts=read_pool(written(tmp_path, WHOLE)).texts)
    assert class_texts(evidence, ClassNames(("dog", "cat"))) == ((), ("soft fur", "whiskers"))
    assert pair_texts(evidence, ClassNames(("dog", "cat"))) == {
        "cat | dog": ("a cat's ears",),
        "dog | cat": ("a dog's ears",),
    }
    assert pair_texts(evidence, ClassNames(("dog",))) == {}
    with pytest.raises(MissingEvidence, match="no list for 'cow', 'ewe'"):
        class_texts(evidence, ClassNames(("dog", "cow", "ewe")))
    with pytest.raises(MissingEvidence, match=r"no two of these classes apart: add pairs such as 'cow \| dog'"):
        pair_texts(evidence, ClassNames(("cow", "dog")))
    half: Evidence[Any] = Evidence(texts=TextPool({"cat | dog": (Text("x"),)}))
    with pytest.raises(MissingEvidence, match="one side of 'dog' and 'cat' only"):
        pair_texts(half, ClassNames(("dog", "cat")))
    for ask in (class_texts, pair_texts):
        with pytest.raises(MissingEvidence, match=r"evidence\.texts is missing"):
            ask(Evidence(), ClassNames(("dog", "cat")))


def test_the_pools_that_ship_are_whole() -> None:
    assert shipped() == ("caltech40", "cifar10", "clothes", "objects16", "pacs", "ucmerced21")
    for name, classes in {"caltech40": 40, "cifar10": 10, "clothes": 10, "pacs": 7}.items():
        texts = read_pool(name).texts.texts
        lists = {key: values for key, values in texts.items() if " | " not in key}
        assert len(lists) == classes
        for key, values in lists.items():
            assert 5 <= len(values) <= 7
            assert len({v.value for v in values}) == len(values)
            assert all(key.lower() not in v.value.lower() for v in values), f"{key}: descriptions leave the name out"
        assert all(v.writer and v.prompt and v.date for values in texts.values() for v in values)


@pytest.mark.parametrize("name", ["clothes", "cifar10"])
def test_each_side_of_a_shipped_pair_names_its_own_class(name: str) -> None:
    texts = read_pool(name).texts.texts
    classes = [key for key in texts if " | " not in key]
    assert len([key for key in texts if " | " in key]) == 2 * len(list(combinations(classes, 2))) == 90
    for key, values in texts.items():
        if " | " in key:
            assert 2 <= len(values) <= 3
            own = key.split(" | ")[0]
            assert all(
                v.value.startswith((f"A photo of a {own} ", f"A photo of an {own} ", f"A photo of {own} "))
                for v in values
            ), key


def test_the_demo_has_a_pool_for_its_classes() -> None:
    pool = pool_of("demo:clothes")
    assert pool is not None
    assert pool.source == "clothes"
    assert pool_of("nobody's") is None
    names = ClassNames(tuple(tidy(p.name) for p in (demo_folder("clothes") / "test").iterdir()))
    assert len(class_texts(Evidence(texts=pool.texts), names)) == 10
    assert len(pair_texts(Evidence(texts=pool.texts), names)) == 90


@pytest.mark.data
@pytest.mark.parametrize("dataset", ["clothing_small", "cifar10_small", "caltech40", "pacs_small/photo"])
def test_the_development_sets_have_a_pool_for_their_classes(data_root: Path, dataset: str) -> None:
    pool = pool_of(dataset)
    assert pool is not None
    root = data_root / dataset
    folder = next((root / split for split in ("train", "test") if (root / split).is_dir()), root)
    names = ClassNames(tuple(tidy(p.name) for p in folder.iterdir() if p.is_dir()))
    assert all(class_texts(Evidence(texts=pool.texts), names))
