"""Photos that ship, each with a right caption: the rate of false alarms is measured on them by default."""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from diptych.core import Column, Table
from diptych.data.folders import ImageFiles
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.named_sets import demo_folder
from diptych.data.words.classnames import tidy

_PLAIN = frozenset(("and", "the", "with"))


def shipped(keys: FileKeys | None = None) -> Table[Any]:
    """Return the photos of demo:photos and the test photos of demo:clothes, with the columns "captions", a right
    sentence, "kinds", "thing" or "clothes", and "topics": words of which a sentence that may be right holds one (of
    all clothes for a piece of clothing, since their names overlap).
    """
    folder, clothes = demo_folder("photos"), open_data("demo:clothes", keys).split("test")
    with (folder / "credits.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    classes = [tidy(c) for c in open_data("demo:clothes", keys).classes]
    worn = [classes[k] for k in clothes.labels()]
    topics = [*(row["name"] for row in rows), *[" ".join(classes)] * len(worn)]
    kinds = [*["thing"] * len(rows), *["clothes"] * len(worn)]
    with files("diptych").joinpath("assets", "clothes_sentences.csv").open(encoding="utf-8") as lines:
        written = {row["path"]: row["sentence"] for row in csv.DictReader(lines)}
    root = demo_folder("clothes")
    places = [Path(clothes.items.name(i)).relative_to(root).as_posix() for i in range(len(clothes))]
    captions = [*(row["caption"] for row in rows), *(written[place] for place in places)]
    paths = [*(str(folder / row["path"]) for row in rows), *(clothes.items.name(i) for i in range(len(clothes)))]
    facts = {"captions": captions, "topics": topics, "kinds": kinds}
    columns = {name: Column("captions", values) for name, values in facts.items()}
    return Table(ImageFiles(paths, keys), columns)


def shares_a_word(name: str, sentence: str) -> bool:
    """Whether a sentence may speak of what a name says: they share a word of three letters or more, in singular or
    plural.

    Example:
        >>> shares_a_word("pair of shoes", "A shoe on the floor.")
        True
    """
    words, other = ({w.rstrip("s") for w in re.findall(r"\w{3,}", text.lower())} - _PLAIN for text in (name, sentence))
    return bool(words & other)
