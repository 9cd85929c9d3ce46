"""The data sets that proofs and boards know by name, and how each is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.data import Column, Samples, Table
from diptych.core.errors import DataError, NotAvailable, UsageError
from diptych.data.formats.anomaly import CLASSES, read_mvtec
from diptych.data.formats.semantic import read_semantic
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.recapture import Recaptured
from diptych.data.records import Records, joined, open_records
from diptych.data.scenes.composed import mosaic_data, pasted_data

THINGS: Mapping[str, str] = MappingProxyType({"magnetic_tile": "magnetic tile", "textile_sim": "textile"})
"""What photos show, for detectors that are told; of other sets it is the folder's name."""


AUXILIARY: Mapping[str, str] = MappingProxyType({"magnetic_tile": "textile_sim", "textile_sim": "magnetic_tile"})
"""Data set -> where anomalies of another thing are learnt from."""


RECAPTURED = ":recaptured"


_MOST = 100  # real photos of a recaptured set in train, and in test of each kind


def find_anomalies(name: str, keys: FileKeys | None = None) -> LabelledData:
    """Open normal and anomalous photos by path, or by name in the folder of DIPTYCH_DATA.

    "NAME:recaptured" takes photos of classes as real ones: those of train are normal, and half of those of test or val
    are photographed again, in code.

    Raises:
        NotAvailable: it is not there.
        UsageError: the folder has no train and test.
    """
    plain = name.removesuffix(RECAPTURED)
    root = present(plain)
    return _recaptured(open_data(root, keys), name) if plain != name else read_mvtec(root, keys)


def _recaptured(data: LabelledData, name: str) -> LabelledData:
    def drawn(table: Table[Any], most: int) -> Table[Any]:
        order = sorted(range(len(table)), key=lambda i: hashlib.sha256(table.items.key(i).encode()).hexdigest())
        return table.take(sorted(order[:most]))

    held = data.splits["test"] if "test" in data.splits else data.split("val")
    chosen = drawn(held, 2 * _MOST)
    real, attacked = chosen.take(range(0, len(chosen), 2)), chosen.take(range(1, len(chosen), 2))
    train = drawn(data.split("train"), _MOST)
    labels = np.repeat([0, 1], [len(real), len(attacked)])
    test: Table[Any] = Table(Joined((real.items, Recaptured(attacked.items))), {"label": Column("label", labels)})
    zeros = Column("label", np.zeros(len(train), dtype=np.int64))
    return LabelledData(name, CLASSES, {"train": Table(train.items, {"label": zeros}), "test": test})


VOID: Mapping[str, tuple[int, ...]] = MappingProxyType({"msrc_small": (0, 5, 8), "camvid_small": (11,)})
"""Values that do not count: void, and MSRC's horse and mountain, of which its source has too few regions to score."""


TABLES = ("labels.csv", "captions.csv")
"""Where a folder lists its photos and masks; the first that is there counts."""


COMPOSED = 64
"""Pictures of a composed set; the catalogue asks for 500 to 1000, more than one core does in the hour of a proof."""


PHOTOS = "imagenet1k_sample"
"""Photos without labels for systems that learn from some; no evaluated set shares a photo with them."""


def find_masks(name: str) -> LabelledData:
    """Open photos with label maps: a folder as ``read_semantic`` reads it, by path or by its name in the folder of
    DIPTYCH_DATA.

    "mosaic:NAME" tiles the labelled photos of NAME (its test or val split), "paste:NAME" pastes what NAME's masks cut
    out; both are composed of photographs, ``COMPOSED`` pictures, always the same.

    Raises:
        NotAvailable: it is not there.
    """
    kind, _, plain = name.partition(":")
    if kind not in ("mosaic", "paste") or not plain:
        return _masked(name)
    data = _masked(plain) if kind == "paste" else open_data(present(plain))
    table = data.splits.get("test") or data.split("val")
    made = mosaic_data if kind == "mosaic" else pasted_data
    return made(name, table, data.classes, COMPOSED)


