from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, Column, DataError, Evidence, Kit, MissingEvidence, MissingHook, Run, Table
from diptych.data.strong_views import STRONG_VIEWS
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.visual import SameInputs, Unprojected
from diptych.methods.classify.nola import NoLA, class_prompts, labeller, parameter_groups
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.nn.candidates import sure_images
from diptych.nn.tuned_image import TunedEncoder, TunedImage
from diptych.train.parameters import copies
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, table, task
from tests.support.refused import refused
from tests.support.visual_backbone import SIDE, VisualBackbone

HEAD = NoLA(prompts=0, norms=False, epochs=5, views=2)
WHOLE = NoLA(prompts=2, epochs=2, views=2)


def visual() -> Kit:
    return Kit({"main": VisualBackbone()})


@pytest.mark.parametrize("method", [HEAD, WHOLE], ids=["head", "tower"])
def test_no_label_is_ever_seen(method: NoLA, run: Run) -> None:
    """Permuted, absent or absurd labels of train and val change no bit of what is fitted."""
    names, evidence, test = task(3)
    assert evidence.train is not None
    assert evidence.val is not None
    shuffled = {}
    for name, part in (("train", evidence.train), ("val", evidence.val)):
        labels = np.random.default_rng(0).permutation(part.labels())
        shuffled[name] = Table(part.items, {"label": Column("label", labels)})
    one, two, three = (
        method.fit(visual(), names, e, run)
        for e in (evidence, replace(evidence, **shuffled), replace(evidence, train=None, val=None))
    )
    for other in (two, three):
        assert torch.equal(one.head, other.head)
        assert one.learnt.keys() == other.learnt.keys()
        assert all(torch.equal(value, other.learnt[name]) for name, value in one.learnt.items())
    assert torch.equal(one.scores(test.items, run).values, three.scores(test.items, run).values)


def test_without_epochs_it_is_the_described_zero_shot_classifier(run: Run) -> None:
    names, evidence, test = task(3)
    kit = Kit({"main": SmallBackbone()})
    plain = replace(HEAD, epochs=0).fit(kit, names, replace(evidence, texts=None), run)
    zero = ZeroShot().fit(kit, names, Evidence(), run).scores(test.items, run)
    assert plain.scores(test.items, run).predicted().tolist() == zero.predicted().tolist()
    z = kit.parts["main"].image.encode(kit.parts["main"].image.inputs(list(test.items)))
    torch.testing.assert_close(
        20 * plain.scores(test.items, run).values / z.norm(dim=1, keepdim=True), zero.values, rtol=1e-4, atol=1e-4
    )


