"""LLM2CLIP: its loss against NumPy, what each stage trains, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.language_space import LanguageSpace
from diptych.core import Column, DataError, Evidence, Kit, MissingEvidence, MissingPart, Row, Table
from diptych.core.train import Stage
from diptych.features.frozen import Headed, on_trunks
from diptych.methods.pretrain.llm2clip import LANGUAGE, LLM2CLIP
from diptych.train.loop import train
from diptych.train.recipe import train_space
from tests.backbones.test_language_space import reader
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, small, squares

METHOD = LLM2CLIP(rank=2, dropout=0.0, blocks=1, rate=1e-2)
ROWS = Evidence(train=squares())


@pytest.fixture(scope="module", autouse=True)
def peft() -> None:
    pytest.importorskip("peft")


def kit(space=None) -> Kit:
    return Kit({"main": space or small(), LANGUAGE: reader()})


def test_stage_one_sees_texts_alone_and_trains_adapters_alone() -> None:
    language = reader()
    before = {n: t.clone() for n, t in language.network.state_dict().items()}
    stage = next(METHOD.stages(Kit({"main": small(), LANGUAGE: language}), None, ROWS, RUN))
    assert isinstance(stage, Stage)
    assert isinstance(stage.data.items[0], str)
    view = stage.trainee.views(Row("", 7, "7"), RUN.generator("x"))
    own = squares().columns["captions"].values[7]
    assert {view["query"], view["same"]} == set(own)
    assert all(".lora_" in n for g in stage.trainee.groups() for n in g.names)
    records = train(stage.trainee, stage.data, replace(FIT, lr=1e-2, steps=15), RUN).records
    assert records[-1]["main/captions"] < records[0]["main/captions"]
    tuned = stage.trainee.tuned()
    assert list(tuned.network.state_dict()) == list(before)
    assert tuned.fingerprint != language.fingerprint
    assert all(torch.equal(t, before[n]) for n, t in language.network.state_dict().items())
    moved = {n for n, t in tuned.network.state_dict().items() if not torch.equal(t, before[n])}
    assert moved
    assert all(torch.linalg.matrix_rank(tuned.network.state_dict()[n] - before[n], rtol=1e-3) <= 2 for n in moved)


def test_an_instruction_is_read_and_not_counted() -> None:
    stage = next(replace(METHOD, instruction="see: ").stages(kit(), None, ROWS, RUN))
    batch = stage.trainee.collate([{"query": "red", "same": "blue", "other": "green"}])
    assert batch["query"]["mask"].sum() == 8
    assert batch["query"]["counted"].sum() == 3
    assert batch["same"]["mask"].sum() == batch["same"]["counted"].sum() == 4


def test_stage_two_trains_image_tower_scale_and_adaptor() -> None:
    made = train_space(METHOD, kit(), ROWS, replace(FIT, steps=3), RUN).space
    assert isinstance(made, LanguageSpace)
    start = small().module().state_dict()
    moved = {n for n, t in made.base.module().state_dict().items() if not torch.equal(t, start[n])}
    assert all(n.startswith("visual.") or n == "logit_scale" for n in moved)
    assert any(n.startswith("visual.") for n in moved)
    frozen = train_space(
        replace(METHOD, tune=False), kit(), ROWS, replace(FIT, steps=3), RUN, learns=lambda n: n == "visual.proj"
    ).space
    assert isinstance(frozen, LanguageSpace)
    assert frozen.language.fingerprint == reader().fingerprint
    moved = {n for n, t in frozen.base.module().state_dict().items() if not torch.equal(t, start[n])}
    assert moved == {"visual.proj"}


def test_colours_are_learnt_through_the_language_model_by_heads_too() -> None:
    headed = Headed(small())
    rows = Evidence(train=on_trunks(headed, squares(), RUN))
    parts = Kit({"main": headed, LANGUAGE: reader(width=32)})
    made = train_space(replace(METHOD, tune=False), parts, rows, replace(FIT, lr=1e-2, steps=150), RUN).space
    texts = [f"a {c} square" for c in ("red", "green", "blue", "white", "black")]
    with torch.no_grad():
        x = made.image.encode(made.image.inputs([rows.train.items[i] for i in range(5)]))
        y = made.text.encode(made.text.inputs(texts))
        pictures = made.whole.image.inputs([squares().items[i] for i in range(5)])
        torch.testing.assert_close(made.whole.image.encode(pictures), x, atol=1e-5, rtol=1e-4)
    assert not isinstance(made.whole.base, Headed)
    assert (normalize(x, dim=-1) @ normalize(y, dim=-1).T).argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_what_is_refused() -> None:
    refused(
        LLM2CLIP,
        {"rate": 0.0},
        {"steps": 0},
        {"rank": 0},
        {"alpha": 0.0},
        {"dropout": 1.0},
        {"scale": 0.0},
        {"blocks": -1},
    )
    with pytest.raises(MissingPart, match="language_model"):
        next(METHOD.stages(Kit({"main": small()}), None, ROWS, RUN))
    with pytest.raises(MissingEvidence, match="train split"):
        next(METHOD.stages(kit(), None, Evidence(), RUN))
    with pytest.raises(DataError, match="a column 'caption'"):
        next(METHOD.stages(kit(), None, Evidence(train=Table(squares().items)), RUN))
    alone = Table(squares().items, {"captions": Column("captions", [("red",)] * 40)})
    with pytest.raises(DataError, match=r"^0 has fewer than two captions"):
        next(METHOD.stages(kit(), None, Evidence(train=alone), RUN))
    assert not isinstance(next(replace(METHOD, tune=False).stages(kit(), None, Evidence(train=alone), RUN)), Stage)
