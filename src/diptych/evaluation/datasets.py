"""The data sets that proofs and boards know by name: where each comes from, and how it is opened."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Samples, Table
from diptych.core.wording import columns_there
from diptych.data.format import Need
from diptych.data.formats.anomaly import CLASSES
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data, open_records
from diptych.data.named_sets import absent, located, present
from diptych.data.recapture import Recaptured
from diptych.data.records.records import Records, joined
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.composed import mosaic_data, pasted_data
from diptych.data.scenes.tables import scene_classes, scene_data
from diptych.data.words.classnames import tidy


@dataclass(frozen=True)
class Clips:
    """How the clips of a data set are listed.

    Args:
        table: file with a row a clip and a column "action".
        frames: its column of frame folders.
        prompt: text of an action, with {}.
        each: frames per clip that are looked at.
    """

    table: str
    frames: str
    prompt: str
    each: int


@dataclass(frozen=True)
class DataSet:
    """A data set that proofs or boards use, and that does not ship.

    Args:
        name: its folder in that of DIPTYCH_DATA.
        source: the page, at the commit that was read, or the command, from which its files come.
        licence: as stated there; "unknown" where nothing is.
        listing: see ``listing_hash``.
        roles: what it is opened for.
        drawn: how it was cut out of its source; items were drawn by ``RULE``.
        thing: what photos show, for detectors that are told; "": the name says it.
        auxiliary: data set from which anomalies of another thing are learnt.
        void: values of masks that do not count.
        group: column of the groups in labels.csv.
    """

    name: str
    what: str
    source: str
    licence: str
    items: int
    listing: str
    roles: tuple[str, ...]
    drawn: str
    thing: str = ""
    auxiliary: str = ""
    void: tuple[int, ...] = ()
    group: str = ""
    clips: Clips | None = None


RULE = "sorted by path, exact duplicates dropped, each class drawn by random.Random('20251124|NAME|CLASS')"
"""How items were drawn from a source."""


def _read() -> Iterator[DataSet]:
    text = files("diptych").joinpath("assets", "data_sets.csv").read_text(encoding="utf-8")
    for r in csv.DictReader(text.splitlines()):
        void = tuple(int(v) for v in r["void"].split(";") if v)
        table, frames, prompt, each = r["clips"].split(";") if r["clips"] else ("", "", "", "0")
        clips = Clips(table, frames, prompt, int(each)) if table else None
        yield DataSet(
            r["name"], r["what"], r["source"], r["licence"], int(r["items"]), r["listing"],
            tuple(r["roles"].split(";")), r["drawn"], r["thing"], r["auxiliary"], void, r["group"], clips,
        )  # fmt: skip


DATA_SETS: Mapping[str, DataSet] = MappingProxyType({s.name: s for s in _read()})
"""Name -> data set, from assets/data_sets.csv."""
SCENES: Mapping[str, SceneRecipe] = MappingProxyType(
    {
        "scenes": SceneRecipe(objects=(1, 2, 3)),
        "scenes:small": SceneRecipe(objects=(1, 2, 3), sides=(0.14, 0.22), backgrounds=("noise",)),
    }
)
"""Painted scenes of up to three objects: as ``tiny`` learnt from, and small things on a restless background."""
SCENE_SIZES = {"train": 1000, "test": 150}
ONE = ":one"
RECAPTURED = ":recaptured"
_MOST = 100  # real photos of a recaptured set in train, and in test of each kind
COMPOSED = 64
"""Pictures of a composed set; the catalogue asks for 500 to 1000, more than one core does in the hour of a proof."""
PHOTOS = "imagenet1k_sample"
"""Photos without labels for systems that learn from some; no evaluated set shares a photo with them."""
CAPTIONED = "flickr8k_small"
"""Captioned photos for segmenters that learn from some; no set with masks shares a photo with them."""


def known_set(name: str) -> DataSet | None:
    """Return the record of a data set, by its name or the path of its folder; None where it has none."""
    return DATA_SETS.get(Path(name).name)


def thing_of(name: str) -> str:
    """Return what the photos of a data set show, for detectors that are told."""
    known = known_set(name)
    return known.thing if known is not None and known.thing else tidy(Path(name).name)


def listing_hash(root: Path) -> str:
    """Return the SHA-256 of the sorted (relative path, bytes) of all files below a folder."""
    files = (p for p in root.rglob("*") if p.is_file())
    rows = sorted(f"{p.relative_to(root).as_posix()}\t{p.stat().st_size}\n" for p in files)
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def few(table: Table[Any], most: int | None) -> Table[Any]:
    """Return at most so many items, those whose content keys have the least hashes, in their order; None: all."""
    order = sorted(range(len(table)), key=lambda i: hashlib.sha256(table.items.key(i).encode()).hexdigest())
    return table if most is None else table.take(sorted(order[:most]))


def open_set(
    name: str, need: Need, keys: FileKeys | None = None, *, void: tuple[int, ...] = (), text: str = ""
) -> LabelledData:
    """Open a data set by path or by its name in the folder of DIPTYCH_DATA, or compose one.

    "scenes" and "scenes:small" are painted (``SCENES``) unless there is a folder of this name, with true captions,
    boxes and phrases; with ":one" behind the name they show one object each, whose phrase is their class.
    "mosaic:NAME" tiles the labelled photos of NAME (its test or val split), "paste:NAME" pastes what NAME's masks cut
    out: ``COMPOSED`` pictures with masks, always the same. "NAME:recaptured" takes photos of classes as real ones:
    those of train are normal, and half of those of test or val are photographed again, in code. Values of masks in
    ``void`` do not count, nor do those that the data set's record or its classes.csv marks. ``text`` is the column of
    captions, as for ``data.load.open_data``.

    Raises:
        NotAvailable: it is not there.
        UsageError, DataError: see ``data.load.open_data``.
    """
    kind, _, plain = name.partition(":")
    recipe = None if located(name).exists() else SCENES.get(name.removesuffix(ONE))
    if recipe is not None and need in ("captions or classes", "any"):
        if name.endswith(ONE):
            return scene_classes(recipe, name, SCENE_SIZES["test"], seed=1)
        return replace(scene_data(recipe, SCENE_SIZES), name=name)
    if need == "masks" and kind in ("mosaic", "paste") and plain:
        data = open_set(plain, "masks" if kind == "paste" else "classes", keys, void=void)
        table = data.splits.get("test") or data.split("val")
        return (mosaic_data if kind == "mosaic" else pasted_data)(name, table, data.classes, COMPOSED)
    if need == "anomalies" and name.endswith(RECAPTURED):
        return _recaptured(open_data(name.removesuffix(RECAPTURED), keys, need="classes"), name)
    known = known_set(name)
    return open_data(name, keys, need=need, text=text, void=void + (() if known is None else known.void))


def _recaptured(data: LabelledData, name: str) -> LabelledData:
    held = data.splits["test"] if "test" in data.splits else data.split("val")
    chosen = few(held, 2 * _MOST)
    real, attacked = chosen.take(range(0, len(chosen), 2)), chosen.take(range(1, len(chosen), 2))
    train = few(data.split("train"), _MOST)
    labels = np.repeat([0, 1], [len(real), len(attacked)])
    test: Table[Any] = Table(Joined((real.items, Recaptured(attacked.items))), {"label": Column("label", labels)})
    zeros = Column("label", np.zeros(len(train), dtype=np.int64))
    return LabelledData(name, CLASSES, {"train": Table(train.items, {"label": zeros}), "test": test})


@dataclass(frozen=True)
class LinkageData:
    """Records with what they are of.

    Args:
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


