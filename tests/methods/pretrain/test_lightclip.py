"""LightCLIP: its three terms against loops, its limit, and what it refuses."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.core.data import Evidence
from diptych.core.errors import MissingHook
from diptych.core.kit import Kit
from diptych.core.train import Clock, Embedded
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.lightclip import LightCLIP, LightTrainee, instance_loss, softened, token_loss
from diptych.nn.text.masked_words import Masked, mask_words
from diptych.train.pair import PairTrainee, token_ids
from diptych.train.recipe import train_space
from tests.support.checkpoints import transformers_folder
from tests.support.refused import refused
from tests.train.test_captioning import coca
from tests.train.test_pair import FIT, RUN, accuracy, rows, small, squares

ROWS = Evidence(train=squares())
PLAIN = LightCLIP(soften=0.0, token_weight=0.0, word_weight=0.0)
HALF = Clock(5, 10, 0, torch.Generator().manual_seed(0))


def trainee(method: LightCLIP = LightCLIP()) -> LightTrainee:  # noqa: B008
    (only,) = method.stages(Kit({"main": small()}), None, ROWS, RUN)
    assert isinstance(only, LightTrainee)
    return only


def batch_of(t: PairTrainee):
    return t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])


def test_without_its_terms_it_is_clips_loss_in_value_and_gradient() -> None:
    ours, theirs = trainee(PLAIN), PairTrainee(small(), CLIPLoss(), RUN)
    one, two = ours.losses(batch_of(ours), "main", HALF), theirs.losses(batch_of(theirs), "main", HALF)
    assert set(one) == {"instance"}
    torch.testing.assert_close(one["instance"], two["contrastive"], rtol=1e-5, atol=1e-6)
    one["instance"].backward()
    two["contrastive"].backward()
    of_theirs = dict(theirs.module()["space"].named_parameters())
    for name, p in ours.module()["space"].named_parameters():
        torch.testing.assert_close(p.grad, of_theirs[name].grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("temperature", [0.1, None])
def test_softened_targets_against_a_loop(temperature: float | None) -> None:
    c = torch.rand(2, 4, generator=torch.Generator().manual_seed(0)).double()
    q = softened(c, 1, 0.3, temperature)
    for i in range(2):
        others = {j: math.exp(float(c[i, j]) / temperature) if temperature else 1.0 for j in range(4) if j != i + 1}
        for j in range(4):
            expected = 0.7 if j == i + 1 else 0.3 * others[j] / sum(others.values())
            assert q[i, j].item() == pytest.approx(expected)
    assert torch.equal(softened(c, 0, 0.0, temperature), torch.eye(2, 4).double())
    assert softened(c[:1, :1], 0, 0.3, temperature).tolist() == [[1.0]]


def test_the_instance_loss_against_a_loop_and_over_two_processes() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 3, generator=g) for _ in range(2))
    scale = torch.tensor(5.0)

    def of(rows: slice, rank: int) -> torch.Tensor:
        whole = {"x": normalize(x, dim=-1), "y": normalize(y, dim=-1)}
        gathered = iter([whole["y"], whole["x"]])
        vectors = {"image": x[rows], "text": y[rows]}
        return instance_loss(Embedded(vectors, lambda a, b: (scale, scale), lambda t: next(gathered), rank), 0.2, 0.5)

    a, b = normalize(x, dim=-1), normalize(y, dim=-1)
    total = 0.0
    for p, q in ((a, b), (b, a)):
        cosines = p @ q.T
        targets = softened(cosines, 0, 0.2, 0.5)
        total -= float((targets * (5 * cosines).log_softmax(1)).sum(1).mean()) / 2
    assert of(slice(None), 0).item() == pytest.approx(total, rel=1e-5)
    assert (of(slice(0, 2), 0) + of(slice(2, 4), 1)).item() / 2 == pytest.approx(total, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert of(slice(None), 0).item() == pytest.approx(total, rel=1e-5)


def test_the_token_loss_against_a_loop_over_all_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    patches, words = (normalize(torch.randn(4, n, 6, generator=g), dim=-1) for n in (5, 3))
    valid = torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, True, True]])
    scores = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            s = words[j, valid[j]] @ patches[i].T
            ways = [c for c in product(range(5), repeat=len(s)) if max(Counter(c).values()) <= 2]
            scores[i, j] = max(sum(float(s[k, p]) for k, p in enumerate(c)) for c in ways) / len(s)
    both = [torch.diagonal((7 * s).log_softmax(1)).mean() for s in (scores, scores.T)]
    found = token_loss(patches, words, valid, torch.tensor(7.0), 2, negatives=9, g=torch.Generator())
    assert found.item() == pytest.approx(-float(both[0] + both[1]) / 2, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = token_loss(patches, words, valid, torch.tensor(7.0), 2, negatives=9, g=torch.Generator())
    assert halves.item() == pytest.approx(found.item(), rel=1e-6)
    alone = token_loss(patches[:1], words[:1], valid[:1], torch.tensor(7.0), 2, 3, torch.Generator())
    assert alone.item() == 0.0


@pytest.mark.parametrize("family", ["clip", "siglip", "altclip"])
def test_words_are_neither_ends_nor_padding_of_any_tokenizer(family: str, tmp_path: Path) -> None:
    """SigLIP has no start token, reads its padding, and has its end token before that."""
    space = load(f"local:{transformers_folder(tmp_path / family, family)}", offline=True)
    (t,) = LightCLIP().stages(Kit({"main": space}), None, ROWS, RUN)
    assert isinstance(t, LightTrainee)
    ids = token_ids(space.text.inputs(["a dog", ""]))
    words = t.words(Embedded({}, t.scale, lambda x: x, 0, {"text": t.text.start(ids)}, {"ids/text": ids}))
    ends = set(ids[1].tolist())
    assert ids[0][words[0]].tolist() == [i for i in ids[0].tolist() if i not in ends]
    assert not words[1].any()


def test_masked_words_are_predicted_with_both_sides_and_the_image() -> None:
    t = trainee()
    batch = batch_of(t)
    e = t.embed(batch)
    words = t.words(e)
    place = torch.arange(words.shape[1])
    assert torch.equal(words, (place > 0) & (place < e.targets["ids/text"].argmax(1, keepdim=True)))
    masked = mask_words(e.targets["ids/text"], words, 0.15, torch.Generator().manual_seed(0))
    image = t.patches(e.tokens["image"])
    assert image.shape[1] == 4
    plain = t.word_losses(batch, masked, image)
    assert len(plain) == int(masked.predicted.sum())
    assert torch.equal(plain, t.word_losses(batch, masked, image.flip(0)))  # the gates are closed
    torch.nn.init.ones_(t.model.gates)
    assert not torch.allclose(t.word_losses(batch, masked, image), t.word_losses(batch, masked, image.flip(0)))
    first = torch.zeros_like(words)
    first[:, 1] = True
    blank = Masked(batch["text"], first, first)
    later = batch["text"].clone()
    later[:, 2] = later.roll(1, 0)[:, 2]  # what follows the masked word
    both = [t.word_losses({"text": b.ids}, b, image) for b in (blank, Masked(later, first, first))]
    assert not torch.allclose(both[0], both[1])


def test_softening_grows_with_the_steps() -> None:
    t = trainee(replace(PLAIN, soften=1.0))
    batch = batch_of(t)
    e = t.embed(batch)
    for step, share in ((0, 0.0), (5, 0.5)):
        loss = t.losses(batch, "main", replace(HALF, step=step))["instance"]
        torch.testing.assert_close(loss, instance_loss(e, share, 0.1))
    with torch.no_grad():  # early stopping compares epochs by one loss
        values = [t.validate([batch], replace(HALF, step=step)) for step in (0, 5)]
    assert values == pytest.approx([instance_loss(e, 1.0, 0.1).item()] * 2)


def test_it_learns_and_gives_the_space_alone() -> None:
    made = train_space(LightCLIP(), Kit({"main": small()}), ROWS, replace(FIT, steps=40), RUN)
    assert accuracy(made.space) > 0.9
    assert made.parts == {}
    assert list(made.space.module().state_dict()) == list(small().module().state_dict())
    for name in ("instance", "words"):
        assert made.log[-1][f"main/{name}"] < made.log[0][f"main/{name}"]


def test_what_cannot_work_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        next(LightCLIP().stages(Kit({"main": SmallBackbone()}), None, ROWS, RUN))
    (of_coca,) = LightCLIP().stages(Kit({"main": coca()}), None, ROWS, RUN)
    with pytest.raises(MissingHook, match="adds tokens to its ids"):
        of_coca.losses(batch_of(of_coca), "main", HALF)
    refused(LightCLIP, {"soften": 1.1}, {"negatives": "none"}, {"temperature": 0.0}, {"capacity": 0}, {"masked": 0.0})
    refused(LightCLIP, {"token_weight": -1.0}, {"word_weight": -0.1}, {"compared": 0})
