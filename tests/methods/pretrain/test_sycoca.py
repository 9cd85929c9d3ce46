"""SyCoCa: its limit is CoCa's loss, which patches are seen and painted, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.core import Clock, Evidence, Kit, MissingHook, MissingPart, UsageError
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.methods.pretrain.sycoca import SyCoCa, SymmetricCoCaTrainee, SymmetricTrainee, largest, relevance
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import CaptionTrainee, CoCaTrainee, WordIds, next_logits
from diptych.train.recipe import DECODER, WORDS, train_space
from tests.support.checkpoints import transformers_folder
from tests.support.refused import refused
from tests.train.test_captioning import coca
from tests.train.test_pair import FIT, RUN, accuracy, rows, small, squares

ROWS = Evidence(train=squares())
WORD_IDS = WordIds.of([c for own in squares().columns["captions"].values for c in own])
SMALL = SyCoCa(paint_width=16, paint_depth=1, start=0.0)
CLOCK = Clock(5, 10, 0, torch.Generator().manual_seed(0))


def kit(space=None) -> Kit:
    with RUN.seeded("decoder"):
        decoder = SmallLM(len(WORD_IDS), width=8, depth=1, heads=2, memory=12)
    return Kit({"main": space or small(), DECODER: decoder, WORDS: WORD_IDS})


def trainee(method: SyCoCa = SMALL) -> SymmetricTrainee:
    (only,) = method.stages(kit(), None, ROWS, RUN)
    assert isinstance(only, SymmetricTrainee)
    return only


def batch_of(t):
    return t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])


def errors(t, pixels, hidden, text):
    return t.errors(pixels, hidden, t.tokens_around(pixels, hidden), text)


def test_without_masks_and_painting_it_is_cocas_loss_in_value_and_gradient() -> None:
    ours, parts = trainee(replace(SMALL, unseen=0.0, paint_weight=0.0)), kit().parts
    theirs = CaptionTrainee(small(), CoCaLoss(), RUN, parts[DECODER], WORD_IDS)
    one, two = ours.losses(batch_of(ours), "main", CLOCK), theirs.losses(batch_of(theirs), "main", CLOCK)
    assert one.keys() == two.keys()
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, rtol=1e-5, atol=1e-6)
    sum(one.values()).backward()
    sum(two.values()).backward()
    of_theirs = dict(theirs.module().named_parameters())
    for name, p in ours.module().named_parameters():
        if name.startswith(("space.", "decoder.")):
            torch.testing.assert_close(p.grad, of_theirs[name].grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_share_of_patches_is_never_none_of_them() -> None:
    assert largest(torch.tensor([[0.1, 0.4, 0.3]]), 0.01).tolist() == [[False, True, False]]
    assert largest(torch.rand(2, 5), 1.0).all()


def test_relevance_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    patches, words = (normalize(torch.randn(2, n, 4, generator=g), dim=-1) for n in (5, 3))
    valid = torch.tensor([[True, True, False], [True, True, True]])
    result = relevance(patches, words, valid)
    for b, count in enumerate((2, 3)):
        for p in range(5):
            assert result[b, p].item() == pytest.approx(max(float(patches[b, p] @ words[b, w]) for w in range(count)))


def test_padding_that_a_tower_reads_is_no_word(tmp_path: Path) -> None:
    space = load(f"local:{transformers_folder(tmp_path / 'siglip', 'siglip')}", offline=True)
    (t,) = SMALL.stages(kit(space), None, ROWS, RUN)
    assert isinstance(t, SymmetricTrainee)
    text = t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])
    e = t.embed(text)
    ids, h = e.targets["ids/text"], e.tokens["text"].h
    assert (ids == space.spec.pad).any()
    other = torch.where((ids == space.spec.pad)[..., None], 9.0 * torch.randn(h.shape), h)
    changed = replace(e, tokens={**e.tokens, "text": replace(e.tokens["text"], h=other)})
    assert torch.equal(t.scores(e, CLOCK), t.scores(changed, CLOCK))


def test_what_is_seen_and_what_is_painted_are_the_same_half_of_the_patches() -> None:
    t = trainee()
    batch = batch_of(t)
    e = t.embed(batch)
    scores = t.scores(e, CLOCK)
    assert not scores.requires_grad
    hidden = largest(scores, 0.5)
    memory = t.project("image", e.tokens["image"].h)
    seen = t.visible(memory, scores, 1)
    for b in range(len(memory)):
        assert torch.equal(seen[b], torch.cat([memory[b, :1], memory[b, 1:][hidden[b]]]))
    losses = t.losses(batch, "main", CLOCK)
    torch.testing.assert_close(losses["paint"], errors(t, batch["image"], hidden, e.tokens["text"]).mean())
    logits = next_logits(t.module()["decoder"], batch["ids"], seen)
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["ids"][:, 1:].flatten(), ignore_index=0)
    torch.testing.assert_close(losses["caption"], 2 * nats)


def test_the_vector_of_hidden_patches_is_that_of_the_module() -> None:
    """A training whose weights are divided over processes gives the module other parameters."""
    t = trainee()
    pixels, hidden = batch_of(t)["image"], torch.ones(10, 4, dtype=torch.bool)
    before = t.tokens_around(pixels, hidden)
    t.module().register_parameter("blank", torch.nn.Parameter(torch.ones(t.tower.width)))
    after = t.tokens_around(pixels, hidden)
    assert not torch.allclose(before, after)
    # along a random direction: the last step is a layer norm, and a sum over its output is constant
    direction = torch.randn(after.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((after * direction).sum(), t.module().get_parameter("blank"))
    assert gradient.abs().max() > 1e-3


def test_the_painter_does_not_see_what_is_hidden_and_is_judged_there_alone() -> None:
    t = trainee()
    batch = batch_of(t)
    e = t.embed(batch)
    hidden = torch.zeros(10, 4, dtype=torch.bool)
    hidden[:, 0] = True  # the upper left quarter
    torch.manual_seed(0)
    inside, outside = batch["image"].clone(), batch["image"].clone()
    inside[:, :, :16, :16] = torch.randn(10, 3, 16, 16)
    outside[:, :, 16:, 16:] = torch.randn(10, 3, 16, 16)
    painted = []
    t.painter.register_forward_hook(lambda module, x, y: painted.append(y))
    found = [errors(t, x, hidden, e.tokens["text"]) for x in (batch["image"], inside, outside)]
    assert torch.equal(painted[0], painted[1])
    assert not torch.equal(painted[0], painted[2])
    cell = batch["image"][:, :, :16, :16].flatten(1)
    target = (cell - cell.mean(1, keepdim=True)) / (cell.var(1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(found[0], (painted[0][:, 0] - target).square().mean(1))
    flipped = replace(e.tokens["text"], h=e.tokens["text"].h.flip(0), valid=e.tokens["text"].valid.flip(0))
    assert not torch.allclose(errors(t, batch["image"], hidden, flipped), found[0])


def test_first_steps_have_no_masks() -> None:
    t = trainee(replace(SMALL, start=0.5))
    batch = batch_of(t)
    assert "paint" not in t.losses(batch, "main", replace(CLOCK, step=4))
    assert "paint" in t.losses(batch, "main", CLOCK)
    with torch.no_grad():  # early stopping compares epochs by one loss
        assert t.validate([batch], replace(CLOCK, step=4)) == t.validate([batch], CLOCK)


def test_it_learns_and_returns_the_captioner() -> None:
    trained = train_space(SMALL, kit(), ROWS, replace(FIT, steps=40), RUN)
    assert accuracy(trained.space) > 0.9
    assert set(trained.parts) == {"decoder"}
    for name in ("contrastive", "caption", "paint"):
        assert trained.log[-1][f"main/{name}"] < trained.log[0][f"main/{name}"]
    assert list(trained.space.module().state_dict()) == list(small().module().state_dict())


def of_a_coca(method: SyCoCa = SMALL) -> SymmetricCoCaTrainee:
    (only,) = method.stages(Kit({"main": coca()}), None, ROWS, RUN)
    assert isinstance(only, SymmetricCoCaTrainee)
    return only


def test_on_a_coca_without_masks_and_painting_it_is_cocas_loss() -> None:
    ours, theirs = of_a_coca(replace(SMALL, unseen=0.0, paint_weight=0.0)), CoCaTrainee(coca(), CoCaLoss(), RUN)
    one, two = ours.losses(batch_of(ours), "main", CLOCK), theirs.losses(batch_of(theirs), "main", CLOCK)
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, rtol=1e-5, atol=1e-6)
    sum(one.values()).backward()
    sum(two.values()).backward()
    of_theirs = dict(theirs.module().named_parameters())
    for name, p in ours.module().named_parameters():
        if name.startswith("space.") and p.grad is not None:
            torch.testing.assert_close(p.grad, of_theirs[name].grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_decoder_of_a_coca_does_not_see_hidden_patches() -> None:
    t = of_a_coca()
    batch = batch_of(t)
    image = t.embed(batch).tokens["image"]
    scores = torch.tensor([0.9, 0.1, 0.8, 0.2]).expand(10, 4)  # patches 1 and 3 are hidden
    first, ids = t.captioned(batch, image, scores)
    assert ids.shape == first.shape[:2]
    for patch, seen in ((0, True), (1, False), (2, True), (3, False)):
        h = image.h.clone()
        h[:, image.prefix + patch] += 1.0
        again, _ = t.captioned(batch, replace(image, h=h), scores)
        assert torch.equal(again, first) != seen


def test_a_patch_of_a_coca_is_pooled_alone() -> None:
    t = of_a_coca()
    image = t.embed(batch_of(t)).tokens["image"]
    vectors = t.patch_vectors(image)
    visual = t.space.module().visual
    for patch in range(4):
        one = image.h[:, image.prefix + patch, None]
        alone = visual.ln_post(visual.attn_pool(one))[:, 0] @ visual.proj
        torch.testing.assert_close(vectors[:, patch], alone, rtol=1e-4, atol=1e-5)


def test_a_coca_learns_to_retrieve_and_its_decoder_moves() -> None:
    space = coca()
    trained = train_space(SMALL, Kit({"main": space}), ROWS, replace(FIT, steps=15), RUN)
    assert trained.parts == {}
    for name in ("contrastive", "caption", "paint"):
        assert trained.log[-1][f"main/{name}"] < trained.log[0][f"main/{name}"]
    before, after = space.module().state_dict(), trained.space.module().state_dict()
    assert not [n for n in before if n.startswith("text_decoder.") and torch.equal(before[n], after[n])]


def test_what_cannot_work_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        next(SMALL.stages(kit(SmallBackbone()), None, ROWS, RUN))
    with pytest.raises(UsageError, match="writes captions by its own decoder"):
        next(SMALL.stages(kit(coca()), None, ROWS, RUN))
    with pytest.raises(MissingPart):
        next(SMALL.stages(Kit({"main": small()}), None, ROWS, RUN))
    refused(SyCoCa, {"unseen": 1.0}, {"hidden": 0.0}, {"start": 1.5}, {"paint_depth": 0}, {"caption_weight": -1.0})
