from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingHook,
    Run,
    State,
    Table,
    UsageError,
)
from diptych.methods.detect import anomalyclip
from diptych.methods.detect.anomalyclip import NAMES, AnomalyCLIP, FittedAnomalyCLIP
from diptych.nn.dense.anomaly_states import local_maps, state_head, state_losses
from diptych.nn.dense.mask_losses import dice_loss, focal_loss
from diptych.nn.prompts.deep import refreshed
from diptych.nn.prompts.soft import encode_prompts, slots
from tests.support.dense_colours import DenseColours
from tests.support.refused import refused
from tests.support.scratches import scratched
from tests.support.small_clip import small_clip


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


AUXILIARY = scratched(6, 6, seed=2)
SHORT = AnomalyCLIP(epochs=2)


def fit(method: AnomalyCLIP, vit: Backbone, auxiliary: Table[Any] = AUXILIARY, seed: int = 0) -> FittedAnomalyCLIP:
    return method.fit(Kit({"main": vit}), Evidence(auxiliary=auxiliary), Run(seed=seed))


def test_the_share_of_blocks_is_the_papers() -> None:
    class Deep:
        depth = 24

    blocks: Any = AnomalyCLIP(layers=(0.25, 0.5, 0.75, 1.0)).local_blocks
    assert blocks(Deep()) == ((6, 12, 18, 24), 5)
    Deep.depth = 4
    assert blocks(Deep())[1] == 1


def test_deep_tokens_overwrite_one_to_m_before_the_second_block_and_later() -> None:
    deep = noise(3, 2, 5)
    edit, s = refreshed(deep, at=1), State(torch.zeros(2, 7, 5))
    for stage, i in (("before", 0), ("after", 1), ("before", 4)):
        assert edit(stage, i, s) is s  # type: ignore[arg-type]
    for i in (1, 2, 3):
        out = edit("before", i, s).h
        torch.testing.assert_close(out[:, 1:3], deep[i - 1].expand(2, -1, -1))
        assert out[:, 0].abs().sum() == out[:, 3:].abs().sum() == 0


def test_without_deep_tokens_prompts_are_coops(vit: Backbone) -> None:
    where, context = slots(vit, NAMES, 3), noise(2, 3, 16)
    tower = vit.tower("text")
    with torch.no_grad():
        head = state_head(tower, where, {"context": context, "deep": torch.zeros(0, 0, 16)})
        torch.testing.assert_close(head, F.normalize(encode_prompts(tower, where, context), dim=-1))
        deep = state_head(tower, where, {"context": context, "deep": noise(1, 2, 16)})
    assert not torch.allclose(head, deep)


def batch(masks: bool = True) -> Mapping[str, Tensor]:
    z = F.normalize(noise(3, 3, 4, 12), dim=-1)  # the image, then two depths of four patches
    z[:, 0] = z[:, 0, :1]
    held = {"z": z, "y": torch.tensor([0, 1, 1])}
    return held | ({"mask": (noise(3, 8, 8, seed=4) > 0.5).float()} if masks else {})


def test_the_loss_equals_its_equation(vit: Backbone) -> None:
    b, tower, where = batch(), vit.tower("text"), slots(vit, NAMES, 3)
    with torch.no_grad():
        head = state_head(tower, where, {"context": noise(2, 3, 16), "deep": noise(1, 2, 16, seed=1)})
        found = state_losses(head, b, 0.07, 4.0)
        logits = (b["z"][:, 0, 0] @ head.T) / 0.07
        expected = -torch.stack([logits[i].log_softmax(0)[y] for i, y in enumerate([0, 1, 1])]).mean()
        assert found["image"].item() == pytest.approx(expected.item(), rel=1e-5)
        total = 0.0
        for layer in (1, 2):
            s = ((b["z"][:, layer] @ head.T) / 0.07).softmax(-1).transpose(1, 2).reshape(3, 2, 2, 2)
            s = F.interpolate(s, (8, 8), mode="bilinear")
            total += (
                focal_loss(s, b["mask"]) + dice_loss(s[:, 1], b["mask"]) + dice_loss(s[:, 0], 1 - b["mask"])
            ).item()
        assert found["pixels"].item() == pytest.approx(4 * total, rel=1e-5)
        assert set(state_losses(head, batch(masks=False), 0.07, 4.0)) == {"image"}


