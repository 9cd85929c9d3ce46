from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.data.words.contexts import Contexts, read_contexts
from diptych.methods.classify.perceptionclip import PerceptionCLIP, context_posterior, joint
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import task
from tests.support.refused import refused

TABLE = Contexts(
    "test",
    {
        "background": {"none": ("",), "land": ("on land", "in a field"), "water": ("on water",)},
        "size": {"small": ("small",), "large": ("large", "")},
    },
)
BOTH = PerceptionCLIP(("background", "size"), TABLE)


def unit(encoder, items) -> np.ndarray:
    v = encoder.encode(encoder.inputs(items)).detach().double().numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("infer", ["with class", "without class"])
def test_equals_a_numpy_loop(infer: str, tau: float, run: Run) -> None:
    names, evidence, test = task(3)
    backbone = SmallBackbone()
    texts = {
        ("none", "small"): ["small"],
        ("none", "large"): ["large", ""],
        ("land", "small"): ["on land, small", "in a field, small"],
        ("land", "large"): ["on land, large", "on land", "in a field, large", "in a field"],
        ("water", "small"): ["on water, small"],
        ("water", "large"): ["on water, large", "on water"],
    }

    def vector(name: str, z: tuple[str, str]) -> np.ndarray:
        mean = unit(
            backbone.text, [f"a photo of a {name}, {t}." if t else f"a photo of a {name}." for t in texts[z]]
        ).mean(axis=0)
        return mean / np.linalg.norm(mean)

    expected = np.zeros((len(test), 3))
    for i in range(len(test)):
        (x,) = unit(backbone.image, [test.items[i]])
        f = np.array([[20 * x @ vector(name, z) for z in texts] for name in names])
        g = np.exp(np.array([20 * x @ vector("object", z) for z in texts]) / tau)
        weights = np.exp(f / tau).sum(axis=0) if infer == "with class" else g
        weights /= weights.sum()
        for z, weight in enumerate(weights):
            expected[i] += weight * np.exp(f[:, z]) / np.exp(f[:, z]).sum()
    fitted = replace(BOTH, infer=infer, temperature=tau).fit(Kit({"main": backbone}), names, evidence, run)  # type: ignore[arg-type]
    scores = fitted.scores(test.items, run)
    assert scores.kind == "log_prob"
    np.testing.assert_allclose(scores.values.exp().numpy(), expected, rtol=1e-4, atol=1e-6)
    assert fitted.values == tuple(texts)


def test_one_unspoken_context_is_zero_shot(kit: Kit, run: Run) -> None:
    names, _, test = task(4)
    one = Contexts("one", {"none": {"unspecified": ("",)}})
    plain = ZeroShot(("a photo of a {}.",)).fit(kit, names, Evidence(), run).scores(test.items, run)
    for infer in ("with class", "without class"):
        fitted = PerceptionCLIP(("none",), one, infer).fit(kit, names, Evidence(), run)  # type: ignore[arg-type]
        torch.testing.assert_close(
            fitted.scores(test.items, run).values, plain.values.log_softmax(dim=1), rtol=1e-4, atol=1e-4
        )


def test_a_high_temperature_weighs_all_contexts_alike_and_a_low_one_chooses() -> None:
    f = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)) * 10
    torch.testing.assert_close(context_posterior(f, None, math.inf).exp(), torch.full((5, 4), 0.25))
    hard = context_posterior(f, None, 1e-3).exp()
    torch.testing.assert_close(hard.amax(dim=1), torch.ones(5))
    assert hard.argmax(dim=1).tolist() == f.amax(dim=1).argmax(dim=1).tolist()


def test_the_temperature_plays_no_part_given_the_context() -> None:
    """Pitfall: tau stands in P(z | x) only; a tau in both places gives other posteriors."""
    f = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)) * 10
    both = joint(f, context_posterior(f, None, 5.0))
    given = both - both.logsumexp(dim=1, keepdim=True)
    torch.testing.assert_close(given, f.log_softmax(dim=1), rtol=1e-4, atol=1e-4)


def test_large_logits_do_not_overflow() -> None:
    """Pitfall: the exponential of raw logits is inf in fp32 from 89 on."""
    f = torch.tensor([[[200.0, -200.0], [100.0, 150.0]]])
    assert torch.exp(f).isinf().any(), "the pitfall must be one"
    p = joint(f, context_posterior(f, None, 1.0)).exp()
    assert p.isfinite().all()
    assert float(p.sum()) == pytest.approx(1.0)


