"""Anomaly folders: MVTec's layout, and anomalib's folder by folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.core.data import Column, Table
from diptych.core.errors import DataError, UsageError
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.format import PICTURES, Ask, Format
from diptych.data.formats.regions import defect_masks
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData, label_column

CLASSES = ("normal", "anomalous")

Found = list[tuple[Path, str, Path | None]]  # picture, kind ("good" or a defect), mask


def is_mvtec(root: Path) -> bool:
    """Whether a folder has MVTec's layout with masks, which no folder of classes has."""
    return all((root / name).is_dir() for name in ("train", "test", "ground_truth"))


def read_mvtec(root: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read ``root/train/good``, ``root/test/good``, ``root/test/<defect>`` and ``root/ground_truth/<defect>``.

    Masks are called as their picture, or as it with "_mask" added. A folder of another name in train, such as
    "nominal", is normal too, in test as well. Without ground_truth there are no masks.

    Args:
        root: folder of one category.
        keys: remembers content keys.

    Returns:
        Splits "train" and "test" with the classes "normal" (0) and "anomalous" (1) in "label", the kind of defect in
        "group", and, where there is ground truth, the defect's pixels in "mask" ((H, W) bool, read when asked for; all
        False for a normal picture).

    Raises:
        UsageError: ``root`` has no train or no test folder.
        DataError: a folder holds no picture, or a picture of a defect has no mask although others have.
    """
    base = Path(root)
    if not ((base / "train").is_dir() and (base / "test").is_dir()):
        raise UsageError(
            f"{base} has no folders train and test: give a folder of MVTec's layout, or use read_anomaly_parts."
        )
    normal = {f.name for f in _folders(base / "train")}
    truth = base / "ground_truth"
    found: dict[str, Found] = {}
    for split in ("train", "test"):
        found[split] = [
            (p, f.name, None if f.name in normal or not truth.is_dir() else _mask(truth / f.name, p, f))
            for f in _folders(base / split)
            for p in image_paths(f)
        ]
        if not found[split]:
            raise DataError(f"{base / split} holds no pictures: put them in folders such as {split}/good.")
    return _data(base.resolve().name, found, normal, truth.is_dir(), keys)


def read_anomaly_parts(
    root: str | os.PathLike[str],
    normal: str | Sequence[str],
    abnormal: str | Sequence[str],
    normal_test: str | Sequence[str],
    masks: str | Sequence[str] = (),
    keys: FileKeys | None = None,
) -> LabelledData:
    """Read anomalib's folders: what each holds is said by the caller.

    Args:
        root: folder from which the others start.
        normal: folders of normal pictures for train (anomalib: normal_dir).
        abnormal: folders of anomalous pictures for test (abnormal_dir); a folder's name is the kind of its defects.
        normal_test: folders of normal pictures for test (normal_test_dir). anomalib splits some off ``normal`` where
            there are none; here test data are named, never drawn.
        masks: one folder for each of ``abnormal``, or () for none (mask_dir).
        keys: remembers content keys.

    Returns:
        As ``read_mvtec``.

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
    train: Found = [(p, "good", None) for f in parts[0] for p in image_paths(f)]
    test: Found = [(p, "good", None) for f in parts[2] for p in image_paths(f)]
    for number, folder in enumerate(parts[1]):
        test += [
            (p, folder.name, _mask(parts[3][number], p, folder) if parts[3] else None) for p in image_paths(folder)
        ]
    if not train or not test:
        raise DataError(f"{base} has no pictures for {'test' if train else 'train'}: check the folders' names.")
    return _data(base.resolve().name, {"train": train, "test": test}, {"good"}, bool(parts[3]), keys)


def _data(name: str, found: dict[str, Found], normal: set[str], masked: bool, keys: FileKeys | None) -> LabelledData:
    splits = {}
    for split, rows in found.items():
        columns = {
            "label": label_column([CLASSES[kind not in normal] for _, kind, _ in rows], CLASSES),
            "group": Column("group", np.array([kind for _, kind, _ in rows])),
        }
        if masked:
            columns["mask"] = defect_masks([(str(p), None if m is None else str(m)) for p, _, m in rows])
        splits[split] = Table(ImageFiles([p for p, _, _ in rows], keys), columns)
    return LabelledData(name, CLASSES, splits)


def _folders(place: Path) -> list[Path]:
    return sorted(f for f in place.iterdir() if f.is_dir() and not f.name.startswith((".", "__")))


def _mask(masks: Path, picture: Path, pictures: Path) -> Path:
    """Return the mask of a picture, which lies below ``masks`` as the picture does below ``pictures``."""
    place = masks / picture.relative_to(pictures)
    for stem in (place.stem, f"{place.stem}_mask"):
        for ending in (".png", ".bmp", ".tif", ".tiff"):
            if (mask := place.with_name(stem + ending)).is_file():
                return mask
    raise DataError(f"{picture} has no mask in {masks}: add {place.stem}.png or {place.stem}_mask.png.")


def _matches(path: Path, ask: Ask) -> bool:
    if ask.need == "anomalies":
        return path.is_dir()
    return is_mvtec(path) or (ask.need == "check" and _normal_alone(path))


def _normal_alone(path: Path) -> bool:
    """Return whether train holds one kind, and test that kind and others: MVTec's layout without masks."""
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return False
    train, test = ({f.name for f in _folders(path / split)} for split in ("train", "test"))
    return len(train) == 1 and train < test


ANOMALIES = Format(
    "a folder of MVTec's layout",
    _matches,
    lambda path, ask: read_mvtec(path, ask.keys),
    frozenset({*PICTURES, "anomalies"}),
)
