from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones import lite_sharpness
from diptych.core import Run, UsageError
from diptych.features import head_cache
from diptych.features.head_cache import read_head, write_head
from diptych.features.heads import logits, sharpness, text_head
from tests.support.backbone import SmallBackbone
from tests.support.colours import ColourBackbone

PROMPTS = [["a fox", "a red fox", "a fox"], ["a tea cup"], ["a red fox", "an oak"]]


def test_head_is_the_mean_of_unit_prompts_loop() -> None:
    backbone = SmallBackbone()
    rows = []
    for prompts in PROMPTS:
        unit = [
            v / np.linalg.norm(v)
            for v in (backbone.text.encode(backbone.text.inputs([p]))[0].numpy().astype(np.float64) for p in prompts)
        ]
        mean = np.mean(unit, axis=0)
        rows.append(mean / np.linalg.norm(mean))
    head = text_head(backbone, PROMPTS, Run())
    assert head.shape == (3, 16)
    assert head.dtype == torch.float32
    assert np.allclose(head.numpy(), np.stack(rows), atol=1e-6)


def test_each_sentence_once_and_from_the_store(tmp_path: Path) -> None:
    run = Run(cache=tmp_path)
    head = text_head(SmallBackbone(), PROMPTS, run)
    assert run.tally["encoded"] == 4
    assert torch.equal(text_head(SmallBackbone(), PROMPTS, run), head)
    assert run.tally["encoded"] == 4
    text_head(SmallBackbone(), [["a fox", "an oak"]], run)  # another class of known sentences
    assert (run.tally["encoded"], run.tally["cached"]) == (4, 2)


def test_a_known_class_costs_one_row_in_any_company(tmp_path: Path) -> None:
    run = Run(cache=tmp_path)
    head = text_head(SmallBackbone(), PROMPTS, run)
    again = Run(cache=tmp_path)
    assert torch.equal(text_head(SmallBackbone(), [PROMPTS[2], PROMPTS[0]], again), head[[2, 0]])
    assert not again.tally
    text_head(SmallBackbone(), [PROMPTS[1], ["new"]], again)
    assert again.tally["encoded"] == 1
    assert torch.equal(text_head(SmallBackbone(), PROMPTS, again), head)


def test_the_order_of_prompts_is_another_class_key_but_a_shared_cache_answers(tmp_path: Path) -> None:
    head = text_head(SmallBackbone(), PROMPTS, Run(cache=tmp_path / "shared"))
    own = Run(cache=tmp_path / "own", shared_cache=tmp_path / "shared")
    assert torch.equal(text_head(SmallBackbone(), PROMPTS, own), head)
    assert not own.tally


def test_order_of_classes_is_kept() -> None:
    head = text_head(SmallBackbone(), PROMPTS, Run())
    assert torch.allclose(text_head(SmallBackbone(), PROMPTS[::-1], Run()), head.flip(0), atol=1e-6)


@pytest.mark.parametrize("prompts", [[], [["a fox"], []]])
def test_a_class_without_prompt_is_refused(prompts: list[list[str]]) -> None:
    with pytest.raises(UsageError, match="at least one prompt"):
        text_head(SmallBackbone(), prompts, Run())


@pytest.mark.parametrize(("score", "bias"), [("softmax", 0.0), ("sigmoid", -10.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_are_scaled_cosines_plus_bias(score: str, bias: float, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    x, head = (torch.nn.functional.normalize(torch.randn(n, 16, generator=g, dtype=dtype), dim=-1) for n in (5, 3))
    out = logits(SmallBackbone(score=score), x, head.float())  # type: ignore[arg-type]
    assert out.dtype == dtype
    assert np.allclose(out.numpy(), 20 * np.einsum("nd,kd->nk", x.numpy(), head.float().numpy()) + bias, atol=1e-5)


def test_logits_have_the_type_of_the_vectors_under_autocast() -> None:
    g = torch.Generator().manual_seed(0)
    x, head = (torch.nn.functional.normalize(torch.randn(n, 16, generator=g), dim=-1) for n in (5, 3))
    with torch.autocast("cpu", torch.bfloat16):
        out = logits(SmallBackbone(), x, head)
    assert torch.equal(out, logits(SmallBackbone(), x, head))


@pytest.mark.parametrize(("score", "bias"), [("softmax", 0.0), ("sigmoid", -10.0)])
def test_factors_are_the_scales_of_the_encoder_over_that_of_the_backbone(
    score: str, bias: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = torch.Generator().manual_seed(0)
    x, head = (torch.nn.functional.normalize(torch.rand(n, 16, generator=g), dim=-1) for n in (5, 3))
    backbone = SmallBackbone(score=score)  # type: ignore[arg-type]
    values = logits(backbone, x, head)
    assert sharpness(backbone, x, values) is None, "no numbers were fitted for this encoder"
    monkeypatch.setattr(lite_sharpness, "FITTED", {backbone.image.fingerprint: (1.0, 0.5, -2.0, 0.0)})
    found = sharpness(backbone, x, values)
    assert found is not None
    certainty = 1 / x.sum(dim=1).numpy()
    expected = np.e * certainty**0.5 * (x @ head.T).amax(dim=1).numpy() ** -2 / 20
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_gradients_reach_what_is_trained() -> None:
    x, head = torch.ones(1, 16), torch.ones(2, 16, requires_grad=True)
    logits(SmallBackbone(), x, head).sum().backward()
    assert head.grad is not None


def test_a_head_that_was_read_is_held_and_never_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, prompts = Run(cache=tmp_path / "cache"), [["red"], ["blue", "sky"]]
    text = ColourBackbone().text
    held = head_cache._RecentHeads(most=2)
    monkeypatch.setattr(head_cache, "_RECENT", held)
    first = np.eye(2, 4, dtype=np.float32)
    write_head(text, prompts, first, run)
    read = read_head(text, prompts, run)
    assert read is not None
    read[:] = 7  # a caller's own
    shutil.rmtree(tmp_path / "cache")
    np.testing.assert_array_equal(read_head(text, prompts, run), first)
    assert read_head(text, prompts[:1], run) is None
    assert read_head(text, prompts, replace(run, cache=tmp_path / "other")) is None
    for other in ("a", "b"):
        write_head(text, [[other]], first[:1], run)
        assert read_head(text, [[other]], run) is not None
    assert read_head(text, prompts, run) is None  # let go of, and the folder that held it is gone
