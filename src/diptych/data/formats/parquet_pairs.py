"""Picture-text pairs in Parquet as streams: pictures as bytes, as img2dataset writes them, or as paths, and a text."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.core.blocks import Block, chunks
from diptych.core.wording import columns_there
from diptych.data.addresses import files_at, opened_at
from diptych.data.files import address_of
from diptych.data.format import Format, Request
from diptych.data.formats.outcomes import ShardStream
from diptych.data.formats.parquet import image_column
from diptych.data.formats.parquet_columns import IN_STEPS, PlainFile, plain_file, readable_shard
from diptych.data.formats.taught import NAMES, taught_columns
from diptych.data.formats.weighted import CAPTION_WEIGHTS, SYNTHETIC_WEIGHTS, caption_columns, check_shares
from diptych.data.images import decode_image, open_image
from diptych.data.inside import OUTSIDE, inside, outside_allowed
from diptych.data.keys import FileKeys
from diptych.data.rows import CAPTION_COLUMNS, PATH_COLUMNS, SYNTHETIC_COLUMNS, columns_of, refuse_twins, text_of

BATCH = 256
"""Rows in memory at the same time."""


@dataclass(frozen=True)
class ParquetPair:
    """One row, which is decoded on demand.

    Args:
        name: path of the picture, or the file and the row in it.
        content: bytes of the picture; None: it is at the path ``name``.
        columns: captions with weights, and teachers' vectors, for a training; {}: the text alone.
    """

    name: str
    title: str
    content: bytes | None = field(default=None, repr=False)
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def image(self) -> Image.Image:
        """Return the picture; raises UnreadableItem where it cannot be read."""
        return open_image(self.name) if self.content is None else decode_image(self.content, self.name)

    def key(self) -> str:
        """Return the SHA-256 of the picture's bytes; raises UnreadableItem where they cannot be read."""
        return FileKeys().key(self.name) if self.content is None else hashlib.sha256(self.content).hexdigest()

    def text(self) -> str:
        """Return the text."""
        return self.title


