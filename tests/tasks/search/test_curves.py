"""Stars in an index: taken in by a kept model, and found by a star."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import DataError, MissingHook, Run, UsageError
from diptych.data.load import open_data
from diptych.features.embed import embed
from diptych.tasks.search.ask import Term
from diptych.tasks.search.curves import curve_records, curve_space, star_term
from diptych.tasks.stars import extend_stars
from tests.cli.conftest import diptych  # noqa: F401
from tests.tasks.test_stars import TINY, sky


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stars")
    extend_stars(open_data(sky(root / "sky"), need="curves"), Run(seed=1), out=root / "model", method=TINY)
    return root


def test_vectors_are_what_the_head_reads(made: Path) -> None:
    space = curve_space(made / "model")
    records = curve_records(str(made / "sky"), space)
    assert len(records) == 22
    assert records.names[0] == f"{made / 'sky'}[s1]"
    assert {fact["split"] for fact in records.facts} == {"train", "test", "unlabelled"}
    assert [error.name.rpartition("[")[2] for error in records.failed] == ["s22]", "s23]"]
    z = embed(space.image, records.images, Run())
    stars = [records.images[i] for i in range(len(records))]
    head = space.model.net().head
    expected = space.model.probabilities(records.images, 8)  # type: ignore[arg-type]
    np.testing.assert_allclose(head(z).softmax(1).detach().numpy(), expected.numpy(), atol=1e-5)
    assert z.shape == (len(stars), space.image.dim)
    assert curve_space(made / "model").fingerprint == space.fingerprint


def test_a_star_is_found_by_a_star_and_its_kind_stands_before_the_other(
    diptych: Any,  # noqa: F811
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(made)
    got = diptych("index", "sky", "--backbone", "model", "--out", "idx", "--json")
    assert (got.code, got.data["entries"], got.data["added"], len(got.data["skipped"])) == (3, 22, 22, 2)
    again = diptych("index", "sky", "--backbone", "model", "--out", "idx", "--json")
    assert (again.code, again.data["added"], again.data["unchanged"]) == (3, 0, 22)
    found = diptych("search", "idx", "sky[s2]", "--top", "8", "--json")
    assert found.code == 0, found.err
    results = found.data["results"]
    assert results[0]["path"] == f"{made / 'sky'}[s2]"
    assert results[0]["score"] == pytest.approx(1, abs=1e-5)
    assert {r["metadata"].get("label", "falling") for r in results} == {"falling"}
    rising = diptych("search", "idx", "sky[s2]", "--where", "label=rising", "--json").data["results"]
    assert {r["metadata"]["label"] for r in rising} == {"rising"}
    assert rising[0]["score"] < results[7]["score"]
    for query, says in (("a red car", "share no space"), ("sky[s99]", "holds 0 stars s99"), ("sky", "holds 24 stars")):
        assert says in diptych("search", "idx", query).err


def test_what_cannot_be_is_named(diptych: Any, made: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UsageError, match="no model of them"):
        curve_space(made / "absent")
    with pytest.raises(MissingHook, match="has no scale"):
        curve_space(made / "model").scale()
    assert star_term(Term("a dog"), curve_space(made / "model")) == Term("a dog")
    with pytest.raises(DataError, match="holds 0 stars"):
        star_term(Term(f"{made / 'sky'}[x]"), curve_space(made / "model"))
    got = diptych("index", made / "sky", made / "sky", "-b", made / "model", "--out", tmp_path / "idx")
    assert (got.code, "a table at a time" in got.err) == (2, True)
