"""When a training counts as collapsed, and what is measured while it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, Collapsed, Column, Diverged, Run, Table
from diptych.data.labelled import LabelledData
from diptych.metrics.retrieval import first_ranks, recall_at
from diptych.tasks.training import measures as training_measures
from diptych.tasks.training.measures import Measuring, watcher
from tests.train.test_pair import COLOURS, Squares, small, squares

NAMES = ClassNames(tuple(COLOURS), ("a {} square",))
TABLE = Table(Squares(20), {"label": Column("label", np.arange(20) % 5)})
DATA = LabelledData("squares", tuple(COLOURS), {"test": TABLE})
SPREADS = {"image_spread": 0.5, "text_spread": 0.5}
MEASURING = Measuring(DATA, NAMES, [], NAMES.templates, Run(workers=0))


def test_what_falls_to_chance_is_refused() -> None:
    before, chance = {"squares": {"acc1": 0.9, **SPREADS}}, {"squares": {"acc1": 0.2, **SPREADS}}
    with pytest.raises(Collapsed, match=r"What the backbone knew of squares is gone: acc1 fell from 0.900 to 0.200"):
        MEASURING.refuse_collapse(before, chance)
    MEASURING.refuse_collapse(before, {"squares": {"acc1": 0.4, **SPREADS}})
    MEASURING.refuse_collapse({"squares": {"acc1": 0.3, **SPREADS}}, chance)  # 20 rows cannot tell 0.3 from chance


def test_one_row_has_no_spread_to_lose() -> None:
    before = {"squares": {"image_spread": 0.5, "text_spread": 1.2e-7}}
    MEASURING.refuse_collapse(before, {"squares": {"image_spread": 0.5, "text_spread": 0.0}})
    with pytest.raises(Collapsed, match=r"image embeddings collapsed: their spread fell from 0\.500 to 0\.000"):
        MEASURING.refuse_collapse(before, {"squares": {"image_spread": 1e-7, "text_spread": 0.0}})


def test_what_is_forgotten_elsewhere_is_refused() -> None:
    both = replace(MEASURING, elsewhere=[replace(DATA, name="other")])
    before = {"squares": {"acc1": 0.9, **SPREADS}, "other": {"acc1": 0.9}}
    with pytest.raises(Collapsed, match="knew of other is gone at step 3"):
        both.refuse_collapse(before, {**before, "other": {"acc1": 0.21}}, " at step 3")


@pytest.mark.parametrize("modality", ["image", "text"])
def test_embeddings_that_are_no_numbers_blame_the_training(modality: str) -> None:
    space = small()
    weights = dict(space.module().named_parameters())
    name = next(n for n in weights if n.startswith("visual.") == (modality == "image"))
    with torch.no_grad():
        weights[name].fill_(float("nan"))
    with pytest.raises(Diverged, match=rf"The {modality} embeddings are not finite: train with a lower learning rate"):
        MEASURING(space)


def test_recall_at_chance_is_refused() -> None:
    captioned = replace(DATA, splits={"test": squares(20)})
    r1 = {"image_retrieval_recall@1": 0.5, "text_retrieval_recall@1": 0.5}
    with pytest.raises(Collapsed, match=r"text_retrieval_recall@1 fell from 0\.500 to 0\.050"):
        replace(MEASURING, data=captioned, classes=None).refuse_collapse(
            {"squares": {**SPREADS, **r1}}, {"squares": {**SPREADS, **r1, "text_retrieval_recall@1": 0.05}}
        )


def test_few_rows_are_measured_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_measures, "WATCHED", 10)
    said: list[str] = []
    space = small()
    before = MEASURING(space)
    measures = watcher(MEASURING, space, before, said.append)(space, 5)
    ten = replace(MEASURING, data=replace(DATA, splits={"test": TABLE.take(np.linspace(0, 19, 10).astype(int))}))
    assert measures == {f"squares/{name}": value for name, value in ten(space)["squares"].items()}
    assert said == []


def test_captions_are_retrieved_among_a_number_of_rows_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    space, table = small(), squares(20)
    measuring = replace(MEASURING, data=replace(DATA, splits={"test": table}), classes=None)
    every = measuring(space)["squares"]
    monkeypatch.setattr(training_measures, "RANKED", 5)
    five = replace(DATA, splits={"test": table.take(np.linspace(0, 19, 5).astype(int).tolist())})
    capped = measuring(space)["squares"]
    assert capped == replace(measuring, data=five)(space)["squares"]
    assert capped != every
    assert [rows for _, _, _, rows in measuring._chances()] == [5, 5]


def test_recalls_are_those_of_the_whole_matrix() -> None:
    space, table = small(), squares(20)
    found = replace(MEASURING, data=replace(DATA, splits={"test": table}), classes=None)(space)["squares"]
    texts = [text for own in table.columns["captions"].values for text in own]
    owner = np.repeat(np.arange(20), [len(own) for own in table.columns["captions"].values])
    with torch.no_grad():
        x, y = (
            torch.nn.functional.normalize(space.encoders[m].encode(space.encoders[m].inputs(items)), dim=-1)
            for m, items in (("image", [table.items[i] for i in range(20)]), ("text", texts))
        )
    scores = (x.double() @ y.double().T).float().numpy()
    relevant = owner[None] == np.arange(20)[:, None]
    for k in (1, 5):
        assert found[f"text_retrieval_recall@{k}"] == recall_at(first_ranks(scores, relevant), k)
        assert found[f"image_retrieval_recall@{k}"] == recall_at(first_ranks(scores.T, relevant.T), k)


def test_from_random_weights_only_equal_embeddings_are_refused() -> None:
    scratch = replace(MEASURING, scratch=True)
    before = {"squares": {"acc1": 0.9, **SPREADS}}
    small_spread = {"squares": {"acc1": 0.2, "image_spread": 0.01, "text_spread": 0.02}}
    with pytest.raises(Collapsed):
        MEASURING.refuse_collapse(before, small_spread)
    scratch.refuse_collapse(before, small_spread)
    equal = {"squares": {"acc1": 0.2, "image_spread": 0.01, "text_spread": 1e-7}}
    with pytest.raises(Collapsed, match="The text embeddings collapsed at step 3: all are equal"):
        scratch.refuse_collapse(before, equal, " at step 3")
