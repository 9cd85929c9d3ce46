from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.core import (
    AuditData,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Finding,
    Kit,
    MissingPart,
    ModelRecord,
    Probe,
    Run,
    Subject,
    Table,
    UsageError,
)
from diptych.data.factors import Altered
from diptych.methods.audit.holistic_robustness import HolisticRobustness, textures_of
from diptych.methods.classify.linear_probe import LinearProbe
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, Pictures, picture, table
from tests.support.refused import refused
from tests.support.visual_backbone import VisualBackbone

NAMED = ClassNames(NAMES)
OWN = table([0, 1, 2, 3] * 20, 1)
QUICK = HolisticRobustness(factors=("darker", "color"), most=40, neighbours=3)


def trained(seed: int = 5, shots: int = 4) -> Subject:
    """A classifier that knows the colours, on random features."""
    backbone = SmallBackbone()
    fitted = LinearProbe(C=1.0).fit(Kit.of(backbone), NAMED, Evidence(train=table([0, 1, 2, 3] * shots, seed)), Run())
    return Subject(Kit({"main": backbone, "classifier": fitted}), ModelRecord("supervised", "colours"))


def data(**more: Probe) -> AuditData:
    dark = Table(Altered(OWN.items, "darker"), OWN.columns)
    others = tuple(picture(i % 4, 900 + i, 160.0) for i in range(40))
    return AuditData(
        {
            "own": Probe(OWN, "id", NAMED),
            "dark": Probe(dark, "shift", NAMED),
            "noise": Probe(Table(Pictures(others)), "ood"),
            **more,
        }
    )


def found(subjects: dict[str, Subject], given: AuditData, method: HolisticRobustness = QUICK) -> list[Finding]:
    return method.audit(subjects, given, Run())


def one(findings: list[Finding], measure: str, about: str = "", subject: str = "a") -> Finding:
    (only,) = [f for f in findings if (f.subject, f.measure, f.about) == (subject, measure, about)]
    return only


@pytest.fixture(scope="module")
def known() -> list[Finding]:
    return found({"a": trained()}, data())


def test_accuracy_and_drops_are_those_of_the_classifier(known: list[Finding]) -> None:
    subject = trained()
    fitted = subject.kit.parts["classifier"]
    labels = np.asarray(OWN.columns["label"].values)
    right = fitted.scores(OWN.items, Run()).predicted().numpy() == labels
    dark = fitted.scores(Altered(OWN.items, "darker"), Run()).predicted().numpy() == labels
    assert one(known, "accuracy").value == pytest.approx(right.mean())
    shift = one(known, "drop", "dark")
    assert shift.value == pytest.approx(right.mean() - dark.mean())
    assert shift.interval is not None
    assert shift.interval[0] <= (shift.value or 0.0) <= shift.interval[1]
    low = one(known, "drop", "darker")
    assert low.count == 40
    assert low.control is not None
    assert {e.probe for e in low.examples} <= {"own"}


def test_one_temperature_serves_the_held_half_and_the_shift(known: list[Finding]) -> None:
    temperatures = {f.details["temperature"] for f in known if f.measure == "temperature_gain"}
    assert len(temperatures) == 1
    assert one(known, "calibration_error", "own").count == 40
    assert one(known, "calibration_error", "dark").count == 80


def test_what_cannot_be_tested_says_why() -> None:
    blind = found({"a": Subject.of(SmallBackbone())}, data())
    guess = one(blind, "worst_factor")
    assert not guess.testable
    assert "not above chance (25 %)" in guess.reason
    assert not any(f.measure == "drop" and f.testable for f in blind)
    assert "dense maps" in one(blind, "place_recall").reason or "hook" in one(blind, "place_recall").reason
    few = data(
        tiny=Probe(OWN.take(range(3)), "shift", NAMED), none=Probe(OWN, "shift"), alone=Probe(OWN.take([0]), "ood")
    )
    verdicts = found({"a": trained()}, few)
    assert one(verdicts, "drop", "tiny").reason == "3 items are too few: give 10 at least."
    assert "no labels" in one(verdicts, "drop", "none").reason
    assert not one(verdicts, "auroc_mcm", "alone").testable
    short = AuditData.single(OWN.take(range(12)), NAMED)
    assert not one(found({"a": trained()}, short), "calibration_error", "test").testable
    nine = found({"a": trained()}, AuditData.single(OWN.take(range(9)), NAMED))
    assert [f.measure for f in nine] == ["accuracy", "place_recall"]
    assert not any(f.testable for f in nine)


def test_items_of_one_class_are_no_crash() -> None:
    one_class = Table(OWN.items, {"label": Column("label", np.zeros(80, dtype=np.int64))})
    findings = found({"a": trained()}, AuditData.single(one_class, NAMED))
    assert "not above chance (100 %)" in one(findings, "worst_factor").reason
    assert one(findings, "accuracy").testable


def test_shape_bias_of_a_model_that_reads_the_label_and_of_one_that_reads_the_texture() -> None:
    labels = np.asarray(OWN.columns["label"].values)
    for shift, bias in ((0, 1.0), (1, 0.0)):
        shapes, textures = (labels + shift) % 4, (labels + 1 - shift) % 4
        columns = {"label": Column("label", shapes), "texture": Column("group", [NAMES[t] for t in textures])}
        cued = data(cues=Probe(Table(OWN.items, columns), "shift", NAMED))
        shape = one(found({"a": trained(shots=16)}, cued), "shape_bias", "cues")
        assert shape.value == pytest.approx(bias, abs=0.1)
        assert shape.details["shape"] + shape.details["texture"] == shape.count
    probe = Probe(Table(OWN.items, {"texture": Column("group", ["wool"] * 80)}), "shift", NAMED)
    with pytest.raises(DataError, match="The texture 'wool' of cues is no class"):
        textures_of(probe, "cues")


