from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, MissingEvidence, Run, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.recapture import Recaptured, recapture
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.detect import AnomalyBench
from diptych.evaluation.boards.verb import verb_board
from diptych.evaluation.datasets import open_set
from diptych.methods.detect.feature_memory import FeatureMemory
from diptych.methods.detect.gaussian import Gaussian
from diptych.methods.detect.hyp_oc import HypOC
from diptych.methods.detect.winclip_style import WinCLIPStyle
from diptych.tasks.calibration_split import calibration_split
from diptych.tasks.pages.overlay import heat
from proofs.prove import prove
from tests.support.backbone import SmallBackbone
from tests.support.dense_colours import DenseColours
from tests.support.image_files import truncated
from tests.support.pictures import Pictures
from tests.support.scratches import detect, scratched, scratched_folder

MEMORY = FeatureMemory(side=40)
BACKBONE = DenseColours()


def test_scratched_photos_are_flagged_at_the_stated_rate() -> None:
    photos = scratched(4, 4, seed=3)
    detections = detect(photos.items, BACKBONE, method=MEMORY, normal=scratched(24, 0, seed=1).items, rate=0.1)
    assert detections.by.normal == (15, 9)
    assert [d.flagged for d in detections.results[4:]] == [True] * 4
    assert sum(bool(d.flagged) for d in detections.results[:4]) <= 2
    assert [d.name for d in detections.ranked()][:4] != [d.name for d in detections.results[:4]]
    assert detections.threshold is not None
    plain = detect(photos.items, BACKBONE, method=MEMORY, normal=scratched(24, 0, seed=1).items)
    assert (plain.threshold, plain.by.normal) == (None, (24, 0))
    assert all(d.flagged is None for d in plain.results)


def test_it_says_that_few_photos_remained_to_learn_from() -> None:
    photos = scratched(2, 2, seed=3).items
    few, more = (
        detect(photos, BACKBONE, method=MEMORY, normal=scratched(n, 0, seed=1).items, rate=0.1) for n in (12, 24)
    )
    sentence = "Only 3 normal photos of 12 remained to learn from, since this rate needs 9 aside"
    assert any(remark.startswith(sentence) for remark in few.remarks())
    assert not any("remained to learn from" in remark for remark in more.remarks())


def test_all_normal_photos_hold_the_rate_where_none_is_learnt_from() -> None:
    detections = detect(
        scratched(1, 1, seed=3).items,
        BACKBONE,
        method=WinCLIPStyle(side=8),
        normal=scratched(9, 0, seed=1).items,
        rate=0.1,
    )
    assert detections.by.normal == (9, 9)


def test_heat_is_clear_where_low_and_red_where_high() -> None:
    photo = Image.new("RGB", (40, 30), (10, 200, 10))
    values = np.zeros((30, 40), dtype=np.float32)
    values[:, 20:] = 2.0
    shown = np.asarray(heat(photo, values, 0.0, 2.0, "score"))
    assert shown[5, 5].tolist() == [10, 200, 10]
    assert shown[5, 30, 0] > 120 > shown[5, 30, 1]
    assert shown.shape[0] > 30


def test_broken_photos_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        scratched(1, 0, seed=1).items[0].save(tmp_path / name)
    truncated(tmp_path / "b.jpg")
    photos = ImageFiles([tmp_path / n for n in ("a.png", "b.jpg", "none.png", "c.png")])
    detections = detect(photos, BACKBONE, method=MEMORY, normal=photos)
    assert [Path(d.name).name for d in detections.results] == ["a.png", "c.png"]
    assert {Path(e.name).name for e in detections.failed} == {"b.jpg", "none.png"}
    with pytest.raises(DataError, match="None of the normal photos"):
        detect(photos, BACKBONE, method=MEMORY, normal=ImageFiles([tmp_path / "b.jpg"]))


def test_wrong_calls_are_refused() -> None:
    photos, normal = scratched(1, 1, seed=3).items, scratched(6, 0, seed=1).items
    with pytest.raises(DataError, match="No photos"):
        detect(Pictures(()), BACKBONE, method=MEMORY, normal=normal)
    with pytest.raises(UsageError, match="give normal"):
        detect(photos, BACKBONE, method=WinCLIPStyle(), rate=0.1)
    with pytest.raises(MissingEvidence, match="photos without anomalies"):
        detect(photos, BACKBONE, method=MEMORY)
    with pytest.raises(DataError, match="at least 11"):
        detect(photos, BACKBONE, method=MEMORY, normal=normal, rate=0.1)
    with pytest.raises(UsageError, match="must be in"):
        calibration_split(normal, 1.5, Run())


