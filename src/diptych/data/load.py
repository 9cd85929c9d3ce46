"""Opening of data sets, records and streams with the first format that matches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import DataError, Samples, Stream, Table, UsageError
from diptych.data.addresses import files_at
from diptych.data.files import address_of
from diptych.data.folders import FOLDER, PICTURE, ImageFiles
from diptych.data.format import FRAMES, Format, Need, Request, first
from diptych.data.formats.anomaly import ANOMALIES
from diptych.data.formats.captioned import CAPTIONED
from diptych.data.formats.coop import COOP
from diptych.data.formats.grouped import GROUPED
from diptych.data.formats.huggingface import METADATA, PARQUET
from diptych.data.formats.item_folders import CLIPS, CLOUDS, ClipFiles
from diptych.data.formats.label_folders import LABEL_FOLDERS
from diptych.data.formats.points import Clouds
from diptych.data.formats.semantic import MASKS
from diptych.data.formats.star_table import STAR_TABLE
from diptych.data.formats.webdataset import TAR_FOLDER, TARS
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.named_sets import located
from diptych.data.tables import LISTED, TABLE

if TYPE_CHECKING:
    from diptych.data.records.records import Records

FORMATS: tuple[Format[LabelledData], ...] = (
    STAR_TABLE, CLIPS, CLOUDS, GROUPED, CAPTIONED, TAR_FOLDER, METADATA, PARQUET, ANOMALIES, MASKS, LABEL_FOLDERS, TARS,
    LISTED, FOLDER, COOP, TABLE, PICTURE,
)  # fmt: skip
"""Formats of data sets, in the order in which they are tried."""


def open_data(
    spec: str | os.PathLike[str] | Sequence[str],
    keys: FileKeys | None = None,
    *,
    need: Need = "any",
    image: str = "",
    text: str = "",
    label: str = "",
    group: str = "",
    frames: int = FRAMES,
    void: Iterable[int] = (),
    shares: Iterable[float] = (),
    empty: bool = False,
) -> LabelledData:
    """Open a data set.

    Formats are:

    - a folder of pictures (``class_folder``), a picture, or a folder of photos with label maps (of a
      table, or ADE20K's layout);
    - a .csv, .tsv or .parquet table (``read_table``), or a folder with one that lists its pictures;
    - tars of a WebDataset (one, a brace range, or a folder of them), and CLIP_benchmark's tars;
    - Hugging Face folders, and Parquet files with encoded pictures;
    - MVTec folders with ground_truth, and split_zhou_*.json.

    Args:
        spec: a path, read with the first of ``FORMATS`` that meets the need and matches. A name in the folder of
            DIPTYCH_DATA becomes the path there, see ``located``. "demo:photos" is a few photos without labels, and
            "demo:clothes" 10 classes with train and test. Several pictures, or several clips, are one split "test".
        keys: cache of content keys; None caches them in the returned data only.
        need: what a verb needs, see ``Need``.
        image: column of a table with the picture; here and below "" uses the names in ``data.rows``.
        text: column with a caption or a list of captions, a pattern such as "caption_*", or names with commas between
            them.
        label: column with the class.
        group: column with the group, which has no usual name.
        frames: pictures per clip.
        void: ignored values of masks, besides those that classes.csv marks in a column "void".
        shares: weight of each column of ``text``, by which a training draws one of a row's captions; (): all are equal.
        empty: whether rows of a table may lack the captions that are needed.

    Returns:
        Its splits. Photos without labels, one picture, and classes without split folders form the split "test".

    Raises:
        UsageError: the path does not exist.
        NotAvailable: it does not exist, and is the name of a known data set.
        DataError: the folder or table is not usable, or no format that meets the need matches; the message has the
            remedy.
    """
    request = Request(need, keys, image, text, label, group, frames, tuple(void), tuple(shares), empty)
    if not isinstance(spec, (str, os.PathLike)):
        if len(spec) != 1:
            return _several([located(s) for s in spec], request)
        spec = spec[0]
    path = located(spec)
    data = first(FORMATS, path, request)
    if text and not any("captions" in split.columns for split in data.splits.values()):
        raise DataError(f"{path} has no table with the column {text!r}: leave out {{text}}, or give one.")
    if need == "classes":
        refuse_one_class(data, path)
    if not data.classes:
        data = replace(data, source=path)
    return data if path == Path(spec) else replace(data, name=os.fspath(spec))


def refuse_one_class(data: LabelledData, path: Path | str) -> None:
    """Raise DataError where all items are of one class."""
    if len(data.classes) == 1:
        raise DataError(
            f"{path} has one class, {data.classes[0]!r}, and everything would be right: give a folder of two class "
            f"folders at least, or a table with a column class_name."
        )


def _several(paths: Sequence[Path], request: Request) -> LabelledData:
    if request.need in ("clips", "clouds"):
        if missing := [p for p in paths if not p.exists()]:
            raise UsageError(f"There is no file or folder {missing[0]}: check the spelling.")
    elif word := next((p for p in paths if not p.suffix and not p.exists()), None):
        raise UsageError(f"There is no file {word}: class names go to {{names}}, file names with spaces into quotes.")
    elif folder := next((p for p in paths if p.is_dir()), None):
        raise UsageError(f"{folder} is a folder, and one of {len(paths)}: give one folder alone, or photos.")
    names = [str(p) for p in paths]
    items: Samples[Any] = ImageFiles(names, request.keys)
    if request.need in ("clips", "clouds"):
        clips = request.need == "clips"
        items = ClipFiles(names, request.frames, request.keys) if clips else Clouds(names, keys=request.keys)
    return LabelledData(paths[0].stem if paths else "", (), {"test": Table(items)})


def open_records(
    spec: str | os.PathLike[str],
    keys: FileKeys | None = None,
    *,
    image: str = "",
    text: str = "",
    vectors: bool = False,
) -> Records:
    """Open records: pictures, texts or both, with metadata.

    Args:
        spec: a folder (all pictures below it; with metadata.csv or .jsonl, the rows of that), a .csv, .tsv, .jsonl or
            .parquet table with a picture, a text or both in each row, a .tar of pictures with .txt and .json beside
            them, a picture, or "demo:photos".
        keys: cache of content keys.
        image: column of a table with the picture's path; "": the first of ``data.rows.PATH_COLUMNS`` that is present.
        text: column of a table with the text; "": the first of ``data.rows.TEXT_COLUMNS`` that is present.
        vectors: also take stored vectors in the place of pictures, see ``records.vectors``.

    Returns:
        Records in the order of the source; all other columns are facts.

    Raises:
        UsageError: the path does not exist, or has none of these formats.
        DataError: a table has neither column, no rows, or a path that leads outside its folder.
    """
    # Here and in open_stream, since one photo is classified sooner without the readers of records and streams.
    from diptych.data.records.records import RECORDS
    from diptych.data.records.vectors import VECTOR_RECORDS

    request = Request("photos", keys, image, text)
    return first((*(VECTOR_RECORDS if vectors else ()), *RECORDS), located(spec), request)


def open_stream(
    source: str, image: str = "", text: str = "", *, pictures: bool = True, shares: Iterable[float] = ()
) -> Stream[Any]:
    """Open the stream of a curator or of a training, which is read in bounded memory.

    Args:
        source: a .txt file with one text per line, a .csv or .tsv table, tars of a WebDataset (a brace range is
            several), Parquet with pictures as bytes or paths and a text, articles in JATS XML with their figures, or
            slides; a folder of the latter three is searched. Of an address of object storage tars and Parquet are
            streamed, and other files are copied first, see ``data.addresses``.
        image: column of the table with the picture; "": filepath, or the first of ``data.rows.PATH_COLUMNS``.
        text: column of the table with the text, or several with commas between them; of tars, fields of their JSON
            members. "": title, or the first of ``data.rows.CAPTION_COLUMNS``, and of tars the .txt member.
        shares: weight of each of these, by which a training draws one of a row's captions; (): all are equal.
        pictures: whether to read the pictures of tars; False reads their texts only.

    Raises:
        UsageError: there is no such file, or it is of another kind.
    """
    from diptych.data.formats.jats import ARTICLES
    from diptych.data.formats.pairs import PAIRS
    from diptych.data.formats.parquet_pairs import PARQUET_PAIRS, read_parquet_pairs
    from diptych.data.formats.slides import SLIDES
    from diptych.data.formats.tars import ENDINGS, TAR_STREAM, read_tar_stream
    from diptych.data.words.textlines import LINES

    request = Request("photos" if pictures else "texts", image=image, text=text, shares=tuple(shares))
    address = address_of(source)
    if address and (address.rstrip("/}").lower().endswith(ENDINGS) or files_at(address, ENDINGS)):
        return read_tar_stream(source, request)
    if address and (address.lower().endswith(".parquet") or files_at(address, (".parquet",))):
        return read_parquet_pairs(source, request)
    streams: tuple[Format[Stream[Any]], ...] = (LINES, PAIRS, TAR_STREAM, PARQUET_PAIRS, ARTICLES, SLIDES)
    return first(streams, located(source), request)