def test_captions_make_a_table_of_retrieval() -> None:
    said = tuple((f"picture number {i}", f"a {NAMES[i % 4]}") for i in range(80))
    table_ = Table(OWN.items, {**OWN.columns, "captions": Column("captions", said)})
    findings = found({"a": Subject.of(SmallBackbone())}, AuditData.single(table_, NAMED))
    text, image = one(findings, "recall_at_1", "text_of_image"), one(findings, "recall_at_1", "image_of_text")
    assert (text.count, image.count) == (80, 80)
    assert all(f.control is not None and f.control.held for f in (text, image))
    alone = Table(OWN.items, {"captions": Column("captions", said)})
    only = found({"a": Subject.of(SmallBackbone())}, AuditData.single(alone))
    both = ["recall_at_1", "median_rank"]
    assert [f.measure for f in only] == [*both, *both, "uniformity", "relative_alignment", "place_recall"]
    assert [f.value for f in only[:4:2]] == [text.value, image.value]
    several = {name: Subject.of(SmallBackbone()) for name in "abc"}
    assert len(found(several, AuditData.single(alone))) == 21
    gaps = Table(OWN.items, {**OWN.columns, "captions": Column("captions", (("a",), *(((),) * 79)))})
    reason = one(found({"a": Subject.of(SmallBackbone())}, AuditData.single(gaps, NAMED)), "recall_at_1").reason
    assert reason.startswith("1 of 80 items have a caption")


class Pixels:
    strides = (4,)

    def maps(self, x: torch.Tensor, /) -> list[torch.Tensor]:
        return [F.avg_pool2d(x, 4)]


class PixelMaps(VisualBackbone):
    def dense(self) -> Any:
        return Pixels()


def test_places_are_found_in_the_own_picture_and_not_in_another() -> None:
    """17 pictures: the last one is alone in its batch, and is compared with the one before it."""
    rng = np.random.default_rng(0)
    images = tuple(Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(17))
    said = Column("captions", tuple((f"picture {i}",) for i in range(17)))
    data_ = AuditData.single(Table(Pictures(images), {"captions": said}))
    finding = one(found({"a": Subject.of(PixelMaps())}, data_), "place_recall")
    assert (finding.value, finding.count) == (1.0, 17)
    cells = np.array([np.asarray(i, dtype=float).reshape(4, 4, 4, 4, 3).mean((1, 3)) for i in images]) / 127.5 - 1
    cells /= np.linalg.norm(cells, axis=3, keepdims=True)
    recalls = []
    for i in range(17):
        other = 15 if i in (0, 16) else i - 1
        near = 0
        for place in np.ndindex(4, 4):
            match = np.unravel_index((cells[other] @ cells[i][place]).argmax(), (4, 4))
            near += max(abs(match[0] - place[0]), abs(match[1] - place[1])) <= 1
        recalls.append(near / 16)
    assert finding.details["recall_in_another_picture"] == pytest.approx(np.mean(recalls))
    alone = AuditData.single(Table(Pictures(images[:1]), {"captions": Column("captions", (("a",),))}))
    assert one(found({"a": Subject.of(PixelMaps())}, alone), "place_recall").reason.startswith("1 items are too few")


def test_lines_need_three_models_of_the_baseline_family() -> None:
    models = {f"m{i}": trained(i, shots) for i, shots in enumerate((1, 2, 4, 16))}
    noisy = Pictures(tuple(picture(i % 4, 500 + i, 250.0) for i in range(80)))
    hard = data(own=Probe(Table(noisy, OWN.columns), "id", NAMED))
    findings = found(models, hard)
    for name in models:
        above = one(findings, "effective_robustness", "dark", name)
        assert above.testable
        assert above.details["models"] == 4
        assert one(findings, "effective_robustness", "color", name).details["models"] == 4
    assert any(f.measure == "slope" and f.subject == "family=supervised" and f.count == 4 for f in findings)
    others = {name: Subject(s.kit, ModelRecord("clip")) for name, s in models.items()}
    assert (
        "0 models of the family 'supervised'" in one(found(others, hard), "effective_robustness", "dark", "m0").reason
    )


def test_same_seed_same_findings_and_another_seed_other_halves() -> None:
    first, again = (found({"a": trained()}, data()) for _ in range(2))
    assert first == again
    other = QUICK.audit({"a": trained()}, data(), Run(seed=1))
    assert one(other, "calibration_error", "own").value != one(first, "calibration_error", "own").value
    assert one(other, "accuracy").value == one(first, "accuracy").value


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="no model"):
        found({}, data())
    with pytest.raises(MissingPart):
        found({"a": Subject(Kit())}, data())
    for wrong, words in (
        (AuditData(), "needs one table with the role 'id', got 0"),
        (AuditData.single(OWN), "no class names"),
        (AuditData.single(Table(OWN.items), NAMED), "no label column"),
    ):
        assert words in QUICK.lacks({}, wrong)
        with pytest.raises(DataError, match=words):
            found({"a": trained()}, wrong)
    settings: tuple[dict[str, Any], ...] = ({"most": 3}, {"neighbours": 0}, {"recall": 1.0})
    refused(HolisticRobustness, *settings)
    with pytest.raises(UsageError, match="no factor 'fog'"):
        HolisticRobustness(factors=("fog",))
