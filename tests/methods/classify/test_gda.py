from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import ClassNames, DataError, Kit, MissingEvidence, MissingHook, Run, Subset, UsageError
from diptych.data.views import TIP_VIEWS
from diptych.features import portable
from diptych.features.embed import embed
from diptych.methods.classify.gda import ALPHAS, GDA, BaseGDA
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.nn.gaussian_discriminant import named_discriminant
from tests.nn.test_gaussian_discriminant import numpy_base, numpy_gda, sample
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused

NEW = ClassNames(("sea horse", "blue whale"), ("a photo of a {}.", "a drawing of a {}."))


def numpy_new(x: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d, k = x.shape[1], min(64, len(x))
    means, precisions = [], []
    for t in texts:
        near = x[np.argsort(-(x @ t), kind="stable")[:k]]
        means.append(np.concatenate([near, np.tile(t, (16, 1))]).mean(0))
        c = sum(np.outer(v - t, v - t) for v in near) / (k - 1)
        precisions.append(d * np.linalg.pinv((k - 1) * c + np.trace(c) * np.eye(d)))
    mu, p = np.stack(means), np.mean(precisions, axis=0)
    return mu @ p, np.array([-math.log(len(texts)) - 0.5 * m @ p @ m for m in mu])


def test_equals_a_numpy_restatement_end_to_end(run: Run) -> None:
    names, evidence, test = task()
    backbone = SmallBackbone()
    assert evidence.train is not None
    kit = Kit({"main": backbone})
    fitted = GDA(alpha=0.1).fit(kit, names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=TIP_VIEWS).double().numpy()
    x = (views / np.linalg.norm(views, axis=-1, keepdims=True)).reshape(-1, 16)
    w, b = numpy_gda(x, np.repeat(evidence.train.labels(), 10), 3)
    z = normalize(embed(backbone.image, test.items, run), dim=1).double().numpy()
    expected = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run).values.numpy() + 0.1 * (z @ w.T + b)
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_alpha_zero_and_one_view_of_one_shot_are_zero_shot_exactly(kit: Kit, run: Run) -> None:
    names, evidence, test = task(shots=1)
    plain = ZeroShot().fit(kit, names, evidence, run).scores(test.items, run)
    off = GDA(alpha=0.0).fit(kit, names, evidence, run).scores(test.items, run)
    assert torch.equal(off.values, plain.values)
    blind = GDA(alpha=1.0, views=1).fit(kit, names, evidence, run)
    assert torch.equal(blind.weight, torch.zeros_like(blind.weight))
    assert torch.equal(blind.scores(test.items, run).predicted(), plain.predicted())


