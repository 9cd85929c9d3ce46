"""Anomaly folders: MVTec's layout, and anomalib's separate folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.format import PICTURES, Format, Request
from diptych.data.formats.regions import defect_masks
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData, label_column

CLASSES = ("normal", "anomalous")

Pictures = list[tuple[Path, str, Path | None]]  # picture, kind ("good" or a defect), mask


def is_mvtec(root: Path) -> bool:
    """Return whether a folder has MVTec's layout with masks, which no folder of classes has."""
    return all((root / name).is_dir() for name in ("train", "test", "ground_truth"))


def read_mvtec(root: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read ``root/train/good``, ``root/test/good``, ``root/test/<defect>`` and ``root/ground_truth/<defect>``.

    - Masks have the name of their picture, or that name with "_mask". Without ground_truth there are no masks.
    - All folders in train, such as "nominal", are normal, in test too; beside "good" there is none.

    Returns:
        Splits "train" and "test" with these columns:

        - "label": "normal" (0) or "anomalous" (1).
        - "group": kind of defect.
        - "mask", with ground truth: (H, W) bool, pixels of the defect, read on demand.

    Raises:
        UsageError: there is no folder ``root``.
        DataError: it has no train or no test folder, train has another folder beside "good", a folder holds no picture,
            or a picture of a defect has no mask although others have.
    """
    base = Path(root)
    if not base.is_dir():
        raise UsageError(f"There is no folder {base}: check the spelling, or give an absolute path.")
    absent = [name for name in ("train", "test") if not (base / name).is_dir()]
    normal = set() if "train" in absent else {f.name for f in _folders(base / "train")}
    if absent:
        moved = "" if absent != ["test"] or len(normal) < 2 else f" (of train, move {_others(normal)} there)"
        raise DataError(
            f"{base} has no folder{'s' * (len(absent) - 1)} {' and '.join(absent)}: put normal pictures into "
            f"train/good, others into test/good and test/KIND for each kind of defect{moved}."
        )
    if "good" in normal and len(normal) > 1:
        raise DataError(
            f"All that is in train counts as normal, and {base / 'train'} has {_others(normal)} beside good: move what "
            f"is not normal into test, and the rest into train/good."
        )
    truth = base / "ground_truth"
    pictures: dict[str, Pictures] = {}
    for split in ("train", "test"):
        pictures[split] = [
            (p, f.name, None if f.name in normal or not truth.is_dir() else _mask(truth / f.name, p, f))
            for f in _folders(base / split)
            for p in image_paths(f)
        ]
        if not pictures[split]:
            raise DataError(f"{base / split} holds no pictures: put them in folders such as {split}/good.")
    return _data(base.resolve().name, pictures, normal, truth.is_dir(), keys)


def _others(folders: set[str]) -> str:
    return " and ".join(sorted(folders - {"good"}))


def read_anomaly_parts(
    root: str | os.PathLike[str],
    normal: str | Sequence[str],
    abnormal: str | Sequence[str],
    normal_test: str | Sequence[str],
    masks: str | Sequence[str] = (),
    keys: FileKeys | None = None,
) -> LabelledData:
    """Read anomalib's folders, whose contents the caller gives.

    Args:
        root: folder of the other paths.
        normal: folders of normal pictures for train (anomalib: normal_dir).
        abnormal: folders of anomalous pictures for test (abnormal_dir); a folder's name is the kind of its defects.
        normal_test: folders of normal pictures for test (normal_test_dir). anomalib can also draw them from ``normal``,
            which is not done here.
        masks: one folder for each of ``abnormal``, or () for none (mask_dir).
        keys: cache of content keys.

    Returns:
        As for ``read_mvtec``.

    Raises:
        UsageError: another number of mask folders than of abnormal ones, or a folder that does not exist.
        DataError: a folder holds no picture, or a picture of a defect has no mask.
    """
    base = Path(root)
    parts = [
        [base / n for n in ([group] if isinstance(group, str) else group)]
        for group in (normal, abnormal, normal_test, masks)
    ]
    if parts[3] and len(parts[3]) != len(parts[1]):
        raise UsageError(
            f"There are {len(parts[3])} mask folders for {len(parts[1])} abnormal ones: give one each, or none."
        )
    train: Pictures = [(p, "good", None) for f in parts[0] for p in image_paths(f)]
    test: Pictures = [(p, "good", None) for f in parts[2] for p in image_paths(f)]
    for number, folder in enumerate(parts[1]):
        test += [
            (p, folder.name, _mask(parts[3][number], p, folder) if parts[3] else None) for p in image_paths(folder)
        ]
    if not train or not test:
        raise DataError(f"{base} has no pictures for {'test' if train else 'train'}: check the folders' names.")
    return _data(base.resolve().name, {"train": train, "test": test}, {"good"}, bool(parts[3]), keys)


def _data(
    name: str, pictures: dict[str, Pictures], normal: set[str], masked: bool, keys: FileKeys | None
) -> LabelledData:
    splits = {}
    for split, rows in pictures.items():
        columns = {
            "label": label_column([CLASSES[kind not in normal] for _, kind, _ in rows], CLASSES),
            "group": Column("group", np.array([kind for _, kind, _ in rows])),
        }
        if masked:
            columns["mask"] = defect_masks([(str(p), None if m is None else str(m)) for p, _, m in rows])
        splits[split] = Table(ImageFiles([p for p, _, _ in rows], keys), columns)
    return LabelledData(name, CLASSES, splits)


def _folders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith((".", "__")))


def _mask(masks: Path, picture: Path, pictures: Path) -> Path:
    """Return the mask of a picture, at the path in ``masks`` that the picture has in ``pictures``."""
    expected = masks / picture.relative_to(pictures)
    for stem in (expected.stem, f"{expected.stem}_mask"):
        for ending in (".png", ".bmp", ".tif", ".tiff"):
            if (mask := expected.with_name(stem + ending)).is_file():
                return mask
    raise DataError(f"{picture} has no mask in {masks}: add {expected.stem}.png or {expected.stem}_mask.png.")


def _matches(path: Path, request: Request) -> bool:
    if request.need == "anomalies":
        return path.is_dir()
    return is_mvtec(path) or (request.need == "check" and _normal_alone(path))


def _normal_alone(path: Path) -> bool:
    """Return whether train has one kind, and test that kind and others: MVTec's layout without masks."""
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return False
    train, test = ({f.name for f in _folders(path / split)} for split in ("train", "test"))
    return len(train) == 1 and train < test


ANOMALIES = Format(
    "a folder of MVTec's layout",
    _matches,
    lambda path, request: read_mvtec(path, request.keys),
    frozenset({*PICTURES, "anomalies"}),
)