def test_reasons_of_every_factor_add_up_to_the_probability(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = BOTH.fit(kit, names, evidence, run)
    best = fitted.scores(test.items, run).values.exp().amax(dim=1)
    for reasons, p in zip(fitted.explain(test.items, run), best.tolist(), strict=True):
        assert [r.weight for r in reasons] == sorted((r.weight for r in reasons), reverse=True)
        for factor, values in TABLE.factors.items():
            own = {r.text: r.weight for r in reasons if r.text.startswith(factor)}
            assert set(own) == {f"{factor}: {value}" for value in values}
            assert sum(own.values()) == pytest.approx(p, abs=1e-5)


def test_contexts_are_probabilities(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    p = BOTH.fit(kit, names, evidence, run).contexts(test.items, run)
    assert p.shape == (len(test), 6)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(len(test)))


def test_random_letters_change_the_scores(kit: Kit, run: Run) -> None:
    from proofs.classify import RANDOM_LETTERS

    names, evidence, test = task(3)
    spoiled = RANDOM_LETTERS.change(BOTH, run)
    assert isinstance(spoiled, PerceptionCLIP)
    assert isinstance(spoiled.contexts, Contexts)
    said = [t for values in spoiled.contexts.factors.values() for texts in values.values() for t in texts]
    own = [t for values in TABLE.factors.values() for texts in values.values() for t in texts]
    assert [len(t) for t in said] == [len(t) for t in own]
    assert all(a != b for a, b in zip(said, own, strict=True) if b)
    one, two = (m.fit(kit, names, evidence, run).scores(test.items, run).values for m in (BOTH, spoiled))
    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    ("classes", "factors", "count"), [(1, ("size",), 2), (2, ("background",), 3), (4, ("background", "size"), 6)]
)
def test_sizes(classes: int, factors: tuple[str, ...], count: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes)
    fitted = PerceptionCLIP(factors, TABLE).fit(kit, names, evidence, run)
    assert fitted.head.shape == (classes * count, 16)
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)


def test_bad_input(kit: Kit, run: Run) -> None:
    names = ClassNames(("red fox",))
    refused(PerceptionCLIP, {"temperature": 0.0}, {"infer": "both"}, {"main": "a photo of a {}."})
    with pytest.raises(UsageError, match="'color-scheme': choose different ones among"):
        PerceptionCLIP(("color-scheme",)).fit(kit, names, Evidence(), run)
    with pytest.raises(UsageError, match="No factor"):
        PerceptionCLIP(()).fit(kit, names, Evidence(), run)
    with pytest.raises(UsageError, match="There is no file"):
        PerceptionCLIP(contexts="nowhere.json").fit(kit, names, Evidence(), run)


def test_tables_of_contexts_are_checked(tmp_path: Path) -> None:
    shipped = read_contexts("general")
    assert len(shipped.composites(("quality", "condition"))) == 36
    assert len(shipped.composites(("quality", "condition", "background"))) == 144
    assert len(shipped.composites(("quality", "condition", "background", "perspective"))) == 576
    counts = {"orientation": 3, "background": 4, "quality": 9, "illumination": 3, "quantity": 5, "perspective": 4}
    counts |= {"art": 10, "medium": 4, "condition": 4, "color": 2, "tool": 4}
    assert {factor: len(values) for factor, values in shipped.factors.items()} == counts, "ImageNet's eleven factors"
    waterbirds = read_contexts("waterbirds").factors
    assert {factor: len(values) for factor, values in waterbirds.items()} == {"place": 2, "background": 12}
    file = tmp_path / "own.json"
    for text, said in [
        ("[]", "JSON object with 'factors'"),
        ('{"schema": 1, "factors": {"size": {"small": []}}}', "at least one phrasing"),
        ('{"schema": 1, "factors": {"size": {"small": [3]}}}', "must be a string"),
    ]:
        file.write_text(text)
        with pytest.raises(DataError, match=said):
            read_contexts(file)
    file.write_text('{"schema": 2, "factors": {"size": {"small": [""]}}}')
    with pytest.raises(UsageError, match="schema 2"):
        read_contexts(file)
    huge = Contexts("huge", {str(i): {str(v): ("",) for v in range(30)} for i in range(3)})
    with pytest.raises(UsageError, match="more than 10000 contexts"):
        huge.composites(("0", "1", "2"))
