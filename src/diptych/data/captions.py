"""Captions of pictures: those of a table, or a computed phrase about colour and light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.core import DataError, Evidence, MissingEvidence, Table, Text, TextPool, UsageError
from diptych.core.wording import columns_there
from diptych.data.formats.captioned import captions_table
from diptych.data.named_sets import located
from diptych.data.rows import columns_of, read_columns
from diptych.data.words.textfiles import read_text

PROMPT = "A photo depicts "
"""Stands before a caption that CLIPScore judges."""
COLOURS = {
    "black": (20, 20, 20), "grey": (128, 128, 128), "white": (235, 235, 235), "red": (190, 40, 40),
    "orange": (230, 140, 40), "yellow": (230, 215, 70), "green": (60, 140, 60), "blue": (50, 90, 180),
    "light blue": (150, 195, 230), "purple": (125, 60, 145), "pink": (235, 160, 185), "brown": (115, 75, 45),
    "beige": (215, 195, 160),
}  # fmt: skip
"""Name -> RGB in [0, 255]; a pixel takes the name of the nearest colour."""


def colour_phrase(image: Image.Image) -> str:
    """Return a sentence with the two most frequent colours of a picture and its lightness.

    An example is "Mostly white and blue, in bright light."
    """
    pixels = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX), dtype=np.float64).reshape(-1, 3)
    palette = np.array(list(COLOURS.values()), dtype=np.float64)
    nearest = ((pixels[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(palette))
    names = [list(COLOURS)[i] for i in np.argsort(-counts, kind="stable")[:2] if counts[i]]
    light = float(pixels.mean())
    return f"Mostly {' and '.join(names)}, in {'bright' if light > 170 else 'dim' if light < 85 else 'soft'} light."


def captions(table: Table[Any]) -> tuple[str, ...]:
    """Return a caption of each of N items: the first in the column "captions", else a colour phrase.

    It is "" where an item has no caption, or is no picture.
    """
    column = table.columns.get("captions")
    if column is not None:
        return tuple(next(iter(texts), "") for texts in column.values)
    phrases = []
    for i in range(len(table)):
        item = table.items[i]
        phrases.append(colour_phrase(item) if isinstance(item, Image.Image) else "")
    return tuple(phrases)


def sentences(evidence: Evidence[Any]) -> tuple[str, ...]:
    """Return the texts of the evidence, each once, in the order of the pool, to train a captioner on.

    Raises:
        MissingEvidence: there are none.
    """
    pools = evidence.texts.texts.values() if evidence.texts is not None else ()
    result = tuple(dict.fromkeys(t.value.strip() for texts in pools for t in texts if t.value.strip()))
    if not result:
        raise MissingEvidence("This captioner learns from sentences, and there are none: give {texts}.")
    return result


def read_sentences(path: str | Path) -> TextPool:
    """Read sentences to train on: the lines of a text file, or all columns of a table whose name begins with "caption".

    Raises:
        UsageError: there is no such file, or the table has no such column.
        DataError: the file is damaged, or holds no sentence.
    """
    file = captions_table(located(path))
    if file.suffix.lower() == ".txt":
        values = [line.strip() for line in read_text(file, "sentences").splitlines()]
    else:
        cells = read_columns(file)
        named = columns_of(cells, ("caption*",))
        if not named:
            raise UsageError(
                f"{file} has the columns {columns_there(cells)}, and none whose name begins with caption: rename one."
            )
        values = [str(v or "").strip() for c in named for v in cells[c]]
    texts = tuple(Text(t, writer=file.name) for t in dict.fromkeys(values) if t)
    if not texts:
        raise DataError(f"{file} holds no sentences: give one per line.")
    return TextPool({"": texts})