def open_linkage(
    name: str, entity: str = "", keys: FileKeys | None = None, *, image: str = "", text: str = ""
) -> LinkageData:
    """Open records with what each is of.

    Args:
        name: a table, one column of which says what each record is of; or one of two folders, by path or by name in the
            folder of DIPTYCH_DATA. grocery_packages: shop photos ask, catalogue entries (picture and description)
            answer; an entity is a product. archiscribe_lines: a record is a line of print and its OCR; an entity is a
            book.
        entity: the column of a table.
        keys: remembers content keys.
        image: column of a table with the picture's path; "": found by its name.
        text: column of a table with the text; "": found by its name.

    Raises:
        UsageError: it is not there.
        NotAvailable: it is not there, and is the name of a known data set.
        DataError: a record has no such fact, the table cannot be read, or it is another folder.
    """
    if located(name).is_file():
        records = open_records(name, keys, image=image, text=text)
        lacking = next((i for i, f in enumerate(records.facts) if entity not in f), None)
        if lacking is not None:
            held = columns_there(records.facts[lacking])
            raise DataError(
                f"Record {lacking} of {name} has no {entity!r}, only {held}: name the column of what records are of by "
                f"{{entity}}."
            )
        return LinkageData(Path(name).stem, records, _numbers(records, entity))
    folder = located(name)
    if not folder.exists():
        raise absent(name)
    if (folder / "catalogue.csv").is_file():
        photos = open_records(folder / "photos.csv", keys, image="path").only("image")  # a file name is no text
        entries = open_records(folder / "catalogue.csv", keys, image="iconic_image", text="description")
        records, sides = joined((photos, entries)), np.repeat([0, 1], [len(photos), len(entries)])
        return LinkageData(folder.name, records, _numbers(records, "class_name"), sides)
    if (folder / "lines.csv").is_file():
        records = open_records(folder / "lines.csv", keys, image="path", text="ocr_text")
        return LinkageData(folder.name, records, _numbers(records, "work"))
    raise DataError(
        f"{name} is a folder, not a table of records: give a .csv with a column that says what each record is of, or "
        f"grocery_packages or archiscribe_lines."
    )


def _numbers(records: Records, column: str) -> NDArray[np.int64]:
    return np.unique([str(f[column]) for f in records.facts], return_inverse=True)[1].astype(np.int64)


def unlabelled_photos() -> Samples[Any]:
    """Return the photos of ``PHOTOS``, without their labels.

    Raises:
        NotAvailable: they are not on this machine.
    """
    return open_data(present(PHOTOS), need="photos").whole().items


def captioned_photos() -> Table[Any]:
    """Return the photos of the split train of ``CAPTIONED`` with their captions.

    Raises:
        NotAvailable: they are not on this machine.
    """
    return open_data(present(CAPTIONED, "captions.csv"), need="captions", text="caption_*").split("train")