def test_the_labeller_learns_its_features_and_not_noise(run: Run) -> None:
    """Its labels follow the second encoder: with random features they are no better than chance."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(3, (300,), generator=g)
    good, noise = torch.randn(300, 8, generator=g) + 3 * torch.eye(8)[y], torch.randn(300, 8, generator=g)
    rows = torch.arange(60)
    assert (labeller(good, rows, y[rows], 3, 1e-3, run) == y)[60:].float().mean() > 0.9
    assert (labeller(noise, rows, y[rows], 3, 1e-3, run) == y)[60:].float().mean() < 0.5


def test_each_encoder_has_its_own_pixels(run: Run) -> None:
    """Pitfall: the released code feeds the second encoder pixels normalised for CLIP."""
    seen = []

    class Teacher:
        modality, dim, size, fingerprint = "image", 4, 5, "teacher"

        def inputs(self, items, size=None):
            seen.extend(items)
            return torch.stack([torch.full((4,), float(np.asarray(item).mean())) for item in items])

        def encode(self, x, /):
            return x

    names, evidence, _ = task(2)
    assert evidence.unlabelled is not None
    HEAD.fit(Kit({"main": SmallBackbone(), "teacher": Teacher()}), names, evidence, run)
    assert len(seen) == len(evidence.unlabelled)
    assert all(hasattr(item, "convert") for item in seen), "the pictures themselves, not tensors"


def test_with_nothing_to_train_the_tower_is_the_backbones(run: Run) -> None:
    backbone = VisualBackbone()
    tuned = TunedImage(backbone)
    x = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tuned(x), backbone.image.encode(x))
    assert [g.names for g in parameter_groups(("head",))] == [("head",)]


def test_norms_are_those_of_the_image_tower() -> None:
    names = TunedImage(VisualBackbone()).norms()
    blocks = {
        f"twin.image.transformer.resblocks.{i}.ln_{j}.{p}" for i in (0, 1) for j in (1, 2) for p in ("weight", "bias")
    }
    assert set(names) == blocks | {
        f"twin.image.ln_{where}.{p}" for where in ("pre", "post") for p in ("weight", "bias")
    }
    assert set(TunedImage(VisualBackbone()).norms(blocks_only=True)) == blocks


def test_head_and_prompts_decay_and_norms_do_not() -> None:
    """Pitfall: the released code spares "LayerNorm.weight", and CLIP's norms are called "ln_1.weight", so that they
    decay.
    """
    backbone = VisualBackbone()
    tuned = TunedImage(backbone, 2)
    norms = tuple(f"tuned.{name}" for name in tuned.norms())
    made = parameter_groups(("head", "tuned.prompts", *norms))
    assert {name: g.decay for g in made for name in g.names} == {
        "head": 1.0,
        "tuned.prompts": 1.0,
        **dict.fromkeys(norms, 0.0),
    }
    assert any(".ln_1.weight" in name for name in norms), "the pitfall must be one"


def test_prompts_stand_after_the_class_token_and_take_gradients() -> None:
    tuned = TunedImage(VisualBackbone(), 3)
    assert tuned.prompts is not None
    bound = (6 / (3 * 256 + 24)) ** 0.5
    assert float(tuned.prompts.detach().abs().max()) <= bound
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    out = tuned(x)
    assert not torch.allclose(out, TunedImage(VisualBackbone())(x))
    (grad,) = torch.autograd.grad(out.square().sum(), tuned.prompts)
    assert (grad.abs().sum(dim=1) > 0).all()


def test_what_was_learnt_gives_the_same_vectors_again() -> None:
    backbone = VisualBackbone()
    tuned = TunedImage(backbone, 2)
    learnt = copies(tuned, ("prompts", *tuned.norms()))
    learnt["twin.image.ln_post.bias"] += 1.0
    encoder = TunedEncoder.of(backbone, learnt)
    assert encoder.fingerprint != TunedEncoder.of(backbone, copies(tuned, ("prompts",))).fingerprint
    with torch.no_grad():
        dict(tuned.named_parameters())["twin.image.ln_post.bias"].add_(1.0)
        x = torch.randn(2, 3, SIDE, SIDE)
        torch.testing.assert_close(encoder.encode(x), tuned(x))
    with pytest.raises(DataError, match=r"twin\..* missing, .* more"):
        TunedEncoder.of(backbone, {"twin.nowhere": torch.zeros(1)})
    del learnt["twin.image.ln_post.bias"]
    with pytest.raises(DataError, match=r"\(twin\.image\.ln_post\.bias missing\)"):
        TunedEncoder.of(backbone, learnt)


def test_unprojected_features_project_to_the_embedding() -> None:
    backbone = VisualBackbone()
    encoder = Unprojected.of(backbone)
    x = torch.randn(2, 3, SIDE, SIDE)
    torch.testing.assert_close(backbone.tower("image").project(encoder.encode(x)), backbone.image.encode(x))
    assert encoder.dim == 24
    assert encoder.fingerprint != backbone.image.fingerprint
    with pytest.raises(MissingHook):
        Unprojected.of(SmallBackbone())


def test_sentences_are_templates_and_named_descriptions() -> None:
    names, evidence, _ = task(2)
    (fox, _) = class_prompts(names, evidence)
    assert fox[:2] == ["a photo of a red fox.", "a photo of a red fox, which has bushy tail."]
    assert class_prompts(names, replace(evidence, texts=None)) == [
        ["a photo of a red fox."],
        ["a photo of a oak tree."],
    ]


def test_strong_views_are_fixed_by_key_and_draw() -> None:
    (image,) = table([0], 1).items.images  # type: ignore[attr-defined]
    one, two = (STRONG_VIEWS.draw(image, 16, "key", 3) for _ in range(2))
    assert one.shape == (16, 16, 3)
    assert one.dtype == np.uint8
    assert (one == two).all()
    assert len({STRONG_VIEWS.draw(image, 16, "key", d).tobytes() for d in range(8)}) == 8
    assert (one != STRONG_VIEWS.draw(image, 16, "other", 3)).any()
    plain = replace(STRONG_VIEWS, jitter=0.0, tilt=0.0, blur=(0.0, 0.0), scale=TIP_VIEWS.scale)
    assert plain.name != TIP_VIEWS.name


@dataclass(frozen=True)
class Blind(SameInputs):
    """A second encoder that sees nothing."""

    backbone: Backbone
    dim = 4
    fingerprint = "blind"

    def encode(self, x: torch.Tensor, /) -> torch.Tensor:
        return torch.zeros(len(x), 4)


def test_the_control_permutes_its_own_labels_and_the_twin_has_no_second_encoder(run: Run) -> None:
    from proofs.classify import OwnFeatures, PermutedLabels

    _, evidence, _ = task(3)
    assert evidence.unlabelled is not None
    backbone = SmallBackbone()
    other = Blind(backbone)
    head = torch.eye(3, backbone.image.dim)

    def labels(kind: type[NoLA], parts: dict[str, object]) -> torch.Tensor:
        kit = Kit({"main": backbone, **parts})
        return kind(prompts=0, norms=False)._labels(kit, backbone, evidence.unlabelled, head, run)  # type: ignore[arg-type]

    own, permuted = labels(NoLA, {}), labels(PermutedLabels, {})
    assert (permuted != own).any()
    assert torch.equal(permuted.sort().values, own.sort().values)
    assert torch.equal(labels(OwnFeatures, {"teacher": other}), own)
    assert not torch.equal(labels(NoLA, {"teacher": other}), own)


def test_the_head_learns_what_the_teacher_sees(run: Run) -> None:
    names, evidence, _ = task(3)
    fitted = replace(HEAD, epochs=20).fit(Kit({"main": SmallBackbone()}), names, evidence, run)
    start = replace(HEAD, epochs=0).fit(Kit({"main": SmallBackbone()}), names, evidence, run)
    assert not torch.allclose(fitted.head, start.head)
    assert torch.allclose(normalize(start.head, dim=1), start.head, atol=1e-5)
    assert fitted.learnt == {}


def test_training_of_the_head_equals_a_plain_loop(run: Run) -> None:
    """All images are one batch with one strong view: AdamW and cross-entropy of smoothed labels, written out."""
    names, evidence, _ = task(3)
    assert evidence.unlabelled is not None
    backbone = SmallBackbone()
    got = replace(HEAD, epochs=4, views=1, batch=999).fit(Kit({"main": backbone}), names, evidence, run).head
    w = replace(HEAD, epochs=0).fit(Kit({"main": backbone}), names, evidence, run).head
    y = NoLA()._labels(Kit({"main": backbone}), backbone, evidence.unlabelled, w, run)
    x = embed(backbone.image, evidence.unlabelled, run, views=replace(STRONG_VIEWS, draws=1))[:, 0]
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, 5):
        w.requires_grad_()
        log_p = (x @ w.T).log_softmax(dim=1)
        target = 0.9 * torch.eye(3)[y] + 0.1 / 3
        (grad,) = torch.autograd.grad(-(target * log_p).sum(dim=1).mean(), w)
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        change = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        w = w.detach() * (1 - 4e-3 * 0.01) - 4e-3 * change
    torch.testing.assert_close(got, w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("images", "classes", "k"), [(40, 2, 16), (170, 2, 17), (179, 2, 17)])
def test_a_class_labels_a_fifth_of_its_share_and_16_images_at_least(
    images: int, classes: int, k: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(p: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(most)
        return sure_images(p, most)

    monkeypatch.setattr("diptych.methods.classify.nola.sure_images", watched)
    backbone = SmallBackbone()
    items = Pictures(table([0, 1], 1).items.images * (images // 2) + table([0], 2).items.images * (images % 2))  # type: ignore[attr-defined]
    NoLA()._labels(Kit({"main": backbone}), backbone, items, torch.eye(classes, backbone.image.dim), run)
    assert asked == [k]


def test_bad_input(run: Run) -> None:
    names, evidence, _ = task(2)
    refused(NoLA, {"prompts": -1}, {"epochs": -1}, {"batch": 0}, {"views": 0}, {"rate": 0.0})
    with pytest.raises(MissingEvidence, match=r"unlabelled is missing or empty"):
        HEAD.fit(visual(), names, replace(evidence, unlabelled=Pictures(())), run)
    with pytest.raises(MissingHook, match="small"):
        NoLA().fit(Kit({"main": SmallBackbone()}), names, evidence, run)
