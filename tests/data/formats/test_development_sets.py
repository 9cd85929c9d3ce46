"""The general readers on real folders, none of which they were written for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.data.formats.anomaly import read_mvtec
from diptych.data.formats.arrays import ArrayRows, open_npz
from diptych.data.formats.clips import frame_folders, videos
from diptych.data.formats.lightcurves import read_light_curves
from diptych.data.formats.points import Clouds, unit_sphere
from diptych.data.formats.typed import Typed, read_boxes, read_typed
from diptych.data.load import open_data

pytestmark = pytest.mark.data


def column(path: Path, name: str) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [row[name] for row in csv.DictReader(lines)]


def test_coco_mini(data_root: Path) -> None:
    root = data_root / "coco_mini"
    table = read_typed(
        root / "captions.csv", {"captions": Typed("captions", "caption_*"), "mask": Typed("mask", "mask")}
    ).splits["test"]
    boxes, classes = read_boxes(root / "instances.csv", "xywh", column(root / "captions.csv", "path"))
    assert (len(table), {len(c) for c in table.columns["captions"].values}) == (110, {5})
    assert sum(len(b.corners) for b in boxes.values) == 970
    values = dict(
        zip(column(root / "classes.csv", "name"), map(int, column(root / "classes.csv", "value")), strict=True)
    )
    for i in (0, 50, 109):
        mask, held = table.columns["mask"].values[i], boxes.values[i]
        width, height = table.items[i].size
        assert mask.shape == (height, width)
        assert (held.corners >= 0).all()
        assert (held.corners <= [width + 1, height + 1, width + 1, height + 1]).all()
        assert set(np.unique(mask)) - {0, 255} <= {values[classes[k]] for k in held.labels}


@pytest.mark.parametrize(("name", "rows", "classes"), [("camvid_small", 126, 12), ("msrc_small", 210, 24)])
def test_segmentation_sets(data_root: Path, name: str, rows: int, classes: int) -> None:
    data = read_typed(data_root / name / "labels.csv", {"mask": Typed("mask", "mask")})
    assert sum(map(len, data.splits.values())) == rows
    for table in data.splits.values():
        mask = table.columns["mask"].values[3]
        assert mask.shape == table.items[3].size[::-1]
        assert 0 <= mask.min() <= mask.max() < classes


def test_msrc_multilabel(data_root: Path) -> None:
    data = read_typed(
        data_root / "msrc_small/labels.csv", {"classes": Typed("multilabel", "classes"), "mask": Typed("mask", "mask")}
    )
    names = dict(
        zip(
            map(int, column(data_root / "msrc_small/classes.csv", "value")),
            column(data_root / "msrc_small/classes.csv", "name"),
            strict=True,
        )
    )
    table = data.splits["val"]
    for i in range(5):
        shown = {names[int(v)] for v in np.unique(table.columns["mask"].values[i]) if v}
        assert {data.classes[k] for k in np.flatnonzero(table.columns["classes"].values[i])} == shown


def test_magnetic_tile_is_recognised(data_root: Path) -> None:
    data = open_data(data_root / "magnetic_tile")
    assert {s: len(t) for s, t in data.splits.items()} == {"train": 90, "test": 163}
    table = data.splits["test"]
    kinds = table.columns["group"].values
    assert (kinds == "good").sum() == (table.labels() == 0).sum() == 40
    (row,) = np.flatnonzero(kinds == "crack")[:1]
    mask = table.columns["mask"].values[row]
    assert mask.shape == table.items[int(row)].size[::-1]
    assert 0 < mask.mean() < 0.2


def test_textile_sim(data_root: Path) -> None:
    data = read_mvtec(data_root / "textile_sim")
    assert {s: np.bincount(t.labels()).tolist() for s, t in data.splits.items()} == {"train": [55], "test": [25, 80]}


def test_flickr8k(data_root: Path) -> None:
    data = read_typed(data_root / "flickr8k_small/captions.csv", {"captions": Typed("captions", "caption_*")})
    assert {s: len(t) for s, t in data.splits.items()} == {"train": 540, "val": 140}
    assert {len(c) for c in data.splits["val"].columns["captions"].values} == {5}


def test_clips(data_root: Path) -> None:
    root = data_root / "short_videos"
    kinds = {
        "label": Typed("label", "action"),
        "captions": Typed("captions", "caption"),
        "group": Typed("group", "group"),
    }
    frames = read_typed(root / "clips.csv", kinds, "frames", frame_folders)
    assert (len(frames.classes), len(frames.splits["test"]), len(frames.splits["test"].items[0])) == (26, 29, 8)
    pairs = read_typed(
        data_root / "exercise_pairs/exercises.csv", {"label": Typed("label", "action")}, "frames", frame_folders
    )
    assert {s: len(t) for s, t in pairs.splits.items()} == {"train": 89, "val": 41}
    pytest.importorskip("av")
    moving: Any = read_typed(root / "clips.csv", kinds, "clip", videos).splits["test"].items
    for i in (0, 14, 28):
        still = frames.splits["test"].items[i]
        for ours, theirs in zip(moving[i], still, strict=True):  # 8 uniform frames, made by another program
            small = [np.asarray(f.resize((16, 16))).astype(float) for f in (ours, theirs)]
            assert np.abs(small[0] - small[1]).mean() < 40


def test_furniture3d(data_root: Path) -> None:
    root = data_root / "furniture3d"
    clouds = ArrayRows(open_npz(root / "points.npz", "classed"), "classed")
    assert (len(clouds), clouds[0].shape, len({clouds.key(i) for i in range(len(clouds))})) == (204, (2048, 3), 204)
    pytest.importorskip("trimesh")
    meshes = Clouds(sorted((root / "meshes").glob("*.off")), points=2048)
    names = [Path(p).stem for p in meshes.paths]
    ids, rows, arrays = (column(root / "objects.csv", c) for c in ("id", "row", "array"))
    compared = 0
    for i, name in enumerate(names):
        at = ids.index(name)
        if arrays[at] == "points.npz:classed":
            ours, theirs = unit_sphere(meshes[i]), unit_sphere(clouds[int(rows[at])].astype(np.float32))
            np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), atol=0.05)  # one surface, two draws
            compared += 1
    assert compared > 0


def test_light_curves(data_root: Path) -> None:
    root = data_root / "asas_variables"
    curves = read_light_curves(root / "light_curves.parquet", "star_id", "time", "mag", "mag_err")
    data = read_typed(
        root / "stars.csv",
        {"label": Typed("label", "class_name"), "meta": Typed("vector", "meta*")},
        "star_id",
        curves.rows,
    )
    assert {s: len(t) for s, t in data.splits.items()} == {"train": 398, "val": 145}
    assert (len(data.classes), data.splits["train"].columns["meta"].values.shape) == (20, (398, 3))
    items: Any = data.splits["train"].items
    place = column(root / "stars.csv", "star_id").index(items.name(7))
    assert len(items[7].time) == int(column(root / "stars.csv", "n_obs")[place])
    assert items[7].value.mean() == pytest.approx(float(column(root / "stars.csv", "mean_mag")[place]), abs=1e-3)
    bands = read_light_curves(
        data_root / "rrlyrae_snia/light_curves.parquet", "object_id", "time", "value", "error", "band"
    )
    assert (len(bands), set(bands[0].band.tolist()) <= set("ugrizR")) == (327, True)  # type: ignore[union-attr]
    supernovae = data_root / "sn_photometry_spectra"
    photometry = read_light_curves(supernovae / "photometry.parquet", "name", "time_mjd", "mag", "mag_err", "band")
    spectra = read_light_curves(supernovae / "spectra.parquet", "name", "wavelength_angstrom", "flux_over_median")
    assert (len(spectra), len(photometry.ids) <= 102) == (128, True)
    assert (np.diff(spectra[0].time) > 0).all()


def test_records(data_root: Path) -> None:
    root = data_root / "jp_firms_linkage"
    kinds = {"entity": Typed("entity", "target_id"), "captions": Typed("captions", "natural_text")}
    targets = read_typed(root / "targets.csv", kinds, "title_image").splits["test"]
    assert (len(targets), len(set(targets.columns["entity"].values.tolist()))) == (1377, 1377)
    assert targets.items[0].size[0] > 8
    catalogue = read_typed(
        data_root / "grocery_packages/catalogue.csv",
        {"captions": Typed("captions", "description"), "entity": Typed("entity", "class_name")},
        "iconic_image",
    )
    photos = read_typed(
        data_root / "grocery_packages/photos.csv",
        {"entity": Typed("entity", "class_name"), "group": Typed("group", "coarse_class")},
    )
    assert set(photos.splits["val"].columns["entity"].values) <= set(catalogue.splits["test"].columns["entity"].values)
