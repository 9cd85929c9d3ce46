"""DC-CLIP: its loss against NumPy, what each stage trains, what a teacher teaches, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.core import DataError, Evidence, Kit, MissingEvidence, MissingHook, MissingPart, Row, Text, TextPool
from diptych.core.train import Stage
from diptych.features.frozen import Headed
from diptych.methods.pretrain.dc_clip import DCCLIP, material, smooth_l1
from diptych.nn.tower_features import text_features
from diptych.train.loop import train
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, Squares, small, squares

ROWS, METHOD = Evidence(train=squares()), DCCLIP()


def stage(number: int, method: DCCLIP = METHOD, teacher=None) -> Stage:
    stages = method.stages(Kit({"main": small(), "teacher": teacher or small(embed_dim=20)}), None, ROWS, RUN)
    for _ in range(number):
        next(stages)
    return next(stages)


def batch(s: Stage, count: int = 6):
    return s.trainee.collate(
        [s.trainee.views(Row(s.data.items[i], i, str(i)), RUN.generator("")) for i in range(count)]
    )


def huber(x: np.ndarray, z: np.ndarray) -> float:
    u = np.abs(x - z)
    return float(np.where(u < 1, u**2 / 2, u - 0.5).mean())


def test_smooth_l1_against_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    x, z = 3 * torch.randn(4, 5, 2, generator=g), torch.randn(4, 5, 2, generator=g)
    valid = torch.rand(4, 5, generator=g) > 0.5
    assert smooth_l1(x, z).item() == pytest.approx(huber(x.numpy(), z.numpy()), rel=1e-5)
    assert smooth_l1(x, z, valid).item() == pytest.approx(huber(x[valid].numpy(), z[valid].numpy()), rel=1e-5)


def test_the_image_half_against_numpy() -> None:
    teacher = load("tiny")
    s = stage(0, teacher=teacher)
    losses = s.trainee.losses(batch(s), "main", None)
    space, module = s.trainee.trained(), s.trainee.module()
    with torch.no_grad():
        pictures = [Squares(40)[i] for i in range(40)]
        x, t = space.image.inputs(pictures[:6]), teacher.image.inputs(pictures)
        mine = space.image.encode(x)
        cells = space.dense().maps(x)[-1]
        theirs, maps = teacher.image.encode(t).numpy(), teacher.dense().maps(t)[-1].permute(0, 2, 3, 1).numpy()
        cells = torch.nn.functional.interpolate(cells, (8, 8), mode="bilinear").permute(0, 2, 3, 1)
        for kind, own, taught in (("embedding", mine, theirs), ("map", cells, maps)):
            flat = taught.reshape(-1, taught.shape[-1])
            sigma = np.maximum(flat.std(0), 0.01 * flat.std(0).mean())
            z = (taught[:6] - flat.mean(0)) / sigma
            mapped = module["adapters"][kind](own).numpy()
            assert losses[kind].item() == pytest.approx(huber(mapped, z), rel=1e-3), kind


@pytest.mark.parametrize(("number", "modality"), [(0, "image"), (1, "text")])
def test_a_half_trains_its_tower_and_adapters_alone(number: int, modality: str) -> None:
    s = stage(number)
    names = {n for g in s.trainee.groups() for n in g.names}
    of_image = {n for n in names if n.startswith("space.visual.")}
    assert (of_image == {n for n in names if n.startswith("space.")}) == (modality == "image")
    assert any(n.startswith("adapters.") for n in names)
    assert "space.logit_scale" not in names
    before = {n: t.clone() for n, t in s.trainee.teacher.module().state_dict().items()}
    first, *_, last = train(s.trainee, s.data, replace(FIT, batch=5, steps=20, **s.fit), RUN).records
    assert last["main/embedding"] < first["main/embedding"]
    assert all(torch.equal(t, before[n]) for n, t in s.trainee.teacher.module().state_dict().items())


def test_tokens_are_distilled_where_the_ids_agree() -> None:
    same, other = stage(1), stage(1, teacher=load("lite"))
    assert set(same.trainee.losses(batch(same), "main", None)) == {"embedding", "tokens"}
    assert set(other.trainee.losses(batch(other), "main", None)) == {"embedding"}
    alone = stage(0, DCCLIP(features="embeddings"))
    assert set(alone.trainee.losses(batch(alone), "main", None)) == {"embedding"}


def test_tokens_of_all_processes_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a", "a dog on the grass beside a house", "b", "c"]
    t = stage(1).trainee
    views = [t.views(Row(text, i, str(i)), RUN.generator("")) for i, text in enumerate(texts)]
    whole = t.losses(t.collate(views), "main", None)["tokens"]
    batches = [t.collate(views[:2]), t.collate(views[2:])]
    counts = [text_features(t.space, b["text"], tokens=True, project=False)[1].sum() for b in batches]
    assert counts[0] > counts[1]
    monkeypatch.setattr("diptych.methods.pretrain.dc_clip.gather", lambda world: lambda x: torch.stack(counts))
    halves = [t.losses(b, "main", None)["tokens"] for b in batches]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole, rtol=1e-5, atol=1e-6)


def test_stage_two_begins_where_stage_one_ended_without_adapters() -> None:
    kit = Kit({"main": small(), "teacher": small(embed_dim=20)})
    stages = DCCLIP(rate=5e-3).stages(kit, None, ROWS, RUN)
    looks = next(stages)
    train(looks.trainee, looks.data, replace(FIT, steps=3), RUN)
    reads = next(stages)
    train(reads.trainee, reads.data, replace(FIT, batch=5, steps=3), RUN)
    last = next(stages)
    assert not isinstance(last, Stage)
    state, start = last.module().state_dict(), small().module().state_dict()
    for trainee, one in ((looks.trainee, "visual.proj"), (reads.trainee, "text_projection")):
        trained = trainee.module().state_dict()[f"space.{one}"]
        assert torch.equal(state[f"space.{one}"], trained)
        assert not torch.equal(trained, start[one])
    assert not any("adapters" in n for n in state)


def test_the_teacher_is_learnt_from_unpaired_material() -> None:
    teacher = train_space(
        DCCLIP(features="embeddings"), Kit({"main": small(), "teacher": small()}), ROWS, replace(FIT, steps=40), RUN
    ).space
    s = stage(0, DCCLIP(features="embeddings", rate=5e-3), teacher)
    train(s.trainee, s.data, replace(FIT, steps=60, lr=5e-3), RUN)
    held_out = [Squares(100)[i] for i in range(50, 100)]
    with torch.no_grad():
        x, t = (b.image.encode(b.image.inputs(held_out)) for b in (s.trainee.trained(), teacher))
        mapped = s.trainee.adapters["embedding"](x) * s.trainee.module().embedding_deviation
        mapped += s.trainee.module().embedding_mean
    cosine = (normalize(mapped, dim=-1) * normalize(t, dim=-1)).sum(1).mean().item()
    assert cosine > 0.95


def test_material_is_the_rows_and_what_stands_beside_them() -> None:
    more = TextPool({"red": (Text("rot", "me"), Text("red", "me"))})
    pictures, texts = material(replace(ROWS, unlabelled=Squares(3), texts=more))
    assert len(pictures) == 43
    assert len(texts.values) == 11
    assert "rot" in texts.values


def test_what_is_refused() -> None:
    refused(DCCLIP, {"features": "logits"}, {"rate": 0.0}, {"steps": 0}, {"decay": -0.1}, {"sample": 1})
    with pytest.raises(MissingPart, match="'teacher'"):
        next(DCCLIP().stages(Kit({"main": small()}), None, ROWS, RUN))
    kit = Kit({"main": small(), "teacher": small()})
    with pytest.raises(MissingEvidence, match="train split"):
        next(DCCLIP().stages(kit, None, Evidence(), RUN))
    with pytest.raises(DataError, match="a column 'caption'"):
        next(DCCLIP().stages(kit, None, Evidence(train=replace(squares(), columns={})), RUN))
    with pytest.raises(MissingHook, match="heads alone"):
        next(DCCLIP().stages(Kit({"main": Headed(small()), "teacher": small()}), None, ROWS, RUN))