def test_a_recaptured_photo_is_another_picture_of_the_same_size_and_the_same_every_time() -> None:
    items = scratched(2, 0, seed=1).items
    again = Recaptured(items)
    first = again[0]
    assert first.size == items[0].size
    assert np.abs(np.asarray(first, dtype=int) - np.asarray(items[0], dtype=int)).mean() > 3
    assert first.tobytes() == Recaptured(items)[0].tobytes()
    assert again.key(0) not in (items.key(0), again.key(1))
    assert "recaptured" in again.name(0)
    looks = {recapture(items[0], s).tobytes() for s in range(6)}
    assert len(looks) == 6


def test_a_board_ranks_all_and_names_what_cannot_run(tmp_path: Path) -> None:
    data = open_set(str(scratched_folder(tmp_path / "plate", train=20)), "anomalies")
    bench = AnomalyBench.open(data, BACKBONE, Run(), (1, 2), thing="plate")
    arms = [Arm("feature-memory"), Arm("gaussian"), Arm("winclip-style", "pair"), Arm("anomalyclip")]
    board = verb_board("detect", bench, arms)
    rows = {row.label: row for row in board.rows}
    assert set(rows) == {"feature-memory", "gaussian", "winclip-style", "winclip-style:pair"}
    assert rows["feature-memory"].seeds == (1, 2)
    assert rows["winclip-style"].seeds == (1,)
    memory = rows["feature-memory"]
    assert memory.value.value > 0.9
    assert memory.value.low <= memory.value.value <= memory.value.high + 1e-9
    assert memory.gain is not None
    assert memory.gain.value == pytest.approx(memory.value.value - rows["winclip-style"].value.value)
    assert memory.gain.low <= memory.gain.value <= memory.gain.high
    assert "pro" in memory.others
    assert {"eer", "hter", "acer"} <= set(rows["gaussian"].others)
    assert memory.others["hter"] <= memory.others["acer"] + 1e-12  # the worst kind is no better than all
    assert "pro" not in rows["gaussian"].others
    assert "no image tower" in board.missing["anomalyclip"]
    assert board.as_dict()["anomalous"] == 6
    with pytest.raises(DataError, match="too few"):
        AnomalyBench.open(data, BACKBONE, Run(), (1,), thing="plate", rate=0.01)


def test_the_proof_finds_scratches_and_halves_of_normal_photos_do_not_differ(tmp_path: Path) -> None:
    root = scratched_folder(tmp_path / "plate", good=12, bad=12)
    proof = prove("feature-memory", BACKBONE, Run(), datasets=(str(root),), seeds=(1, 2, 3))
    (found,) = proof.as_dict()["datasets"]
    assert proof.facts["metric"] == "image_auroc"
    (claim,), (control,) = found["claims"], found["controls"]
    assert claim["method"]["image_auroc"] > 0.9
    assert claim["baseline"]["image_auroc"] == pytest.approx(0.5)
    assert claim["gain"] == pytest.approx(claim["method"]["image_auroc"] - 0.5)
    assert (found["items"], found["normal_train"]) == (24, 8)
    assert control["name"] == "two halves of normal photos"
    assert abs(control["control"][control["what"]] - 0.5) < 0.4
    json.dumps(proof.as_dict())


def test_absent_data_and_other_layouts_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder no_such_set"):
        open_set("no_such_set", "anomalies")
    with pytest.raises(DataError, match="no folders train and test: put normal pictures into train/good"):
        open_set(str(tmp_path), "anomalies")


def test_real_photos_become_a_recaptured_set(data_root: Path) -> None:
    data = open_set(str(data_root / "clothing_small") + ":recaptured", "anomalies")
    test = data.split("test")
    assert data.classes == ("normal", "anomalous")
    assert len(data.split("train")) == 100
    assert abs(int((test.labels() == 0).sum()) - int((test.labels() == 1).sum())) <= 1
    assert len({test.items.key(i) for i in range(len(test))}) == len(test)


def test_ten_pictures_of_presentation_attacks_are_scored(data_root: Path) -> None:
    """Only that real files pass: ten pictures measure nothing."""
    root = data_root / "pad_mini" / "object"
    real, attacks = (ImageFiles(sorted((root / kind).glob("*.jpg"))) for kind in ("bona_fide", "attack"))
    for method in (Gaussian(), HypOC(widths=(16, 8), epochs=2)):
        detections = detect(attacks, SmallBackbone(), method=method, normal=real)
        assert len(detections.results) == len(attacks) == 3
        assert all(np.isfinite(d.score) for d in detections.results)
