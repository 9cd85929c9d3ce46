from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError
from tests.support.colours import colour_folder


def test_a_head_is_fitted_saved_and_scores_pairs(tmp_path: Path) -> None:
    colour_folder(tmp_path / "colours", {"train": 12, "test": 12})
    head = diptych.curate.head("colours", positive="red")
    assert head.path is None
    assert head.data["val_auc"] > 0.9
    assert "AUC on held-out pictures" in repr(head)
    with pytest.raises(
        DiptychError, match=r"not written to a file yet: give out= where it is made, or call its save\(path\)"
    ):
        diptych.curate("pairs.csv", method="vector-head", head=head)
    head.save("red.safetensors")
    plan = diptych.curate("pairs.csv", method="vector-head", head=head)
    titles = plan.apply("kept", share=0.3).to_pandas()["filepath"]
    assert len(titles)
    assert all(Path(name).name.startswith("red") for name in titles)


def test_the_class_is_one_of_the_data(tmp_path: Path) -> None:
    colour_folder(tmp_path / "colours", {"train": 2, "test": 2})
    with pytest.raises(DiptychError, match="has no class 'mauve' to score high"):
        diptych.curate.head("colours", positive="mauve")
    with pytest.raises(TypeError, match="positive"):
        diptych.curate.head("colours")  # type: ignore[call-arg]