def _masked(name: str) -> LabelledData:
    root = present(name)
    table = next((t for t in TABLES if (root / t).is_file() and (root / "classes.csv").is_file()), None)
    if table is None:
        raise NotAvailable(
            f"The folder {root} has no label maps: give one with {' or '.join(TABLES)} (path, mask) and classes.csv "
            f"(value, name)."
        )
    return read_semantic(root, VOID.get(root.name, ()), table)


@dataclass(frozen=True)
class LinkageData:
    """Records with what they are of.

    Args:
        name: of the set.
        records: N.
        entities: (N,) positions.
        groups: (N,) 0 for records that ask, 1 for those that answer; None: all do both.
    """

    name: str
    records: Records
    entities: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    @property
    def hash(self) -> str:
        """SHA-256 over the records' keys, entities and groups."""
        sides = np.zeros(len(self.entities), np.int64) if self.groups is None else self.groups
        rows = (f"{self.records.key(i)}\t{e}\t{g}\n" for i, (e, g) in enumerate(zip(self.entities, sides, strict=True)))
        return hashlib.sha256("".join(rows).encode()).hexdigest()

    def table(self, rows: NDArray[np.int64]) -> Table[Any]:
        """Return the table of some records."""
        columns = {"entity": Column("entity", self.entities[rows])}
        if self.groups is not None:
            columns["group"] = Column("group", self.groups[rows])
        return Table(self.records.take(rows.tolist()), columns)


def find_linkage(name: str, keys: FileKeys | None = None) -> LinkageData:
    """Open a set of records by path or by its name in the folder of DIPTYCH_DATA.

    grocery_packages: shop photos ask, catalogue entries (picture and description) answer; an entity is a product.
        archiscribe_lines: a
    record is a line of print and its OCR; an entity is a book.

    Raises:
        NotAvailable: it is not there.
        UsageError: it is another set.
    """
    folder = present(name)
    if (folder / "catalogue.csv").is_file():
        photos = open_records(str(folder / "photos.csv"), keys, image="path").only(
            "image"
        )  # file names are no text that a photo carries
        entries = open_records(str(folder / "catalogue.csv"), keys, image="iconic_image", text="description")
        records = joined((photos, entries))
        return LinkageData(
            folder.name, records, _numbers(records, "class_name"), np.repeat([0, 1], [len(photos), len(entries)])
        )
    if (folder / "lines.csv").is_file():
        records = open_records(str(folder / "lines.csv"), keys, image="path", text="ocr_text")
        return LinkageData(folder.name, records, _numbers(records, "work"))
    raise UsageError(f"{name} holds no records that this proof knows: give grocery_packages or archiscribe_lines.")


def read_linkage(
    path: str, entity: str, keys: FileKeys | None = None, *, image: str | None = None, text: str | None = None
) -> LinkageData:
    """Read a table of records, one column of which says what each is of.

    Args:
        path: what ``open_records`` reads.
        entity: the column.
        keys: remembers content keys.
        image: column with the picture's path; None: found by its name.
        text: column with the text; None: found by its name.

    Raises:
        DataError: a record has no such fact, or the table cannot be read.
        UsageError: no such file.
    """
    records = open_records(path, keys, image=image, text=text)
    lacking = next((i for i, f in enumerate(records.facts) if entity not in f), None)
    if lacking is not None:
        held = ", ".join(records.facts[lacking])
        raise DataError(
            f"Record {lacking} of {path} has no {entity!r}, only {held}: name the column of what records are of by "
            f"--entity."
        )
    return LinkageData(Path(path).stem, records, _numbers(records, entity))


def _numbers(records: Records, column: str) -> NDArray[np.int64]:
    return np.unique([str(f[column]) for f in records.facts], return_inverse=True)[1].astype(np.int64)


def find_captions(name: str) -> LabelledData:
    """Open captioned photos: a folder with captions.csv, by path or by its name in the folder of DIPTYCH_DATA.

    Raises:
        NotAvailable: it is not there.
    """
    return read_typed(present(name, "captions.csv") / "captions.csv", {"captions": Typed("captions", "caption_*")})


def unlabelled_photos() -> Samples[Any]:
    """Return the photos of ``PHOTOS``, without their labels.

    Raises:
        NotAvailable: they are not on this machine.
    """
    return next(iter(open_data(present(PHOTOS)).splits.values())).items