def test_alpha_is_the_best_on_val_and_the_smallest_of_ties(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert evidence.val is not None

    def right(alpha: float) -> int:
        predicted = GDA(alpha=alpha).fit(kit, names, evidence, run).scores(evidence.val.items, run).predicted()
        return int((predicted.numpy() == evidence.val.labels()).sum())

    counts = [right(a) for a in ALPHAS]
    assert GDA().fit(kit, names, evidence, run).alpha == ALPHAS[int(np.argmax(counts))]
    assert max(counts) > counts[0], "the task must make the choice matter"


def test_shuffled_labels_lose_the_gain(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    assert evidence.train is not None
    wrong = replace(table([int(k) for k in (evidence.train.labels() + 1) % 4], 1), items=evidence.train.items)

    def accuracy(method, e) -> float:
        return float(
            (method.fit(kit, names, e, run).scores(test.items, run).predicted().numpy() == test.labels()).mean()
        )

    zero_shot = accuracy(ZeroShot(), evidence)
    assert accuracy(GDA(), evidence) > zero_shot + 0.2
    assert accuracy(GDA(), replace(evidence, train=wrong)) <= zero_shot + 0.1


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(GDA, {"alpha": -0.1}, {"views": 0})
    with pytest.raises(DataError, match="No train image of class 'tea cup'"):
        GDA().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
    with pytest.raises(MissingEvidence, match="Choosing alpha"):
        GDA().fit(kit, names, replace(evidence, val=None), run)
    with pytest.raises(MissingEvidence, match="val"):
        GDA().fit(kit, names, replace(evidence, val=table([], 1)), run)
    assert GDA(alpha=0.1).fit(kit, names, replace(evidence, val=None), run).alpha == 0.1
    with pytest.raises(MissingHook, match="whose card offers other classes"):
        GDA().fit(kit, names, evidence, run).for_classes(NEW)
    with pytest.raises(UsageError, match="Class name 2 of 2 is empty"):
        ClassNames(("sea horse", " "))
    with pytest.raises(UsageError, match="No class names"):
        ClassNames(())
    with pytest.raises(UsageError, match="there are 0 views"):
        named_discriminant(torch.zeros(0, 3), torch.eye(3))


@pytest.mark.parametrize(("classes", "shots", "views"), [(1, 1, 1), (2, 1, 10), (4, 3, 2)])
def test_sizes(classes: int, shots: int, views: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = GDA(views=views).fit(kit, names, evidence, run)
    assert (fitted.weight.shape, fitted.bias.shape) == ((classes, 16), (classes,))
    assert fitted.weight.dtype == torch.float32
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)


@pytest.mark.parametrize("n", [2, 10, 64, 300])
def test_the_discriminant_of_names_equals_a_numpy_loop(n: int) -> None:
    """Of 2 and 10 views, all are the nearest."""
    x, _ = sample(n)
    head = normalize(torch.randn(3, 12, generator=torch.Generator().manual_seed(5)), dim=1)
    w, b = named_discriminant(x, head)
    expected_w, expected_b = numpy_new(x.double().numpy(), head.double().numpy())
    np.testing.assert_allclose(w.numpy(), expected_w, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(b.numpy(), expected_b, rtol=1e-6, atol=1e-6)


def test_base_to_new_equals_a_numpy_restatement_end_to_end(run: Run) -> None:
    names, evidence, test = task(shots=8)
    backbone = SmallBackbone()
    assert evidence.train is not None
    kit = Kit({"main": backbone})
    fitted = GDA(alpha=0.01, base_to_new=True).fit(kit, names, evidence, run)
    views = embed(backbone.image, evidence.train.items, run, views=TIP_VIEWS).double().numpy()
    x = (views / np.linalg.norm(views, axis=-1, keepdims=True)).reshape(-1, 16)
    z = normalize(embed(backbone.image, test.items, run), dim=1).double().numpy()
    new = ZeroShot(NEW.templates).fit(kit, NEW, evidence, run)
    for found, plain, (w, b) in (
        (
            fitted,
            ZeroShot(names.templates).fit(kit, names, evidence, run),
            numpy_base(x, np.repeat(evidence.train.labels(), 10), 3),
        ),
        (fitted.for_classes(NEW), new, numpy_new(x, new.head.double().numpy())),
    ):
        expected = plain.scores(test.items, run).values.numpy() + 0.01 * (z @ w.T + b)
        np.testing.assert_allclose(found.scores(test.items, run).values.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_alpha_of_new_classes_is_the_best_on_val_of_the_base_classes(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert evidence.val is not None

    def right(alpha: float) -> int:
        predicted = (
            GDA(alpha=alpha, base_to_new=True)
            .fit(kit, names, evidence, run)
            .scores(evidence.val.items, run)
            .predicted()
        )
        return int((predicted.numpy() == evidence.val.labels()).sum())

    fitted = GDA(base_to_new=True).fit(kit, names, evidence, run)
    assert fitted.alpha == ALPHAS[int(np.argmax([right(a) for a in ALPHAS]))]
    assert fitted.for_classes(NEW).alpha == fitted.alpha
    with pytest.raises(MissingEvidence, match="Choosing alpha"):
        GDA(base_to_new=True).fit(kit, names, replace(evidence, val=None), run)


def test_alpha_zero_and_one_view_of_one_shot_are_zero_shot_on_base_and_alpha_zero_on_new(kit: Kit, run: Run) -> None:
    names, evidence, test = task(shots=1)
    plain = ZeroShot(names.templates).fit(kit, names, evidence, run).scores(test.items, run)
    blind = GDA(alpha=1.0, views=1, base_to_new=True).fit(kit, names, evidence, run)
    assert torch.equal(blind.weight, torch.zeros_like(blind.weight))
    assert torch.equal(blind.scores(test.items, run).predicted(), plain.predicted())
    off = GDA(alpha=0.0, base_to_new=True).fit(kit, names, evidence, run)
    assert torch.equal(off.scores(test.items, run).values, plain.values)
    new = ZeroShot(NEW.templates).fit(kit, NEW, evidence, run)
    assert torch.equal(off.for_classes(NEW).scores(test.items, run).values, new.scores(test.items, run).values)


def test_new_classes_have_the_manners_of_a_fitted_classifier(kit: Kit, run: Run, tmp_path: Path) -> None:
    """A round trip gives the same bits, permuted names permute columns, and one item alone scores as among others."""
    names, evidence, test = task()
    fitted = GDA(base_to_new=True).fit(kit, names, evidence, run)
    assert isinstance(fitted, BaseGDA)
    assert fitted.views.shape == (3 * 4 * 10, 16)
    assert not hasattr(GDA().fit(kit, names, evidence, run), "views"), "an export of the default grows by all views"
    new = fitted.for_classes(NEW)
    scores = new.scores(test.items, run)
    assert scores.values.shape == (len(test), 2)
    assert scores.values.dtype == torch.float32
    for number, kept in enumerate((fitted, new)):
        portable.save(kept, tmp_path / str(number))
        again = portable.load(tmp_path / str(number), kit)
        assert torch.equal(again.scores(test.items, run).values, kept.scores(test.items, run).values)
    assert torch.equal(
        portable.load(tmp_path / "0", kit).for_classes(NEW).scores(test.items, run).values, scores.values
    )
    turned = fitted.for_classes(ClassNames(NEW.names[::-1], NEW.templates)).scores(test.items, run).values
    torch.testing.assert_close(turned, scores.values.flip(1), rtol=1e-4, atol=1e-4)
    alone = new.scores(Subset(test.items, (1,)), run).values[0]
    torch.testing.assert_close(alone, scores.values[1], rtol=1e-5, atol=1e-5)


def test_where_other_classes_are_asked_the_variant_is_fitted() -> None:
    assert GDA(alpha=0.1, views=3).transferable() == GDA(alpha=0.1, views=3, base_to_new=True)
    plain = ZeroShot()
    assert plain.transferable() is plain
