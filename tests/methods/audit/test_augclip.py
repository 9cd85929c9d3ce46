from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from diptych.core import DataError, Evidence, Kit, MissingEvidence, Run, Table, Text, TextPool, Texts, UsageError
from diptych.data.edits import edit_table
from diptych.features import portable
from diptych.methods.audit.augclip import AugCLIP, ideal, plane
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

KIT = Kit.of(SmallBackbone())
BEFORE = Pictures(tuple(picture(i % 4, i) for i in range(5)))
AFTER = Pictures(tuple(picture((i + 1) % 4, 50 + i) for i in range(5)))
OLD, NEW = ("a red cup", "red", "a table"), ("a blue cup", "blue", "a table")


def edits(old: tuple[str, ...] = OLD, new: tuple[str, ...] = NEW) -> Table[Any]:
    return edit_table(BEFORE, AFTER, ["a blue cup on a table"] * 5, [old] * 5, [new] * 5)


def fitted(**settings: Any) -> Any:
    return AugCLIP(**settings).fit(KIT, Evidence(), Run())


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def vectors(items: Any, encoder: Any) -> np.ndarray:
    return unit(encoder.encode(encoder.inputs([items[i] for i in range(len(items))])).detach().numpy().astype(float))


@pytest.mark.parametrize("c", [0.5, 50.0])
def test_the_plane_minimises_the_squared_hinge_loss(c: float) -> None:
    rng = np.random.default_rng(0)
    source, target = (unit(rng.standard_normal((n, 6))) for n in (3, 5))
    x, y = np.concatenate([source, target]), np.repeat([-1, 1], [3, 5])
    weight = c * 8 / (2 * np.where(y < 0, 3, 5))

    def loss(w: np.ndarray) -> float:
        return float(w @ w / 2 + (weight * np.maximum(0, 1 - y * (x @ w[:6] + w[6])) ** 2).sum())

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-9}).x
    w, b = plane(source, target, c)
    assert w == pytest.approx(best[:6], abs=1e-4)
    assert b == pytest.approx(best[6], abs=1e-4)


def test_the_ideal_edit_is_the_nearest_point_of_the_half_space() -> None:
    rng = np.random.default_rng(1)
    x, w, b = rng.standard_normal(4), rng.standard_normal(4), -3.0
    for margin in (0.0, 1.0):
        moved, value = ideal(*(torch.tensor(v)[None] for v in (x, w)), torch.tensor([b]), margin)
        assert value.item() == pytest.approx(x @ w + b)
        oracle = minimize(
            lambda v: ((v - x) ** 2).sum(), x, method="SLSQP",
            constraints={"type": "ineq", "fun": lambda v, m=margin: v @ w + b - m}, options={"ftol": 1e-12},
        ).x  # fmt: skip
        assert moved[0].numpy() == pytest.approx(oracle, abs=1e-5)
    twice, _ = ideal(*(torch.tensor(v)[None] for v in (x, 2 * w)), torch.tensor([2 * b]), 0.0)
    once, _ = ideal(*(torch.tensor(v)[None] for v in (x, w)), torch.tensor([b]), 0.0)
    assert twice.numpy() == pytest.approx(once.numpy())
    there, _ = ideal(torch.tensor(x)[None], torch.tensor(w)[None], torch.tensor([100.0]))
    assert there[0].numpy() == pytest.approx(x)


@pytest.mark.filterwarnings("ignore:The margin is", "ignore:.* sources have the target")
def test_scores_are_those_of_a_loop() -> None:
    scored, image, text = fitted(margin=0.5).score(edits(), Run()), KIT.parts["main"].image, KIT.parts["main"].text
    x, y = vectors(BEFORE, image), vectors(AFTER, image)
    old, new, t = vectors(OLD, text), vectors(NEW, text), vectors(("a blue cup on a table",), text)[0]
    w, b = plane(old, new)
    for i in range(5):
        value = x[i] @ w + b
        star = x[i] - min(0.0, value - 0.5) / (w @ w) * w
        expected = {
            "cosine": y[i] @ t,
            "direction": unit(y[i] - x[i]) @ unit(new.mean(0) - old.mean(0)),
            "source_similarity": x[i] @ y[i],
            "value_of_source": value,
            "value_of_target": unit(new[:2].mean(0)) @ w + b,  # "a table" stays
        }
        assert scored.values[i].item() == pytest.approx(y[i] @ unit(star), abs=1e-5)
        assert {k: v[i].item() for k, v in scored.columns.items()} == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore:The margin is", "ignore:.* sources have the target")
def test_a_larger_margin_wants_more_of_the_target() -> None:
    plain, far = (fitted(margin=m).score(edits(), Run()).values for m in (0.0, 50.0))
    x, y = vectors(BEFORE, KIT.parts["main"].image), vectors(AFTER, KIT.parts["main"].image)
    w, _ = plane(vectors(OLD, KIT.parts["main"].text), vectors(NEW, KIT.parts["main"].text))
    assert far.numpy() == pytest.approx(y @ unit(w), abs=0.2)
    assert (plain.numpy() - (x * y).sum(1)).max() < (far.numpy() - (x * y).sum(1)).max() + 2
    assert not torch.equal(plain, far)


