"""LightCLIP: its three terms against loops, its limit, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.backbones.sources.load import load
from diptych.core import Clock, Embedded, Evidence, Kit, MissingHook
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.lightclip import LightCLIP, LightTrainee
from diptych.nn.soft_pairs import instance_loss
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
    trained = train_space(LightCLIP(), Kit({"main": small()}), ROWS, replace(FIT, steps=40), RUN)
    assert accuracy(trained.space) > 0.9
    assert trained.parts == {}
    assert list(trained.space.module().state_dict()) == list(small().module().state_dict())
    for name in ("instance", "words"):
        assert trained.log[-1][f"main/{name}"] < trained.log[0][f"main/{name}"]


def test_what_cannot_work_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        next(LightCLIP().stages(Kit({"main": SmallBackbone()}), None, ROWS, RUN))
    (of_coca,) = LightCLIP().stages(Kit({"main": coca()}), None, ROWS, RUN)
    with pytest.raises(MissingHook, match="adds tokens to its ids"):
        of_coca.losses(batch_of(of_coca), "main", HALF)
    refused(LightCLIP, {"soften": 1.1}, {"negatives": "none"}, {"temperature": 0.0}, {"capacity": 0}, {"masked": 0.0})
    refused(LightCLIP, {"token_weight": -1.0}, {"word_weight": -0.1}, {"compared": 0})
