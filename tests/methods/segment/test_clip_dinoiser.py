from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, ClassNames, DataError, Evidence, Kit, MissingEvidence, MissingPart, Run
from diptych.evaluation.spoils import as_subclass
from diptych.features import portable
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser, FittedCLIPDINOiser, cropped
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows, dense_map, label_map
from diptych.nn.dense.patch_teacher import objects, teacher_patches, together
from diptych.nn.dense.patches import embed_patches, tapped_patches
from diptych.nn.dense.refined_patches import affinity, objectness
from proofs.segment import OtherTargets, _Shuffled
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.support.towers import case


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


NAMES = ClassNames(("red", "green", "blue"))
SMALL = Windows(32, 32, 16)
QUICK = CLIPDINOiser(windows=SMALL, photos=6, steps=4, batch=2)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def photos() -> Pictures:
    """Quarters of four noisy colours, 6 of them."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (6, 2, 2, 3))
    grown = base.repeat(20, 1).repeat(24, 2) + rng.normal(0, 8, (6, 40, 48, 3))
    return Pictures(tuple(Image.fromarray(p.clip(0, 255).astype(np.uint8)) for p in grown))


@pytest.fixture(scope="module")
def fitted(vit: Backbone, photos: Pictures) -> FittedCLIPDINOiser:
    return QUICK.fit(Kit({"main": vit, "teacher": vit}), NAMES, Evidence(unlabelled=photos), Run())


def test_when_every_patch_belongs_to_itself_alone_it_is_maskclip(
    vit: Backbone, fitted: FittedCLIPDINOiser, photos: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(g: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.eye(g.shape[2] * g.shape[3]).expand(len(g), -1, -1)

    monkeypatch.setattr("diptych.methods.segment.clip_dinoiser.affinity", alone)
    square = Pictures(
        (photos.images[0].resize((32, 32)),)
    )  # one window: the mean of probabilities is not that of logits
    (own,) = fitted.regions(square, Run())
    plain = MaskCLIP(windows=SMALL).fit(Kit({"main": vit}), NAMES, Evidence(), Run())
    z = vit.image.inputs([square.images[0]])
    with torch.no_grad():
        unit = F.normalize(embed_patches(vit, torch.as_tensor(z)).permute(0, 2, 3, 1), dim=-1)
        p = (vit.scale()[0] * unit @ fitted.head.T).softmax(-1).permute(0, 3, 1, 2)
    torch.testing.assert_close(dense_map(own), F.interpolate(p, (32, 32), mode="bilinear")[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(fitted.head, plain.head)


@torch.no_grad()
def test_the_tap_is_the_normed_input_of_the_mlp_of_the_third_block_from_the_end(vit: Backbone) -> None:
    """Two blocks: the first. Against open_clip's own block."""
    module: Any = vit.module()
    visual, x = module.visual, drawn(2, 3, 32, 32)
    block, h = visual.transformer.resblocks[0], visual._embeds(x)
    normed = block.ln_2(h + block.ls_1(block.attention(block.ln_1(h))))
    f, g = tapped_patches(vit, x)
    assert f.shape[2:] == g.shape[2:]
    torch.testing.assert_close(g.flatten(2).mT, normed[:, 1:], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_tower_teaches_by_its_last_values_and_its_cls() -> None:
    c = case("open_clip CLIP image")

    class Space:
        def tower(self, modality: str) -> Any:
            return c.tower

    v: Any = c.module.visual
    block, h = v.transformer.resblocks[-1], v.transformer.resblocks[0](v._embeds(c.x))
    width = h.shape[-1]
    q, k, values = F.linear(block.ln_1(h), block.attn.in_proj_weight, block.attn.in_proj_bias).split(width, -1)
    got, looked = teacher_patches(Space(), c.x)  # type: ignore[arg-type]
    torch.testing.assert_close(got.flatten(2).mT, values[:, 1:], rtol=1e-4, atol=1e-5)
    heads = block.attn.num_heads
    each = [
        (q[:, 0, s][:, None] @ k[..., s].mT) / (width // heads) ** 0.5
        for s in (slice(i * width // heads, (i + 1) * width // heads) for i in range(heads))
    ]
    expected = torch.stack([a.softmax(-1)[:, 0, 1:] for a in each]).mean(0)
    torch.testing.assert_close(looked.flatten(1), expected, rtol=1e-4, atol=1e-6)


def test_what_the_teacher_says_by_loops() -> None:
    v = drawn(1, 5, 3, 3)
    looked = torch.tensor([5.0, 3, 1, 9, 9, 9, 9, 9, 9]).reshape(1, 3, 3)
    unit = (v / v.norm(dim=1, keepdim=True)).flatten(2)[0].T
    pairs, things = together(v, 0.2), objects(v, looked, 0.3)
    for i in range(9):
        assert bool(things.flatten()[i]) == (float(unit[i] @ unit[2]) <= 0.3)
        for j in range(9):
            assert bool(pairs[0, i, j]) == (float(unit[i] @ unit[j]) >= 0.2)
    assert not things[0, 0, 2]  # the seed is background


def test_training_brings_the_affinity_to_the_teachers(photos: Pictures) -> None:
    """On colours: the trained convolution finds more of the teacher's pairs (F1) than an untrained one, and than one
    taught by others.
    """
    backbone = DenseColours()
    kit, given = Kit({"main": backbone, "teacher": backbone}), Evidence(unlabelled=photos)
    method = CLIPDINOiser(windows=SMALL, photos=6, steps=60, batch=3, rate=5e-3)
    lesson = method._lesson(backbone, backbone, photos, Run())

    def f1(how: CLIPDINOiser) -> float:
        heads = how.fit(kit, NAMES, given, Run()).heads
        found, true, both = 0, 0, 0
        for g, y in zip(lesson.items, lesson.columns["together"].values, strict=True):  # type: ignore[call-overload]
            a = affinity(g[None], heads["affinity.weight"], heads["affinity.bias"])[0] >= 0.2
            found, true, both = found + int(a.sum()), true + int(y.sum()), both + int((a & y).sum())
        return 2 * both / (found + true)

    trained = f1(method)
    assert trained > f1(replace(method, steps=1, rate=1e-9)) + 0.05
    assert trained > f1(as_subclass(OtherTargets).change(method, Run())) + 0.05


def test_the_control_gets_every_targets_from_another_crop(photos: Pictures) -> None:
    backbone = DenseColours()
    spoiled = as_subclass(OtherTargets).change(QUICK, Run())
    own, other = (how._lesson(backbone, backbone, photos, Run(seed=3)) for how in (QUICK, spoiled))
    a, b = own.columns["together"].values, other.columns["together"].values
    assert all(torch.equal(b[i], a[(i + 1) % 6]) for i in range(6))
    assert torch.equal(own.items[0], other.items[0])


def test_the_other_control_pools_as_many_patches_that_are_others(vit: Backbone, fitted: FittedCLIPDINOiser) -> None:
    """Affinities of patch pi(i) to pi(j) weigh patch j for patch i, by loops; the honest system's maps are others."""
    spoiled = _Shuffled(**vars(fitted), order=5)
    x = drawn(1, 3, 64, 64)
    with torch.no_grad():
        got, own = spoiled.probabilities(x), fitted.probabilities(x)
        f, g = tapped_patches(vit, x)
        a = affinity(g, fitted.heads["affinity.weight"], fitted.heads["affinity.bias"])[0]
    n = a.shape[0]
    dealt = torch.randperm(n, generator=torch.Generator().manual_seed(5)).tolist()
    flat, mixed = f.flatten(2)[0], torch.zeros(f.shape[1], n)
    for i in range(n):
        weights = [float(a[dealt[i], dealt[j]]) if a[dealt[i], dealt[j]] >= 0.2 else 0.0 for j in range(n)]
        mixed[:, i] = sum(w * flat[:, j] for j, w in enumerate(weights)) / (sum(weights) + 1e-6)
    want = (
        (vit.scale("image", "text")[0].detach() * (F.normalize(mixed, dim=0).T @ fitted.head.T))
        .softmax(-1)
        .T.reshape(got.shape)
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(got, own, atol=1e-3)


def test_background_takes_patches_that_are_neither_sure_nor_objects(vit: Backbone, fitted: FittedCLIPDINOiser) -> None:
    named = fitted.for_classes(ClassNames(("red", "background", "blue")), Run())
    x = drawn(2, 3, 64, 64)
    with torch.no_grad():
        plain = replace(named, classes=ClassNames(("red", "back", "blue"))).probabilities(x)
        _, g = tapped_patches(vit, x)
        b = objectness(g, named.heads["background.weight"], named.heads["background.bias"])
        # Between two patches: rounding might put that of the median itself on either side.
        middle = float(b.flatten().sort().values[b.numel() // 2 - 1 :][:2].mean())
        shifted = {**named.heads, "background.bias": named.heads["background.bias"] - middle}
        got = replace(named, heads=shifted).probabilities(x)
        off = replace(named, heads=shifted, method=replace(named.method, delta=0.0)).probabilities(x)
    ground = ((b - middle <= 0) & (plain.amax(1) < 0.99))[:, None]
    assert 0 < ground.sum() < ground.numel()
    want = plain.clone()
    want[:, 1][ground[:, 0]] = 1.0  # as the authors' code: the other classes keep theirs
    assert torch.equal(got, want)
    assert torch.equal(off, plain)


def test_each_image_of_a_batch_is_classified_alone(vit: Backbone, fitted: FittedCLIPDINOiser) -> None:
    """By NumPy, of plain tensors."""
    named = fitted.for_classes(ClassNames(("background", "red", "blue")), Run())
    heads = {name: t.double().numpy() for name, t in named.heads.items()}
    f, g = drawn(3, vit.image.dim, 4, 5), drawn(3, heads["affinity.weight"].shape[1], 4, 5, seed=1)
    with torch.no_grad():
        padded = F.pad(g, (1, 1, 1, 1), mode="replicate")
        edges = F.conv2d(padded, named.heads["affinity.weight"], named.heads["affinity.bias"])
        got = named.classified(f, g)
    b = np.einsum(
        "bcn,c->bn", F.normalize(g.double(), dim=1).flatten(2).numpy(), heads["background.weight"][0, :, 0, 0]
    )
    sure = 1 / (1 + np.exp(-b - heads["background.bias"])) > 0.5
    want = []
    for cells, e, thing in zip(f.flatten(2).double().numpy(), edges.flatten(2).double().numpy(), sure, strict=True):
        e = e / np.linalg.norm(e, axis=0)
        a = np.where(e.T @ e >= 0.2, e.T @ e, 0.0)
        mixed = cells @ a.T / (a.sum(1) + 1e-6)
        s = float(vit.scale()[0].detach()) * named.head.double().numpy() @ (mixed / np.linalg.norm(mixed, axis=0))
        p = np.exp(s - s.max(0)) / np.exp(s - s.max(0)).sum(0)
        p[0, (p.max(0) < 0.99) & ~thing] = 1.0
        want.append(p.reshape(3, 4, 5))
    np.testing.assert_allclose(got.numpy(), np.stack(want), atol=1e-4)


def test_affinities_and_cosines_have_32_bits_under_autocast(
    vit: Backbone, fitted: FittedCLIPDINOiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = drawn(1, 3, 64, 64)
    with torch.no_grad():
        tapped = tapped_patches(vit, x)
        monkeypatch.setattr("diptych.methods.segment.clip_dinoiser.tapped_patches", lambda backbone, x: tapped)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = fitted.probabilities(x)
        assert torch.equal(mixed, fitted.probabilities(x))


def test_save_and_load_and_other_names(
    vit: Backbone, fitted: FittedCLIPDINOiser, photos: Pictures, tmp_path: Path
) -> None:
    portable.save(fitted, tmp_path / "fitted")
    again = portable.load(tmp_path / "fitted", Kit({"main": vit}))
    for a, b in zip(fitted.regions(photos, Run()), again.regions(photos, Run()), strict=True):
        assert torch.equal(a.scores.values, b.scores.values)
        assert a.scores.kind == "log_prob"
    other = again.for_classes(ClassNames(("cat", "dog")), Run())
    assert next(iter(other.regions(photos, Run()))).scores.values.shape[1] == 2
    assert torch.equal(other.heads["affinity.weight"], fitted.heads["affinity.weight"])


@pytest.mark.parametrize("family", ["resnet", "convnext", "siglip"])
def test_other_families_learn_too(family: str, photos: Pictures, tmp_path: Path) -> None:
    """A convolutional student maps at the finer grid of the layer that it taps."""
    backbone = small_clip(tmp_path / family, family)
    side = 2 * backbone.spec.pixels.size
    method = replace(QUICK, windows=Windows(side, side, side // 2))
    fitted = method.fit(Kit({"main": backbone, "teacher": backbone}), NAMES, Evidence(unlabelled=photos), Run())
    (regions,) = fitted.regions(Pictures(photos.images[:1]), Run())
    assert label_map(regions).shape == (40, 48)
    assert torch.isfinite(regions.scores.values).all()
    torch.testing.assert_close(dense_map(regions).sum(0), torch.ones(regions.grid), rtol=1e-4, atol=1e-4)


def test_crops_are_mirrored_darkened_and_never_leave_the_photo() -> None:
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None] * 5, (40, 48, 3))
    sides = set()
    for seed in range(12):
        x = cropped(Image.fromarray(ramp.copy()), 32, np.random.default_rng(seed))
        assert x.shape == (3, 32, 32)
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
        sides.add(bool(x[0, 0, 0] < x[0, 0, -1]))
    assert sides == {True, False}


@pytest.mark.parametrize("size", [(2500, 20), (20, 2500), (1, 700), (2048, 32)])
def test_strips_give_crops_of_the_same_size_from_all_along_them(size: tuple[int, int]) -> None:
    """Beyond 2048 : 32 the resize within (2048, 32) alone would leave the shorter side below the crop's."""
    ramp = np.linspace(0, 250, max(size)).astype(np.uint8)[:, None].repeat(min(size), 1)
    strip = Image.fromarray(ramp if size[1] > size[0] else ramp.T.copy()).convert("RGB")
    crops = [cropped(strip, 32, np.random.default_rng(seed)) for seed in range(12)]
    assert {x.shape for x in crops} == {(3, 32, 32)}
    darkest, lightest = (f(float(x.mean()) for x in crops) for f in (min, max))
    assert darkest < 0.35
    assert lightest > 0.65


def test_a_panorama_among_the_photos_is_learnt_from(vit: Backbone, photos: Pictures) -> None:
    panorama = photos.images[0].resize((2500, 20))
    given = Evidence(unlabelled=Pictures((*photos.images[:3], panorama)))
    fitted = replace(QUICK, batch=4).fit(Kit({"main": vit, "teacher": vit}), NAMES, given, Run())
    (regions,) = fitted.regions(Pictures((panorama,)), Run())
    assert label_map(regions).shape == (20, 2500)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 1.5},
        {"delta": -0.1},
        {"photos": 0},
        {"steps": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"background_rate": -1.0},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    refused(CLIPDINOiser, wrong)


def test_what_is_missing_is_named(vit: Backbone, photos: Pictures) -> None:
    given = Evidence(unlabelled=photos)
    with pytest.raises(MissingPart, match="Space named 'teacher'"):
        QUICK.fit(Kit({"main": vit}), NAMES, given, Run())
    kit = Kit({"main": vit, "teacher": vit})
    with pytest.raises(MissingEvidence, match="without labels"):
        QUICK.fit(kit, NAMES, Evidence(), Run())
    with pytest.raises(DataError, match="1 photos are too few"):
        QUICK.fit(kit, NAMES, Evidence(unlabelled=Pictures(photos.images[:1])), Run())
