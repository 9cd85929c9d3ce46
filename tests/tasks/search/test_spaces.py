"""Samples of a fitted space in an index: taken in by its folder, and searched for by samples and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, MissingHook, Run, UsageError
from diptych.data.modalities import STARS
from diptych.features.embed import embed
from diptych.features.modality_space import NoTexts
from diptych.tasks.search.spaces import (
    Source,
    has_words,
    modality_named,
    sample_records,
    sample_term,
    space_named,
    untrained_name,
)
from diptych.tasks.search.term import Term
from diptych.tasks.space_classifier import load_classifier
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.sky import extended_stars, sky
from tests.tasks.test_extend import clips, clouds  # noqa: F401


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stars")
    extended_stars(sky(root / "sky"), root / "model")
    return root


def refuse(name: str) -> Any:
    raise AssertionError(f"{name} is loaded, and stars need no backbone")


def test_vectors_are_what_the_head_reads(made: Path) -> None:
    space = space_named(str(made / "model"), refuse, Run())
    records = sample_records(str(made / "sky"), STARS)
    assert len(records) == 22
    assert records.names[0] == f"{made / 'sky'}[s1]"
    assert {fact["split"] for fact in records.facts} == {"train", "test", "unlabelled"}
    assert [error.name.rpartition("[")[2] for error in records.failed] == ["s22]", "s23]"]
    model = load_classifier(made / "model")
    stars = STARS.open([str(made / "sky")]).split("test").take([0, 1, 2]).items
    z = embed(space.image, stars, Run())
    expected = model.scores(stars, Run()).values
    np.testing.assert_array_equal(model.space.class_logits(z).numpy(), expected.numpy())  # type: ignore[attr-defined]
    assert space_named(f"space:{made / 'model'}", refuse, Run()).fingerprint == space.fingerprint
    assert space.spec.name == f"space:{made / 'model'}"
    assert not has_words(space)


def test_a_star_is_found_by_a_star_and_its_kind_stands_before_the_other(
    diptych: Any,  # noqa: F811
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(made)
    got = diptych("index", "sky", "--backbone", "model", "--out", "idx", "--json")
    assert (got.code, got.data["entries"], got.data["added"], len(got.data["skipped"])) == (3, 22, 22, 2), got.err
    again = diptych("index", "sky", "--backbone", "model", "--out", "idx", "--json")
    assert (again.code, again.data["added"], again.data["unchanged"]) == (3, 0, 22)
    by_index = diptych("index", "sky", "--out", "idx", "--json")  # the backbone is that of the index
    assert by_index.data["unchanged"] == 22, by_index.err
    answer = diptych("search", "idx", "sky[s2]", "--top", "8", "--json")
    assert answer.code == 0, answer.err
    results = answer.data["results"]
    assert results[0]["path"] == f"{made / 'sky'}[s2]"
    assert results[0]["score"] == pytest.approx(1, abs=1e-5)
    assert {r["metadata"].get("label", "falling") for r in results} == {"falling"}
    rising = diptych("search", "idx", "sky[s2]", "--where", "label=rising", "--json").data["results"]
    assert {r["metadata"]["label"] for r in rising} == {"rising"}
    assert rising[0]["score"] < results[7]["score"]
    for query, says in (("a red car", "share no space"), ("sky[s99]", "holds 0 stars s99"), ("sky", "holds 24 stars")):
        assert says in diptych("search", "idx", query).err


def test_clips_of_a_fitted_space_are_found_by_words_and_clips(
    diptych: Any,  # noqa: F811
    clips: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    out = tmp_path / "aligned"
    got = diptych("extend", clips, "--method", "ila", "--frames", "2", "--epochs", "2", "--out", out)
    assert got.code == 0, got.err
    got = diptych("index", clips, "--backbone", f"space:{out}", "--out", tmp_path / "idx", "--json")
    assert (got.code, got.data["added"]) == (0, 16), got.err
    one = clips / "test/red/clip1"
    answer = diptych("search", tmp_path / "idx", one, "--json")
    assert answer.code == 0, answer.err
    assert {r["path"]: r["score"] for r in answer.data["results"]}[str(one)] == pytest.approx(1, abs=1e-5)
    assert diptych("search", tmp_path / "idx", "a red thing", one / "0.png", "--json").code == 0
    refused = diptych("classify", one / "0.png", "--backbone", f"space:{out}", "--names", "a, b")
    assert (refused.code, "is a fitted space of clips and not a backbone of photos" in refused.err) == (2, True)
    got = diptych("index", tmp_path / "none.xyz", "--backbone", f"space:{out}", "--out", tmp_path / "other")
    assert (got.code, "takes clips" in got.err) == (2, True)


def test_clouds_are_indexed_without_training(diptych: Any, clouds: Path, tmp_path: Path) -> None:  # noqa: F811
    got = diptych("index", clouds / "test", "--out", tmp_path / "idx", "--json")
    assert (got.code, got.data["added"]) == (0, 9), got.err
    one = clouds / "test/box/1.xyz"
    answer = diptych("search", tmp_path / "idx", one, "--json")
    assert answer.data["results"][0]["path"] == str(one), answer.err
    assert len(diptych("search", tmp_path / "idx", "a box", "--json").data["results"]) == 9


def test_what_cannot_be_is_named(diptych: Any, made: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UsageError, match=r"no folder .* of a fitted space"):
        space_named(f"space:{made / 'absent'}", refuse, Run())
    with pytest.raises(DataError, match="holds no fitted space"):
        modality_named(f"space:{made / 'sky'}")
    with pytest.raises(UsageError, match="share no space with words or photos, and lite is no space of them"):
        Source.of([str(made / "sky")], "lite", None)
    space = space_named(str(made / "model"), refuse, Run())
    assert isinstance(space.text, NoTexts)
    with pytest.raises(MissingHook, match="has no scale"):
        space.scale()
    assert sample_term(Term("a dog"), STARS) == Term("a dog")
    with pytest.raises(DataError, match="holds 0 stars"):
        sample_term(Term(f"{made / 'sky'}[x]"), STARS)
    got = diptych("index", made / "sky", made / "sky", "-b", made / "model", "--out", tmp_path / "idx")
    assert (got.code, "a table at a time" in got.err) == (2, True)
    assert untrained_name("hf:a/b+frames12") == ("hf:a/b", "clips", 12)