@dataclass(frozen=True)
class ParquetStream(ShardStream[ParquetPair]):
    """Rows of Parquet files, with ``BATCH`` rows in memory.

    Args:
        images: column with the picture; "": a column of bytes, else the first of ``data.rows.PATH_COLUMNS``.
        texts: column with the text, one or a list of them, or several columns with commas between them; "": caption, or
            the first of ``data.rows.CAPTION_COLUMNS``.
        shares: weight of each column of ``texts``; (): there are none.
        pictures: False reads the texts alone.
        outside: whether paths may lead outside the folder of their file.
    """

    images: str = ""
    texts: str = ""
    pictures: bool = True
    outside: bool = False
    shares: tuple[float, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """Yield all rows, and those that cannot be read, in blocks.

        Of a local file of one column of texts and one of bytes, without empty cells, as most pools are, columns are
        read when they are needed.

        Raises:
            DataError: a file is damaged, or has no such columns.
        """
        for first, skip, shard in self.places():
            with readable_shard(shard):
                file = None if address_of(shard) else self._plain_file(shard)
            if file is None:
                outcomes = ((first + at, item) for at, item in self.items(shard, skip))
                for some in chunks(outcomes):
                    yield Block.of(some)
                continue
            for rows in file.rows(skip):
                positions = np.arange(first + rows.start, first + rows.stop)
                yield Block(positions, rows, source=rows.source)

    def _plain_file(self, shard: str) -> PlainFile | None:
        import pyarrow.parquet as pq

        with pq.ParquetFile(shard) as file:
            image, texts = self._columns(shard, file.schema_arrow)
            if image in set(PATH_COLUMNS) - {"image"} or len(texts) != 1:
                return None
            if self.pictures and self._beside(file.schema_arrow.names):
                return None
            return plain_file(shard, file, image if self.pictures else "", texts[0], ParquetPair)

    def items(self, shard: str, skip: int) -> Generator[tuple[int, ParquetPair | UnreadableItem], None, None]:
        """Yield (number, row or error) of a file.

        Raises:
            DataError: it is damaged, or has no such columns.
        """
        import pyarrow.parquet as pq

        remote = address_of(shard)
        with (
            readable_shard(shard),
            pq.ParquetFile(opened_at(shard)) if remote else pq.ParquetFile(shard, **IN_STEPS) as file,
        ):
            image, texts = self._columns(shard, file.schema_arrow)
            beside = self._beside(file.schema_arrow.names) if self.pictures else []
            named = image in set(PATH_COLUMNS) - {"image"}
            group, row = 0, 0  # whole row groups before the first row are not read
            while group < file.num_row_groups and row + file.metadata.row_group(group).num_rows <= skip:
                row, group = row + file.metadata.row_group(group).num_rows, group + 1
            columns = [*texts, *beside, *([image] if image and self.pictures else [])]
            groups = list(range(group, file.num_row_groups))
            for batch in file.iter_batches(BATCH, row_groups=groups, columns=columns):
                pairs = None if named else _plain(batch, image if self.pictures else "", texts)
                if pairs is not None:
                    for at, (title, content) in enumerate(pairs, row):
                        if at >= skip:
                            yield at, ParquetPair(f"{shard}[{at}]", title, content)
                    row += len(batch)
                    continue
                for cells in batch.to_pylist():
                    if row >= skip:
                        yield row, self._item(shard, row, cells.get(image), texts, cells, named)
                    row += 1

    def _beside(self, names: Sequence[str]) -> list[str]:
        """Return the columns that are read beside captions."""
        return [*(c for c in _BESIDE if c in names), *columns_of(names, SYNTHETIC_COLUMNS)]

    def _columns(self, shard: str, schema: Any) -> tuple[str, list[str]]:
        names = list(schema.names)
        refuse_twins(shard, names)
        within = image_column(schema)
        image = [self.images] if self.images in names else [within] if within else columns_of(names, PATH_COLUMNS)
        text = columns_of(names, ("caption", "title", *CAPTION_COLUMNS), self.texts)
        if (self.images and self.images not in names) or not image or not text:
            raise DataError(
                f"{shard} has no column with a picture or none with a text, only {columns_there(names)}: name the "
                f"columns."
            )
        texts = text if self.texts else text[:1]
        check_shares(self.shares, texts, columns_of(names, CAPTION_WEIGHTS), shard)
        return str(image[0]), texts

    def _item(
        self, shard: str, row: int, cell: Any, texts: Sequence[str], cells: Mapping[str, Any], named: bool
    ) -> ParquetPair | UnreadableItem:
        """Return the pair of a row; ``named`` where the picture's cell is a path, though it may hold bytes."""
        name = f"{shard}[{row}]"
        if all(cells[c] is None for c in texts):
            return UnreadableItem(name, "has no text")
        try:
            title, columns = self._caption_and_columns(name, texts, cells)
            cell = text_of(cell) if named else cell
        except DataError as error:
            return UnreadableItem(name, _reason(error, name))
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not self.pictures:
            return ParquetPair(name, title, b"")
        if isinstance(content, bytes):
            return ParquetPair(name, title, content, columns)
        if not isinstance(content, str) or not content.strip():
            return UnreadableItem(name, "has no picture")
        if address_of(shard):
            return UnreadableItem(name, "names a picture by its path, and an address has none: write bytes")
        try:
            with outside_allowed(self.outside):
                return ParquetPair(inside(os.path.dirname(shard), content.strip(), name), title, None, columns)
        except DataError:
            return UnreadableItem(name, "leads outside the table's folder")

    def _caption_and_columns(
        self, name: str, texts: Sequence[str], cells: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Return the first caption of a row, and its columns for a training; {} where it has one caption alone."""
        if len(cells) <= 2 and len(texts) == 1 and not isinstance(cells[texts[0]], list):
            return text_of(cells[texts[0]]), {}
        row = {c: [value] for c, value in cells.items()}
        given = ",".join(texts)
        columns = caption_columns(row, [0], name, given=given, shares=self.shares)
        columns |= caption_columns(row, [0], name, "synthetic")
        columns |= taught_columns(row, [0], name, columns)
        if not columns["captions"].values[0]:
            raise DataError(f"{name} has no text")
        return str(columns["captions"].values[0][0]), {n: column.values[0] for n, column in columns.items()}


_BESIDE = (*CAPTION_WEIGHTS, *SYNTHETIC_WEIGHTS, *(n for usual in NAMES.values() for n in usual))
"""Columns that are read beside captions where a file has them."""


def _plain(batch: Any, image: str, texts: Sequence[str]) -> Iterator[tuple[str, bytes]] | None:
    """Return text and picture of each row of a batch of a column of texts and one of bytes, without empty cells.

    Most pools are such, and a dictionary for each row would take most of the time of a pass. None: it is no such batch.
    Without a column ``image`` ("") pictures are not read.
    """
    import pyarrow as pa

    names = [*texts, image] if image else [*texts]
    if len(texts) != 1 or {*batch.schema.names} != {*names} or any(column.null_count for column in batch.columns):
        return None
    text, content = batch.column(texts[0]), batch.column(image) if image else None
    if not pa.types.is_string(text.type) or not (content is None or pa.types.is_binary(content.type)):
        return None
    pictures = [b""] * len(batch) if content is None else content.to_numpy(zero_copy_only=False).tolist()
    return zip(text.to_numpy(zero_copy_only=False).tolist(), pictures, strict=True)


def _reason(error: DataError, name: str) -> str:
    reason = str(error)
    at = reason.find(name)
    return "holds bytes that are no UTF-8 text" if "UTF-8" in reason else reason[at + len(name) :].strip() or reason


def open_parquet_pairs(path: str | os.PathLike[str], images: str = "", texts: str = "") -> ParquetStream:
    """Open a Parquet file, or a folder of them, as a stream of pairs; addresses of object storage are streamed.

    Raises:
        UsageError: no such file, or a folder without any.
        DataError: the storage does not answer.
    """
    address = address_of(path)
    if address is not None:
        shards = [address] if address.lower().endswith(".parquet") else files_at(address, (".parquet",))
    else:
        file = Path(path)
        shards = [str(p.absolute()) for p in ([file] if file.is_file() else sorted(file.glob("*.parquet")))]
    if not shards:
        raise UsageError(f"There is no Parquet at {path}: give a file that ends in .parquet, or a folder of them.")
    return ParquetStream(tuple(shards), images=images, texts=texts, outside=bool(OUTSIDE.get()))


def read_parquet_pairs(path: str | os.PathLike[str], request: Request) -> ParquetStream:
    """Open pairs as ``open_parquet_pairs``; their texts alone where no more is needed."""
    stream = open_parquet_pairs(path, request.image, request.text)
    return replace(stream, pictures=request.need != "texts", shares=request.shares)


PARQUET_PAIRS = Format(
    "Parquet (.parquet)",
    lambda path, request: path.suffix.lower() == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))),
    read_parquet_pairs,
    frozenset(("photos", "texts")),
)
