"""``diptych verify``: the zero-shot accuracy of a backbone on a user's own copy of a data set, beside the published
one.

The protocol is that of the published table: OpenAI's 1,000 class names and 80 templates, which open_clip ships. Two of
the names occur twice ("missile", "sunglasses"); of such a pair the first class wins here, and either may there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn.functional import normalize

from diptych.backbones.names import parse
from diptych.core import Backbone, DataError, Run, UsageError
from diptych.core.wording import none_readable
from diptych.data.files import plain
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.episodes import measured
from diptych.features.embed import embed_readable
from diptych.features.heads import logits, text_head
from diptych.metrics.classification import top_k_hits
from diptych.metrics.two_way import item_mean
from diptych.tasks.classify import with_store

ROWS = Path(__file__).parent.parent / "assets" / "published_rows.json"
_NUMBERED = "imagenetv2"  # its folders are called 0 to 999, the others' after WordNet


@dataclass(frozen=True)
class Comparison:
    """A measured accuracy beside the published one; all fractions.

    Args:
        backbone: what was measured.
        row: published row, "ARCH/TAG".
        dataset: as in the table.
        source: where the published number was read.
        published, measured: zero-shot top-1.
        low, high: 95 % interval of ``measured``.
        tolerance: largest difference that counts as the same.
        items: photos that were measured; of: photos of the whole data set.
        within: see ``compare``.
        skipped: photos that cannot be read, and why.
    """

    backbone: str
    row: str
    dataset: str
    source: str
    published: float
    measured: float
    low: float
    high: float
    tolerance: float
    items: int
    of: int
    within: bool
    skipped: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return plain(asdict(self))


def published(row: str, dataset: str) -> tuple[str, float]:
    """Return the name "ARCH/TAG" and the published accuracy of a backbone.

    Raises:
        UsageError: there is no such data set or row; those that there are are named.
    """
    table = _table()
    if dataset not in table["datasets"]:
        raise UsageError(
            f"There are no published rows for the data set {dataset!r}: choose one of {', '.join(table['datasets'])}."
        )
    known = {f"{r['model']}/{r['pretrained']}": float(r[dataset]) for r in table["rows"]}
    name = parse(row)
    # open_clip gives some weights their activation by the tag
    spellings = (f"{name.architecture}/{name.tag}", f"{name.architecture.removesuffix('-quickgelu')}/{name.tag}")
    key = next((k for k in spellings if k in known), "")
    if name.kind != "openclip" or not key:
        advice = (
            f"; what it reaches on your photos says 'diptych board classify DATA --backbone {name.canonical}'"
            if name.kind in ("embedded", "local")
            else ""
        )
        raise UsageError(
            f"There is no published row for {name.canonical}: give {{row}} with one of {', '.join(known)}{advice}."
        )
    return key, known[key]


def compare(
    data: LabelledData, backbone: Backbone, run: Run, *, row: str, dataset: str, tolerance: float = 0.005
) -> Comparison:
    """Measure zero-shot top-1 and compare it with the published row.

    Args:
        data: class folders called after WordNet (n01440764), or 0 to 999 for imagenetv2; its test split, or val where
            there is none.
        backbone: what to measure.
        run: device, cache and progress.
        row: published backbone, "ARCH/TAG".
        dataset: which of the data sets it is.
        tolerance: largest difference that counts as the same, a fraction.

    Returns:
        The comparison. ``within`` on the whole data set: the two differ by at most the tolerance. On a part of it,
        whose photos differ by
        chance: the published value lies at most the tolerance outside the interval of the measured one.

    Raises:
        UsageError: there is no such data set or row.
        DataError: the folders are not the classes of the data set, or no photo can be read.
    """
    key, expected = published(row, dataset)
    facts = _table()["datasets"][dataset]
    prompts = _prompts(_positions(data.classes, dataset, int(facts["classes"])))
    test = data.splits[measured(data)]
    with with_store(run) as stored:
        embedded = embed_readable(backbone.image, test.items, stored)
        if len(embedded.kept) == 0:
            raise DataError(none_readable(len(test), "photos", embedded.failed, f" of {data.name}"))
        values = logits(backbone, normalize(embedded.values, dim=-1), text_head(backbone, prompts, stored))
    hits = top_k_hits(values.numpy(), test.labels()[embedded.kept]).astype(np.float64)
    interval = item_mean(hits)
    whole = len(hits) == int(facts["items"])
    low, high = (interval.value, interval.value) if whole else (interval.low, interval.high)
    return Comparison(
        backbone.spec.name, key, dataset, str(_table()["source"]), expected, interval.value, interval.low,
        interval.high, tolerance,
        len(hits), int(facts["items"]), low - tolerance <= expected <= high + tolerance,
        tuple(str(e) for e in embedded.failed),
    )  # fmt: skip


def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(ROWS.read_text(encoding="utf-8"))
    return table


def _positions(classes: Sequence[str], dataset: str, count: int) -> list[int]:
    """Return the place of each class folder among the 1,000 classes of ImageNet."""
    from timm.data import ImageNetInfo

    names = [str(i) for i in range(1000)] if dataset == _NUMBERED else ImageNetInfo().label_names()
    place = {name: i for i, name in enumerate(names)}
    unknown = [c for c in classes if c not in place]
    if unknown or len(classes) != count:
        why = f"{unknown[0]!r} is none of them" if unknown else f"here are {len(classes)}"
        raise DataError(
            f"The class folders of {dataset} are {count}, called {names[0]}, {names[1]} and so on, and {why}: lay it "
            f"out so."
        )
    return [place[c] for c in classes]


def _prompts(positions: Sequence[int]) -> list[list[str]]:
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    return [[template(IMAGENET_CLASSNAMES[i]) for template in OPENAI_IMAGENET_TEMPLATES] for i in positions]
