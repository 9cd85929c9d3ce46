from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.tokens import padded
from diptych.core import Column, Kit, Run, Subset, Table, Text, UsageError
from diptych.data.captions import captions, colour_phrase
from diptych.methods.classify.caps_adapter import ALPHAS, ASK, BETAS, DELTAS, GAMMAS, CapSAdapter, prompts
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.nn.cache_model import cache_logits, divergences, rescaled
from tests.support.backbone import SmallBackbone, TextEncoder
from tests.support.pictures import Pictures, task
from tests.support.refused import refused

FIXED = CapSAdapter(alpha=2.0, beta=5.0, gamma=3.0, delta=0.4)


def unit(encoder, items) -> np.ndarray:
    v = encoder.encode(encoder.inputs(items)).detach().double().numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def softmax(v: np.ndarray) -> np.ndarray:
    e = np.exp(v - v.max())
    return e / e.sum()


def test_equals_a_numpy_loop(run: Run) -> None:
    names, evidence, test = task(3)
    assert evidence.train is not None
    assert evidence.val is not None
    backbone = SmallBackbone()
    head = unit(backbone.text, [f"a photo of a {name}." for name in names])
    labels = evidence.train.labels().tolist()
    images = unit(backbone.image, evidence.train.items)
    said = [f"A photo of {names.names[k]}. {colour_phrase(evidence.train.items[i])}" for i, k in enumerate(labels)]
    texts = unit(backbone.text, said)

    def parts(items) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        z = unit(backbone.image, items)
        a, kl = np.zeros((len(z), len(labels))), np.zeros((len(z), len(labels)))
        for n, x in enumerate(z):
            q = softmax(head @ x / 0.5)
            for i in range(len(labels)):
                p = softmax(head @ images[i] / 0.5)
                a[n, i] = 0.6 * x @ images[i] + 0.4 * x @ texts[i]
                kl[n, i] = sum(q * np.log(q / p))
        return z, a, kl

    _, a_val, kl_val = parts(evidence.val.items)
    z, a, kl = parts(test.items)
    psi = (kl - kl_val.min()) / (kl_val.max() - kl_val.min()) * (a_val.max() - a_val.min()) + a_val.min()
    expected = 20 * z @ head.T
    for i, k in enumerate(labels):
        expected[:, k] += 2 * np.exp(-5 * (1 - a[:, i])) - 3 * psi[:, i]
    fitted = FIXED.fit(Kit({"main": backbone}), names, evidence, run)
    scores = fitted.scores(test.items, run)
    assert scores.kind == "logit"
    np.testing.assert_allclose(scores.values.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_without_weights_it_is_zero_shot(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = CapSAdapter(0.0, 1.0, 0.0, 0.0).fit(kit, names, evidence, run)
    plain = ZeroShot().fit(kit, names, evidence, run)
    assert torch.equal(fitted.scores(test.items, run).values, plain.scores(test.items, run).values)


def test_without_captions_and_divergence_it_is_tip_adapters_cache(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = CapSAdapter(1.5, 4.0, 0.0, 0.0).fit(kit, names, evidence, run)
    plain = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).values
    backbone = kit.parts["main"]
    z = torch.tensor(unit(backbone.image, test.items)).float()
    vote = cache_logits(z, fitted.images, fitted.labels, 3, 4.0)
    torch.testing.assert_close(fitted.scores(test.items, run).values, plain + 1.5 * vote, rtol=1e-4, atol=1e-4)


def test_a_prediction_does_not_hang_on_its_batch(kit: Kit, run: Run) -> None:
    """Pitfall: the released code rescales by the range of the block that is being predicted."""
    names, evidence, test = task(3)
    fitted = FIXED.fit(kit, names, evidence, run)
    together = fitted.scores(test.items, run).values
    pair = fitted.scores(Subset(test.items, (0, 4)), run).values
    torch.testing.assert_close(pair, together[[0, 4]], rtol=1e-5, atol=1e-5)
    z = torch.tensor(unit(kit.parts["main"].image, test.items)).float()
    kl = divergences(z, fitted.images, fitted.head, 0.5)

    def own(rows: torch.Tensor) -> torch.Tensor:
        return rescaled(rows, (float(rows.min()), float(rows.max())), fitted.range)

    assert not torch.allclose(own(kl)[[0, 4]], own(kl[[0, 4]]), atol=1e-3), "the pitfall must be one"


def test_the_choice_is_made_on_val_and_ties_take_no_captions(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(3)
    assert evidence.val is not None
    assert evidence.train is not None
    found = CapSAdapter().fit(kit, names, evidence, run)
    values = found.scores(evidence.val.items, run).predicted().numpy()
    plain = CapSAdapter(delta=0.0).fit(kit, names, evidence, run).scores(evidence.val.items, run).predicted().numpy()
    labels = evidence.val.labels()
    assert (values == labels).sum() >= (plain == labels).sum()
    same = replace(
        evidence,
        train=Table(evidence.train.items, {**evidence.train.columns, "captions": Column("captions", ((),) * 12)}),
    )
    blind = CapSAdapter(prefix="a photo", alpha=0.0, gamma=0.0).fit(kit, names, same, run)
    assert blind.delta == 0.0


def test_the_search_takes_the_authors_ranges_in_coarser_steps() -> None:
    """Catalogue: beta = 1 + i 49/200, alpha = 0.1 + j 49.9/20, gamma = 0.1 + l 29.9/50, delta = 0, 0.1 .. 1."""
    for grid, low, width in ((BETAS, 1.0, 49.0), (ALPHAS, 0.1, 49.9), (GAMMAS, 0.1, 29.9)):
        assert grid == pytest.approx([low + i * width / len(grid) for i in range(len(grid))], abs=1e-12)
    assert list(DELTAS) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert tuple(map(len, (DELTAS, BETAS, GAMMAS, ALPHAS))) == (6, 10, 6, 10)


def test_captions_come_from_the_table_then_a_writer_then_the_colours(run: Run) -> None:
    names, evidence, _ = task(2, shots=1)
    assert evidence.train is not None

    class Captioner:
        def write(self, asks, /):
            assert all(ask.prompt == ASK and ask.image is not None for ask in asks)
            return [[Text("one caption")], []]

    kit = Kit({"main": SmallBackbone(), "captioner": Captioner()})
    texts = {}
    given = Table(evidence.train.items, {**evidence.train.columns, "captions": Column("captions", (("a", "b"), ()))})
    for name, table, parts in (
        ("table", given, kit),
        ("writer", evidence.train, kit),
        ("colours", evidence.train, Kit({"main": kit.parts["main"]})),
    ):
        texts[name] = FIXED.fit(parts, names, replace(evidence, train=table), run).texts
    expected = {
        "table": ["A photo of red fox. a", "A photo of oak tree."],
        "writer": ["A photo of red fox. one caption", "A photo of oak tree."],
        "colours": [f"A photo of {n}. {colour_phrase(evidence.train.items[i])}" for i, n in enumerate(names)],
    }
    for name, said in expected.items():
        np.testing.assert_allclose(texts[name].numpy(), unit(kit.parts["main"].text, said), rtol=1e-4, atol=1e-5)


def test_colour_phrases() -> None:
    half = Image.new("RGB", (32, 32), (255, 255, 255))
    half.paste((0, 0, 255), (0, 0, 32, 8))
    assert colour_phrase(half) == "Mostly white and blue, in bright light."
    assert colour_phrase(Image.new("RGB", (5, 9), (0, 0, 0))) == "Mostly black, in dim light."
    assert captions(Table(Pictures((half,)))) == (colour_phrase(half),)
    assert captions(Table(Pictures((torch.zeros(3),)))) == ("",)  # type: ignore[arg-type]


def test_prompts_are_cut_after_so_many_words() -> None:
    assert prompts(("red fox",), (0,), ("in the snow",), "A photo of {}. ", None) == (
        "A photo of red fox. in the snow",
    )
    assert prompts(("red fox",), (0,), ("in the snow",), "A photo of {}. ", 6) == ("A photo of red fox. in",)


class Words:
    pad = 0

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [[1] * len(text.split()) for text in texts]


@dataclass(frozen=True)
class ShortText(TextEncoder):
    """Reads eight words, and refuses longer texts as all backbones do."""

    def inputs(self, items: Sequence[str], size: int | None = None) -> torch.Tensor:
        padded(Words(), items, 8, trim=True, truncate=False)  # type: ignore[arg-type]
        return super().inputs(items, size)


def test_a_prompt_beyond_the_context_is_an_error_and_words_cut_it(run: Run) -> None:
    """The released code cuts it without a word; the card says that this one does not."""
    names, evidence, _ = task(2)
    assert evidence.train is not None
    backbone = SmallBackbone()
    backbone._encoders["text"] = ShortText("short-text")
    said: dict[str, Any] = {"captions": Column("captions", (("one two three four",),) * 8)}
    given = replace(evidence, train=Table(evidence.train.items, {**evidence.train.columns, **said}))
    with pytest.raises(UsageError, match="has 9 tokens and this model reads 8"):
        FIXED.fit(Kit({"main": backbone}), names, given, run)
    assert replace(FIXED, words=8).fit(Kit({"main": backbone}), names, given, run).texts.shape == (8, 16)
    assert any("longer than the text tower reads is an error" in line for line in CapSAdapter.card.differs)


def test_the_control_swaps_captions_between_classes(run: Run) -> None:
    from proofs.classify import OTHER_CAPTIONS

    names, evidence, _ = task(3)
    assert OTHER_CAPTIONS.spoil is not None
    assert not isinstance(OTHER_CAPTIONS.spoil, type(OTHER_CAPTIONS))
    _, spoiled = OTHER_CAPTIONS.spoil(names, evidence, run)
    assert spoiled.train is not None
    for label, (said,) in zip(spoiled.train.labels(), spoiled.train.columns["captions"].values, strict=True):
        assert names.names[label] not in said
        assert sum(name in said for name in names) == 1
    assert OTHER_CAPTIONS.change(FIXED, run) == replace(FIXED, prefix="")


@pytest.mark.parametrize(("classes", "shots"), [(1, 1), (2, 3), (4, 2)])
def test_sizes(classes: int, shots: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = FIXED.fit(kit, names, evidence, run)
    assert fitted.images.shape == fitted.texts.shape == (classes * shots, 16)
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)


@pytest.mark.parametrize(
    "wrong", [{"alpha": -1.0}, {"beta": -0.1}, {"gamma": -2.0}, {"delta": 1.1}, {"temperature": 0.0}, {"words": 0}]
)
def test_bad_input(wrong: dict[str, float]) -> None:
    refused(CapSAdapter, wrong)