@dataclass(frozen=True)
class Table64:
    """Reads "0 3 5" as the sum of the concepts 0, 3 and 5, each a random unit vector."""

    modality: str
    vectors: np.ndarray
    dim: int = 64
    size: int | None = None

    @property
    def fingerprint(self) -> str:
        return f"concepts-{self.modality}"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> torch.Tensor:
        rows = [sum(float(w) * self.vectors[int(k)] for k, w in (c.split(":") for c in str(i).split())) for i in items]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    def encode(self, x: Any, /) -> torch.Tensor:
        return x.clone()


class Concepts(SmallBackbone):
    """A model without a gap between modalities: pictures and texts are sums of concepts."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        vectors = unit(np.random.default_rng(seed).standard_normal((24, 64)))
        self._concepts = {m: Table64(m, vectors) for m in ("image", "text")}

    @property
    def encoders(self) -> Mapping[str, Any]:
        return self._concepts


def preferred(shared: int, seed: int, margin: float | None) -> tuple[bool, bool]:
    """Tell whether the right edit scores above none and above an edit half-way: 8 concepts become 8 others."""
    old, new = (tuple(f"{k}:1" for k in (*own, *range(16, 16 + shared))) for own in (range(8), range(8, 16)))
    right = " ".join(new)
    source = " ".join(old)
    half = " ".join(f"{c[:-2]}:0.5" for c in (*old[:8], *new[:8])) + "".join(f" {c}" for c in old[8:])
    pictures = Texts((right, source, half))
    table = edit_table(Texts((source,) * 3), pictures, [right] * 3, [old] * 3, [new] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = AugCLIP(margin=margin).fit(Kit.of(Concepts(seed)), Evidence(), Run())
        best, none, between = fitted.score(table, Run()).values.tolist()
    return best > none, best > between


@pytest.mark.parametrize("shared", [0, 6])
def test_the_right_edit_beats_none_and_half_of_it_by_the_targets_own_value(shared: int) -> None:
    """On the plane an edit half-way always scores above it, and with a margin of 1 often where nothing is shared."""
    chosen, plane_, one = (
        np.mean([preferred(shared, seed, margin) for seed in range(20)], axis=0) for margin in (None, 0.0, 1.0)
    )
    assert chosen[0] == 1
    assert chosen[1] >= 0.9
    assert plane_[1] == 0
    assert one[1] < chosen[1] or shared


def test_a_margin_below_the_target_and_sources_that_have_it_are_warned_of() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(margin=0.0).score(edits(), Run())
    assert [str(w.message).split(", ")[0] for w in caught] == [
        "4 of 5 sources have the target's value already",
        "The margin is 0",
    ]
    model = Concepts(0)
    items = Texts(("1:1",))
    table = edit_table(items, items, ["1:1"], [("0:1",)], [("1:1",)])
    with pytest.warns(UserWarning, match="1 of 1 sources have the target's value already"):
        AugCLIP().fit(Kit.of(model), Evidence(), Run()).score(table, Run())
    quiet = edit_table(Texts(("0:1",)), items, ["1:1"], [("0:1",)], [("1:1",)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AugCLIP().fit(Kit.of(model), Evidence(), Run()).score(quiet, Run())


def test_centring_subtracts_the_means_of_the_evidence() -> None:
    pool = TextPool({"": (Text("a red cup"), Text("a dog"))})
    given = Evidence(unlabelled=BEFORE, texts=pool)
    centred = AugCLIP(centred=True).fit(KIT, given, Run())
    assert centred.image_mean.numpy() == pytest.approx(vectors(BEFORE, KIT.parts["main"].image).mean(0), abs=1e-6)
    assert not torch.equal(centred.score(edits(), Run()).values, fitted().score(edits(), Run()).values)
    with pytest.raises(MissingEvidence, match="unlabelled images and texts"):
        AugCLIP(centred=True).fit(KIT, Evidence(texts=pool), Run())


@pytest.mark.filterwarnings("ignore:The margin is", "ignore:.* sources have the target")
def test_no_change_is_refused_and_an_empty_table_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Edit 1 \(picture 0\) has the same attributes"):
        fitted().score(edits(OLD, OLD[::-1]), Run())
    with pytest.raises(DataError, match="source_attributes"):
        fitted().score(Table(AFTER), Run())
    empty = fitted().score(edits().take([]), Run())
    assert empty.values.shape == (0,)
    assert all(len(v) == 0 for v in empty.columns.values())
    portable.save(fitted(margin=0.2), tmp_path / "f")
    again = portable.load(tmp_path / "f", KIT)
    assert torch.equal(again.score(edits(), Run()).values, fitted(margin=0.2).score(edits(), Run()).values)


def test_ranges_are_checked() -> None:
    for wrong in ({"c": 0.0}, {"margin": -0.1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            AugCLIP(**wrong)
