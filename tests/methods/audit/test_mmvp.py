from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import AuditData, Column, DataError, Finding, Kit, MissingPart, Probe, Run, Subject, Table, UsageError
from diptych.data.formats.mmvp import read_mmvp_vlm
from diptych.methods.audit.mmvp import MMVP, pair_scores, pairs_of, statements
from tests.data.formats.test_mmvp import mmvp_folder
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture
from tests.support.strange_encoder import StrangeEncoder

IMAGES = Pictures(tuple(picture(i % 4, i) for i in range(40)))
SECOND = StrangeEncoder()


def subject(vision: bool = True) -> Subject:
    return Subject(Kit({"main": SmallBackbone()} | ({"vision": SECOND} if vision else {})))


def pairs(n: int = 12, patterns: bool = True) -> Table[Any]:
    group = Column("group", tuple(f"p{i // 2}" for i in range(2 * n)))
    said = Column("captions", tuple((f"number {i}",) for i in range(2 * n)))
    own = {"group": group, "captions": said}
    if patterns:
        own["pattern"] = Column("group", tuple("ab"[i // 2 % 2] for i in range(2 * n)))
    return Table(Pictures(IMAGES.images[: 2 * n]), own)


def audited(method: MMVP, **tables: Probe) -> list[Finding]:
    return method.audit({"a": subject()}, AuditData(tables), Run())


def unit(x: Any) -> np.ndarray:
    x = x.detach().double().numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_pair_accuracy_is_that_of_a_loop() -> None:
    whole, one, two = audited(MMVP(), twos=Probe(pairs(), "pairs"))
    backbone = SmallBackbone()
    x = unit(backbone.image.encode(backbone.image.inputs(list(IMAGES.images[:24]))))
    t = unit(backbone.text.encode(backbone.text.inputs([f"a photo of number {i}" for i in range(24)])))
    right = [
        bool(t[2 * p] @ (x[2 * p] - x[2 * p + 1]) > 0 and t[2 * p + 1] @ (x[2 * p + 1] - x[2 * p]) > 0)
        for p in range(12)
    ]
    chose = [
        bool((t[2 * p] - t[2 * p + 1]) @ x[2 * p] > 0 and (t[2 * p + 1] - t[2 * p]) @ x[2 * p + 1] > 0)
        for p in range(12)
    ]
    assert whole.details["text_score"] == pytest.approx(np.mean(chose))
    assert whole.details["group_score"] == pytest.approx(np.mean(np.logical_and(right, chose)))
    assert (whole.about, whole.value, whole.count) == ("twos", pytest.approx(np.mean(right)), 12)
    assert whole.control is not None
    assert whole.control.expected == 0.25
    assert [f.about for f in (one, two)] == ["twos: a", "twos: b"]
    assert one.value == pytest.approx(np.mean(right[::2]))
    assert len(audited(MMVP(), twos=Probe(pairs(patterns=False), "pairs"))) == 1


def test_mined_pairs_are_alike_for_one_encoder_and_different_for_the_other() -> None:
    method = MMVP(top=0.2, bottom=0.5)
    found, cosines = method.mine(subject(), IMAGES, Run())
    assert len(found) > 0
    backbone = SmallBackbone()
    x, y = (unit(e.encode(e.inputs(list(IMAGES.images)))) for e in (backbone.image, SECOND))
    for (i, j), (c, d) in zip(found, cosines, strict=True):
        assert (x[i] @ x[j], y[i] @ y[j]) == (pytest.approx(c, abs=1e-5), pytest.approx(d, abs=1e-5))
    (share,) = audited(method, own=Probe(Table(IMAGES), "id"))
    assert share.measure == "blind_share"
    assert share.value == pytest.approx(len(np.unique(found)) / 40)
    assert share.details["pairs"] == len(found)
    assert share.interval is None
    assert audited(method, own=Probe(Table(IMAGES), "id")) == [share]
    absolute = MMVP(similar=cosines[0, 0] - 1e-9, different=1.0).mine(subject(), IMAGES, Run())[1]
    assert (absolute[:, 0] > cosines[0, 0] - 1e-9).all()


def test_the_published_layout_is_audited(tmp_path: Path) -> None:
    table = read_mmvp_vlm(mmvp_folder(tmp_path, 10))
    findings = audited(MMVP(), vlm=Probe(table, "pairs"))
    assert [f.count for f in findings] == [10, 5, 5]


def test_what_is_missing_is_named() -> None:
    few = audited(MMVP(), twos=Probe(pairs(9), "pairs"), own=Probe(Table(Pictures(IMAGES.images[:4])), "id"))
    assert [f.reason for f in few] == [
        "4 pictures are too few: give 10 at least.",
        "9 pairs are too few: give 10 at least.",
    ]
    with pytest.raises(DataError, match="part 'vision'"):
        MMVP().audit({"a": subject(vision=False)}, AuditData.single(Table(IMAGES)), Run())
    with pytest.raises(MissingPart):
        MMVP().audit({"a": Subject(Kit())}, AuditData({"t": Probe(pairs(), "pairs")}), Run())
    with pytest.raises(UsageError, match="no model"):
        MMVP().audit({}, AuditData(), Run())
    with pytest.raises(DataError, match="'p1' has 1 items"):
        pairs_of(pairs().take([0, 1, 2]))
    empty = Table(IMAGES, {"captions": Column("captions", (("",), *[("a",)] * 39))})
    with pytest.raises(DataError, match="has no statement"):
        statements(empty)
    for wrong in ({"top": 0.0}, {"bottom": 1.0}, {"neighbours": 0}, {"most": 19}, {"template": "a photo"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            MMVP(**wrong)  # type: ignore[arg-type]


def test_scores_are_of_texts_by_pictures() -> None:
    t, x = np.eye(4), np.arange(16.0).reshape(4, 4)
    assert pair_scores(t, x, np.array([[0, 3]]))[0].tolist() == [[0.0, 12.0], [3.0, 15.0]]
    assert pair_scores(t[None, :2], x[None, :2])[0].tolist() == [[0.0, 4.0], [1.0, 5.0]]