def test_learnt_prompts_tell_scratches_apart_and_swapped_labels_turn_them_round(vit: Backbone) -> None:
    from diptych.metrics.detection import auroc
    from proofs.detect import swapped_labels

    # The image loss alone: on a random tower of four patches the pixel losses drown it.
    method, test = AnomalyCLIP(epochs=30, rate=1e-2, local_weight=0.0), scratched(8, 8, seed=9)
    kit, evidence = Kit({"main": vit}), Evidence(auxiliary=scratched(12, 12, seed=2))

    def area(fitted: Any) -> float:
        return auroc(np.array([a.score for a in fitted.detect(test.items, Run())]), test.labels())

    assert area(method.fit(kit, evidence, Run())) > 0.8
    _, spoiled = swapped_labels(ClassNames(("plate",)), evidence, Run())
    assert area(method.fit(kit, spoiled, Run())) < 0.3


def test_the_map_is_the_blurred_anomalous_share(vit: Backbone) -> None:
    from scipy.ndimage import gaussian_filter

    fitted, image = fit(SHORT, vit), AUXILIARY.items[7]
    (found,) = fitted.detect(AUXILIARY.take([7]).items, Run())
    z, grid = SHORT.embed_one(vit, image, Run())
    head = state_head(vit.tower("text"), slots(vit, NAMES, 12), fitted.prompts)
    with torch.no_grad():
        s = local_maps(z[1:], head, grid, 0.07)
        expected = gaussian_filter(F.interpolate(s[:, 1:], (32, 32), mode="bilinear")[0, 0].numpy(), 4.0)
    assert found.map is not None
    np.testing.assert_allclose(found.map.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert found.size == (image.height, image.width)
    assert 0 <= found.score <= 1


def test_masks_are_used_where_they_are_and_the_name_of_the_thing_never(vit: Backbone) -> None:
    plain = Table(AUXILIARY.items, {"label": AUXILIARY.columns["label"]})
    with_masks, without = fit(SHORT, vit), fit(SHORT, vit, plain)
    assert not torch.equal(with_masks.prompts["context"], without.prompts["context"])
    assert NAMES == ("object", "damaged object")
    assert with_masks.prompts["context"].shape == (2, 12, 16)
    assert with_masks.prompts["deep"].shape == (1, 4, 16)  # two text blocks: only the second is overwritten


def test_a_mask_of_another_size_than_its_photo_is_refused(vit: Backbone) -> None:
    masks = [np.asarray(m) for m in AUXILIARY.columns["mask"].values]
    masks[7] = masks[7].T
    turned = Table(AUXILIARY.items, {**AUXILIARY.columns, "mask": Column("mask", tuple(masks))})
    with pytest.raises(DataError) as caught:
        fit(SHORT, vit, turned)
    name = AUXILIARY.items.name(7)
    assert str(caught.value) == f"The mask of {name} has (48, 40) pixels and the photo (40, 48): give one of its size."


def test_what_cannot_be_is_refused(vit: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(
        AnomalyCLIP,
        {"length": 0},
        {"deep": 13},
        {"stream": "both"},
        {"side": 0},
        {"epochs": 0},
        {"temperature": 0.0},
        {"layers": (2.0,)},
    )
    with pytest.raises(MissingHook, match="image tower"):
        SHORT.fit(Kit({"main": DenseColours()}), Evidence(auxiliary=AUXILIARY), Run())
    with pytest.raises(UsageError, match="multiples"):
        fit(replace(SHORT, side=33), vit)
    monkeypatch.setattr(anomalyclip, "_MOST", 100)
    with pytest.raises(DataError, match="4 GiB"):
        fit(SHORT, vit)
