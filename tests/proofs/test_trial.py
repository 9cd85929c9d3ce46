"""A proof as data, on a bench of known values: what is compared with what, and what the result says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from diptych.core import Run
from diptych.evaluation.arms import CHANCE, Arm, Measured
from proofs.trial import Claim, Tabled, Trial, default_variant, minus
from tests.support.colours import ColourBackbone
from tests.support.proofs import judged

ONES, HALF, ZEROS = np.ones((3, 8)), np.full((3, 8), 0.5), np.zeros((3, 8))


class Known:
    """A bench that knows what each arm reaches, and remembers what it was asked."""

    def __init__(self, values: dict[Arm, Measured]) -> None:
        self.values, self.asked = values, list[Arm]()
        self.of = Tabled(
            ColourBackbone(), Run(), (1, 2, 3), "acc1", {"dataset": "x", "items": 8, "classes": ["a", "b"]}
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self.of, name)

    def measure(self, arm: Arm) -> Measured:
        self.asked.append(arm)
        return self.values[arm]


def spoilt(*given: object) -> None:
    """What is wrong with the control."""


def test_claims_controls_and_twins_are_arms_and_each_is_measured_once() -> None:
    own = Arm("gda", "v", 4)
    bench = Known(
        {
            own: Measured(ONES, {"pixels": 0.5, "fit_seconds": 3.0}),
            Arm("zero-shot", "ensemble", 4): Measured(HALF),
            replace(own, spoil=spoilt): Measured(ZEROS),
            Arm("tip-adapter", "", 4): Measured(HALF),
        }
    )
    trial = Trial(
        (Claim("zero-shot", 4),), spoilt, "zero-shot", variant="v",
        beside={"spoilt too": spoilt, "another": Arm("tip-adapter")},
    )  # fmt: skip
    data = trial.judge("gda", "x", bench)  # type: ignore[arg-type]
    (claim,), (control,), twins = data["claims"], data["controls"], data["beside"]
    assert len(bench.asked) == 4
    assert (claim["over"], claim["variant"], claim["shots"], claim["gain"]) == ("zero-shot", None, 4, 0.5)
    low, high = claim["method"].pop("ci95")
    assert claim["method"] == {"pixels": 0.5, "acc1": 1.0}  # a clock is no result
    assert low < high == 1
    assert (claim["baseline"]["acc1"], claim["shown"]) == (0.5, True)
    assert (control["control"]["acc1"], control["gain"], control["failed"]) == (0.0, -0.5, True)
    assert control["gain_lower95"] == pytest.approx(-0.5 - (1 - 0.05 ** (1 / 8)) / 2)  # all items agree
    assert [(t["name"], t["gain"]) for t in twins] == [("spoilt too", 1.0), ("another", 0.5)]
    assert (data["items"], data["classes"], data["proved_variant"]) == (8, 2, "v")
    json.dumps(data)


def test_a_bound_that_is_zero_but_for_rounding_shows_nothing() -> None:
    values = np.full((3, 8), 0.5 + 1e-16 * 7)
    values[:, 0] = 1  # a third of the resamples do not hold it
    own, base = Measured(values), Measured(HALF)
    arm, spoiled = Arm("gda", "", 4), Arm("gda", "", 4, spoil=spoilt)
    bench = Known({arm: own, spoiled: own, Arm("zero-shot", "ensemble", 4): base})
    data = Trial((Claim("zero-shot", 4),), spoilt, "zero-shot").judge("gda", "x", bench)  # type: ignore[arg-type]
    (claim,), (control,) = data["claims"], data["controls"]
    assert 0 < claim["gain_lower95"] < 1e-12
    assert (claim["shown"], control["failed"]) == (False, True)


def test_a_claim_may_be_of_a_part_of_some_sets_and_of_a_gain_over_a_gain() -> None:
    part = {"others": Measured(ZEROS)}
    bench = Known(
        {
            Arm("own"): Measured(ONES, {}, (), part),
            Arm("base"): Measured(HALF, {}, (), part),
            Arm("less"): Measured(HALF),
        }
    )
    at_first = Claim("base", base=Arm("base"), on=("x",))
    trial = Trial(
        (at_first, replace(at_first, part="others"), replace(at_first, less=(Arm("less"), Arm("own")))), arm=Arm("own")
    )
    whole, others, less = trial.judge("any", "sets/x", bench)["claims"]  # type: ignore[arg-type]
    assert (whole["gain"], others["gain"], less["gain"]) == (0.5, 0.0, 1.0)
    assert ("what" in whole, others["what"], others["shown"]) == (False, "others", False)
    low, high = others["method"].pop("ci95")
    assert others["method"] == {"others": 0.0}  # a part goes by its own name
    assert low == 0 < high
    assert less["method"]["acc1"] == 0.5
    assert less["method"]["ci95"][0] < 0.5 < less["method"]["ci95"][1] < 1  # that of a difference of items that agree
    assert trial.judge("any", "y", bench)["claims"] == []  # type: ignore[arg-type]


def test_what_was_only_counted_claims_nothing() -> None:
    bench = Tabled(ColourBackbone(), Run(), (1, 2, 3), "acc1", {"items": 5, "right": {"gda": [3, 4, 5]}})
    trial = Trial((Claim(CHANCE),), spoilt, arm=Arm("own"))
    data = judged(trial, "gda", "x", ColourBackbone(), Run(), (1, 2, 3), lambda *given: bench)
    assert data == {"items": 5, "right": {"gda": [3, 4, 5]}, "claims": [], "controls": [], "beside": []}


def test_a_proof_without_any_claim_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from proofs import curate
    from proofs.prove import prove

    counted = Tabled(ColourBackbone(), Run(), (1,), "accuracy", {"items": 5})
    trial = replace(curate.TRIALS["clip-score"], bench=lambda *given: counted)
    monkeypatch.setattr(curate, "TRIALS", {"clip-score": trial})
    proof = prove("clip-score", ColourBackbone(), Run(), datasets=("x",))
    assert (proof.shown, proof.facts["stage"], proof.facts["metric"]) == (False, None, "accuracy")


def test_a_gain_is_taken_part_by_part() -> None:
    one, two = (
        Measured(
            np.full((2, 3), whole), {"part": part, "only": whole}, (1, 2), {"part": Measured(np.full((2, 3), part))}
        )
        for whole, part in ((1.0, 0.75), (0.5, 0.25))
    )
    gap = minus(one, replace(two, others={"part": 0.25}))
    assert (gap.values == 0.5).all()
    assert (gap.part("").values == 0.5).all()
    assert (gap.part("part").values == 0.5).all()
    assert gap.others == {"part": 0.5}
    with pytest.raises(KeyError):
        gap.part("another")


def test_the_row_of_a_baseline_is_its_default_or_its_ensemble() -> None:
    assert default_variant("zero-shot") == "ensemble"
    assert default_variant("gda") == ""
    assert default_variant(CHANCE) == ""
