from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import (
    ClassNames,
    Column,
    DataError,
    Evidence,
    Kit,
    Needs,
    Run,
    Samples,
    Segmenter,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.folders import ImageFiles
from diptych.methods.segment.fc_clip import FCCLIP
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.ovseg import OVSeg
from diptych.methods.segment.trident import Trident
from diptych.metrics.mask_ap import mask_ap
from diptych.metrics.panoptic import mean_pq
from diptych.metrics.segmentation import mean_iou
from diptych.nn.dense.label_maps import Windows
from diptych.tasks.label_maps.question import Question, question
from diptych.tasks.label_maps.segmented import Segmented, stems
from diptych.tasks.segment import counts, segment_counts, segmented, teach
from tests.support.colours import COLOURS
from tests.support.dense_colours import DenseColours, halves
from tests.support.image_files import truncated
from tests.support.pictures import Pictures
from tests.support.sam import small_sam

NAMES = tuple(COLOURS)[:3]  # red, green, blue: no border between two of them looks like the third
SMALL = MaskCLIP(windows=Windows(40, 32, 16))


def label_maps(
    photos: Samples[Image.Image], asked: Question, *, confidence: bool = False
) -> Iterator[Segmented | UnreadableItem]:
    fitted = SMALL.fit(Kit.of(DenseColours()), asked.fit_classes, Evidence(), Run())
    return segmented(fitted, photos, asked, Run(), confidence=confidence)


def one(photo: Image.Image, names: tuple[str, ...] = NAMES, *, confidence: bool = False, **more: object) -> Segmented:
    asked = question(names, SMALL, templates=("{}",), **more)  # type: ignore[arg-type]
    (result,) = label_maps(Pictures((photo,)), asked, confidence=confidence)
    assert isinstance(result, Segmented)
    return result


def test_halves_are_told_apart() -> None:
    found = one(halves("red", "blue", share=0.25))
    assert found.labels.shape == (40, 60)
    areas = {found.classes[k]: share for k, share in found.areas().items()}
    assert list(areas) == ["blue", "red"]
    assert areas["red"] == pytest.approx(0.25, abs=0.07)
    assert found.classes[found.labels[20, 2]] == "red"


def test_background_words_are_one_class_and_take_uncertain_pixels() -> None:
    photo = halves("red", "blue")
    found = one(photo, ("red",), background=("blue", "yellow"))
    assert found.classes == ("background", "red")
    assert found.labels[20, 2] == 1
    assert found.labels[20, 58] == 0
    assert set(one(photo, ("red", "pink"), background=("green",), threshold=0.999).areas()) == {0}


def test_files_hold_what_was_found(tmp_path: Path) -> None:
    found = one(halves("red", "blue"), background=("grey",))
    paths = found.write(tmp_path, "a")
    assert [p.name for p in paths] == ["a.overlay.png", "a.labels.png", "a.json"]
    assert np.array_equal(np.asarray(Image.open(paths[1])), found.labels)
    assert found.as_dict()["areas"][0]["label"] in ("red", "blue")
    with pytest.raises(UsageError, match="overwrite"):
        found.write(tmp_path, "a")
    found.write(tmp_path, "a", overwrite=True)


def test_a_broken_photo_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    halves("red", "blue").save(tmp_path / "a.png")
    truncated(tmp_path / "b.jpg")
    halves("green", "blue").save(tmp_path / "c.png")
    photos = ImageFiles([tmp_path / n for n in ("a.png", "b.jpg", "none.png", "c.png")])
    kinds = [type(f) for f in label_maps(photos, question(NAMES, SMALL))]
    assert kinds == [Segmented, UnreadableItem, UnreadableItem, Segmented]


def test_wrong_calls_are_refused_before_a_photo_is_read() -> None:
    with pytest.raises(UsageError, match="words for background"):
        question(NAMES, SMALL, threshold=0.5)
    with pytest.raises(UsageError, match="from 0 to 1"):
        question(NAMES, SMALL, background=("sky",), threshold=1.5)
    with pytest.raises(UsageError, match="stands for two"):
        question(NAMES, SMALL, background=("red",))
    with pytest.raises(UsageError, match="65,535 classes"):
        question([f"thing {k}" for k in range(65536)], SMALL)


def test_stems_are_unique() -> None:
    assert stems(["x/a.jpg", "y/a.png", "a-2.jpg", "b.jpg"]) == ["a", "a-2", "a-2-2", "b"]


def masked() -> Table[Image.Image]:
    photos = (halves("red", "blue"), halves("green", "red", share=0.25))
    masks = [
        np.where(np.arange(60) < round(60 * share), a, b) * np.ones((40, 1), int)
        for share, a, b in ((0.5, 0, 2), (0.25, 1, 0))
    ]
    masks[0][:, 28:33] = 255  # the border
    return Table(Pictures(photos), {"mask": Column("mask", tuple(masks))})


def test_counts_add_up_to_the_iou_of_the_set_and_shuffled_names_fail() -> None:
    names = ClassNames(NAMES, ("{}",))
    fitted = SMALL.fit(Kit({"main": DenseColours()}), names, Evidence(), Run())
    found = counts(fitted, masked(), Run())
    assert found.shape == (2, 3, 3)
    assert found.sum(axis=(1, 2)).tolist() == [40 * 55, 40 * 60]
    assert mean_iou(found.sum(0)) > 0.8
    moved = replace(names, names=NAMES[1:] + NAMES[:1])
    assert (
        mean_iou(counts(SMALL.fit(Kit({"main": DenseColours()}), moved, Evidence(), Run()), masked(), Run()).sum(0))
        < 0.2
    )


def test_masks_of_another_size_or_no_masks_are_refused() -> None:
    fitted = SMALL.fit(Kit({"main": DenseColours()}), ClassNames(NAMES), Evidence(), Run())
    table = masked()
    wrong = Table(table.items, {"mask": Column("mask", (np.zeros((3, 3), int),) * 2)})
    with pytest.raises(DataError, match="give one of its size"):
        counts(fitted, wrong, Run())
    with pytest.raises(DataError, match="no masks"):
        counts(fitted, Table(table.items), Run())


def test_words_of_a_class_are_one_class() -> None:
    photo = halves("red", "blue")
    found = one(photo, ClassNames(("warm", "blue"), ("{}",), (("red", "yellow"), ("blue",))))  # type: ignore[arg-type]
    assert found.classes == ("warm", "blue")
    assert found.labels[20, 2] == 0
    assert found.labels[20, 58] == 1


def test_things_have_segments_and_unsure_pixels_no_class() -> None:
    found = one(halves("red", "blue"), things=("red",), unknown=0.4, confidence=True)
    assert found.panoptic is not None
    assert [found.classes[s.label] for s in found.panoptic.segments if s.thing] == ["red"]
    assert found.confidence is not None
    assert ((found.labels == 255) == (found.confidence < 0.4)).all()
    with pytest.raises(UsageError, match="'tree' is not a class"):
        one(halves("red", "blue"), things=("tree",))
    with pytest.raises(UsageError, match="not both"):
        one(halves("red", "blue"), background=("grey",), threshold=0.1, unknown=0.2)


def test_segments_are_counted_against_panoptic_maps() -> None:
    names = ClassNames(NAMES, ("{}",), things=(True, True, True))
    photo = halves("red", "blue")
    asked = question(names, SMALL)
    fitted = SMALL.fit(Kit({"main": DenseColours()}), asked.fit_classes, Evidence(), Run())
    (found,) = segmented(fitted, Pictures((photo,)), asked, Run())
    assert isinstance(found, Segmented)
    assert found.panoptic is not None
    truth = np.stack([found.labels.astype(np.int64), found.panoptic.ids], axis=-1)
    column = Column("panoptic", (truth,))
    counted, things = segment_counts(fitted, Table(Pictures((photo,)), {"panoptic": column}), Run(), asked)
    assert mask_ap(things) == 1.0
    assert counted.shape == (1, 3, 4)
    assert mean_pq(counted.sum(0)) == 1.0
    with pytest.raises(DataError, match="panoptic"):
        segment_counts(fitted, Table(Pictures((photo,))), Run(), asked)


def test_parts_that_are_named_reach_the_system(tmp_path: Path) -> None:
    small_sam().save_pretrained(tmp_path / "sam")

    class Needy(MaskCLIP):
        card = replace(MaskCLIP.card, needs=Needs(parts=("MaskProposer", "PromptableMasks")))

    kit, _ = teach(Needy, DenseColours(), lambda: None, masks=str(tmp_path / "sam"))
    assert sorted(kit.parts) == ["main", "masks", "proposer", "sam"]
    with pytest.raises(UsageError, match="give masks"):
        teach(Needy, DenseColours(), lambda: None)


def test_a_system_has_its_own_proposer_unless_one_is_named() -> None:
    def proposer(system: type[Segmenter], *named: str) -> str:
        return type(teach(system, DenseColours(), lambda: None, "lite", *named)[0].parts["proposer"]).__name__

    assert proposer(OVSeg) == "RankedCells"
    assert proposer(OVSeg, "merged-cells") == "MergedCells"
    assert proposer(Trident) == "MergedCells"
    assert proposer(Trident, "ranked-cells") == "RankedCells"


def test_label_maps_reach_the_systems_that_learn_from_them() -> None:
    def read() -> Table[Image.Image]:
        raise DataError("The label maps were read.")

    with pytest.raises(DataError, match="were read"):
        teach(FCCLIP, DenseColours(), lambda: None, labelled=read)
    kit, evidence = teach(MaskCLIP, DenseColours(), lambda: None, labelled=read)
    assert sorted(kit.parts) == ["main"]
    assert evidence.train is None
    assert teach(FCCLIP, DenseColours(), lambda: None, labelled=masked)[1].train is not None
