"""Light curves in a search index: stars that look alike, by the tower of a model of ``diptych extend CURVES``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from torch import Tensor, nn

from diptych.core import (
    Backbone,
    DataError,
    Encoder,
    Inputs,
    Kit,
    MissingHook,
    Spec,
    Subset,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.formats.star_table import holds_curves
from diptych.data.load import open_data
from diptych.data.records.records import Fact, Records
from diptych.data.stars import Star, Stars
from diptych.features.portable import load
from diptych.nn.star_space import LabelNet, hash_of
from diptych.tasks.search.ask import Term
from diptych.tasks.stars import TOWER, StarClassifier, made_stars

STARS = "stars:"
"""Begins the name of the backbone of an index of light curves; the folder of the model follows."""
_NAMED = re.compile(r"(.+)\[(.+)\]", re.DOTALL)
_WORDS = "Words and photos share no space with light curves: ask with a star, such as CURVES.csv[NAME]."


@dataclass(frozen=True, eq=False)
class CurveEncoder:
    """Embeds stars by the features of a tuned tower of light curves, before its head."""

    net: LabelNet
    fingerprint: str
    modality: str = TOWER
    size: int | None = None

    @property
    def dim(self) -> int:
        """D, the width of the features."""
        return self.net.head.in_features

    def inputs(self, items: Sequence[Star], size: int | None = None) -> Inputs:
        """Return the tower's inputs of B stars."""
        return self.net.encoder.inputs(items)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, D) features, not normalised."""
        assert isinstance(x, Tensor)
        return self.net.encoder.features(x)


@dataclass(frozen=True, eq=False)
class _NoWords:
    """The encoder of words of a space that has none."""

    dim: int
    fingerprint: str = "none"
    modality: str = "text"
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> NoReturn:
        raise UsageError(_WORDS)

    def encode(self, x: Inputs, /) -> NoReturn:
        raise UsageError(_WORDS)


class CurveSpace(Backbone):
    """The space of light curves of a kept model, in the place of a backbone of photos."""

    def __init__(self, model: StarClassifier, folder: Path) -> None:
        self.model, net = model, model.net()
        weights = hash_of((model.method.length, model.facts), dict(sorted(model.state.items())))
        image = CurveEncoder(net, f"curves-{weights[:16]}")
        self._net = net
        self._spec = replace(model.space().spec, name=f"{STARS}{folder}", weights=weights, dim=image.dim)
        self._encoders: Mapping[str, Encoder[Any]] = {"image": image, "text": _NoWords(image.dim)}

    score: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """The encoder of stars, as "image", and one that refuses words."""
        return self._encoders

    @property
    def spec(self) -> Spec:
        """Name, sizes and hash of the weights."""
        return self._spec

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Raise MissingHook: there are no words to be compared with."""
        raise MissingHook(f"{self.spec.name} has no scale: {_WORDS}")

    def module(self) -> nn.Module:
        """Return tower and head."""
        return self._net


def curve_space(folder: str | os.PathLike[str]) -> CurveSpace:
    """Open a kept model of light curves.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds another model.
    """
    path = Path(os.path.abspath(folder))
    if not path.is_dir():
        raise UsageError(
            f"Light curves share no space with words or photos, and {folder} is no model of them: run 'diptych extend "
            f"CURVES --out FOLDER', and give its folder with --backbone."
        )
    model = load(path, Kit())
    if not isinstance(model, StarClassifier):
        raise DataError(f"{folder} holds a {type(model).__name__}, which knows no light curves.")
    return CurveSpace(model, path)


def curve_records(path: str, space: CurveSpace) -> Records:
    """Read light curves as records whose pictures are stars, named TABLE[STAR]; facts are "split" and "label".

    Curves that cannot be used are among ``failed``.

    Raises:
        DataError: the table is damaged, or no curve of a split can be used.
    """
    data, base = open_data(path, need="curves"), os.path.abspath(path)
    names, found, facts, failed = list[str](), list[Star](), list[dict[str, Fact]](), list[UnreadableItem]()
    for split, table in data.splits.items():
        stars, broken = made_stars(table, space.model.method)
        labels: list[Any] = stars.labels().tolist() if "label" in stars.columns else [None] * len(stars)
        names += [f"{base}[{stars.items.name(i)}]" for i in range(len(stars))]
        found += [stars.items[i] for i in range(len(stars))]
        facts += [{"split": split} if k is None else {"split": split, "label": data.classes[k]} for k in labels]
        failed += [UnreadableItem(f"{base}[{error.name}]", error.reason) for error in broken]
    pictures: Any = Stars(tuple(names), found)
    places = tuple(range(len(names)))
    return Records(tuple(names), pictures, places, (None,) * len(names), tuple(facts), tuple(failed))


def star_term(term: Term, space: CurveSpace) -> Term:
    """Return a term of a query with its star: "CURVES.csv[NAME]", or a table of one star; others stay as they are.

    Raises:
        DataError: the table has no such star, or several and none is named.
        UnreadableItem: its curve cannot be used.
    """
    match = _NAMED.fullmatch(term.value)
    path, name = (match[1], match[2]) if match else (term.value, "")
    if not Path(path).exists() or not holds_curves(path):
        return term
    curves = open_data(path, need="curves").whole().items
    rows = [i for i in range(len(curves)) if not name or curves.name(i) == name]
    if len(rows) != 1:
        raise DataError(f"{path} holds {len(rows)} stars {name}: name one of its stars, as {path}[NAME].")
    stars, _ = made_stars(Table(Subset(curves, tuple(rows))), space.model.method)
    return replace(term, photo=Stars((term.value,), [stars.items[0]]))
