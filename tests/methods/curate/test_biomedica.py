from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Kit, MissingPart, Run, UnreadableItem, UsageError
from diptych.data.words.textlines import open_lines
from diptych.features.entry_counts import EntryCounts
from diptych.methods.curate.biomedica import BIOMEDICA, keep_probability
from tests.support.backbone import SmallBackbone
from tests.support.colours import COLOURS
from tests.support.refused import refused

KIT = Kit({"main": SmallBackbone()})
SHADES = tuple(COLOURS)


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"p{self.number}.png"

    @property
    def shade(self) -> str:
        return SHADES[min(self.number % 8, 3)]  # five of eight are yellow

    def image(self) -> Image.Image:
        if self.number == 9:
            raise UnreadableItem(self.name, "truncated")
        noise = np.random.default_rng(self.number).integers(-9, 10, (24, 24, 3))
        pixels = np.clip(np.array(COLOURS[self.shade]) + noise, 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels)
        return image.resize((10, 24)) if self.number == 12 else image

    def text(self) -> str:
        return " " if self.number == 15 else f"a caption of {self.number}"


@dataclass(frozen=True)
class Items:
    count: int = 80
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return ((i, Item(i)) for i in range(self.start, self.count))

    def seek(self, position: int) -> Items:
        return replace(self, start=position)


def voted(tmp_path: Path, count: int = 3, taxonomy: dict[str, list[str]] | None = None) -> BIOMEDICA:
    """Return a curator whose looks were labelled by people who see colours."""
    method = BIOMEDICA(clusters=8, sample=50)
    looks = method.plan(KIT, Items(), Run()).looks(count)
    with (tmp_path / "votes.csv").open("w", newline="") as file:
        rows = [(name, Item(int(name[1:-4])).shade) for _, name in looks]
        csv.writer(file).writerows([("filepath", "labels"), *rows])
    if taxonomy:
        (tmp_path / "taxonomy.json").write_text(json.dumps(taxonomy))
        method = replace(method, taxonomy=str(tmp_path / "taxonomy.json"))
    return replace(method, votes=str(tmp_path / "votes.csv"))


def test_every_picture_takes_the_labels_of_its_cluster(tmp_path: Path) -> None:
    method = voted(tmp_path, taxonomy={"Warm": ["red", "yellow"], "Cold": ["green", "blue"]})
    plan = method.plan(KIT, Items(), Run())
    verdicts = list(method.apply(KIT, plan, Items(), Run()))
    for v in verdicts:
        shade = Item(v.position).shade
        if v.position not in (9, 12):
            assert v.labels == ("Warm" if shade in ("red", "yellow") else "Cold", shade)
    # the oracle of the filters: broken, small, without caption
    assert [v.position for v in verdicts if not v.keep] == [9, 12, 15]
    assert verdicts[9].reason == "truncated"
    assert math.isnan(verdicts[9].score)
    assert (verdicts[12].reason, verdicts[12].score, verdicts[12].labels) == ("", 0.0, ())
    assert list(method.apply(KIT, plan, Items().seek(30), Run())) == verdicts[30:]


def test_wanted_and_unwanted_labels(tmp_path: Path) -> None:
    method = voted(tmp_path)
    plan = method.plan(KIT, Items(), Run())
    usable = set(range(80)) - {9, 12, 15}

    def kept(**settings: tuple[str, ...]) -> set[int]:
        chosen = replace(method, **settings)  # type: ignore[arg-type]
        return {v.position for v in chosen.apply(KIT, plan, Items(), Run()) if v.keep}

    assert kept(only=("red", "blue")) == {i for i in usable if Item(i).shade in ("red", "blue")}
    assert kept(drop=("yellow",)) == {i for i in usable if Item(i).shade != "yellow"}
    assert kept(only=("red",), drop=("red",)) == set()


def test_frequent_labels_are_thinned_to_about_the_number(tmp_path: Path) -> None:
    method = replace(voted(tmp_path), most=20)
    plan = method.plan(KIT, Items(), Run())
    counts = {"yellow": [], "red": []}  # type: dict[str, list[int]]
    for seed in range(20):
        kept = [Item(v.position).shade for v in method.apply(KIT, plan, Items(), Run(seed=seed)) if v.keep]
        for shade in counts:
            counts[shade].append(kept.count(shade))
    assert 17 < np.mean(counts["yellow"]) < 23  # of 47
    assert set(counts["red"]) == {10}
    assert keep_probability([40, 10], 20) == 1.0
    assert keep_probability([40, 80], 20) == 0.5
    assert keep_probability([1e9], math.inf) == 1.0


def test_without_votes_filters_alone_decide() -> None:
    method = BIOMEDICA(clusters=8, sample=50)
    plan = method.plan(KIT, Items(), Run())
    verdicts = list(method.apply(KIT, plan, Items(), Run()))
    assert [v.position for v in verdicts if not v.keep] == [9, 12, 15]
    assert {v.labels for v in verdicts} == {()}
    all_sides = replace(method, least_side=0)
    assert [v.position for v in all_sides.apply(KIT, plan, Items(), Run()) if not v.keep] == [9, 15]


def test_plans_of_shards_merge_to_the_same_verdicts(tmp_path: Path) -> None:
    method = voted(tmp_path)
    whole = method.plan(KIT, Items(), Run())
    merged = method.plan(KIT, Items().seek(31), Run()).merge(method.plan(KIT, Items(31), Run()))
    merged.write(tmp_path / "plan")
    again = method.read_plan(tmp_path / "plan")
    first, second = (list(method.apply(KIT, plan, Items(), Run())) for plan in (whole, again))
    assert [(v.position, v.keep, v.labels) for v in first] == [(v.position, v.keep, v.labels) for v in second]


def test_bad_input_is_named(tmp_path: Path) -> None:
    method = voted(tmp_path)
    plan = method.plan(KIT, Items(), Run())
    with pytest.raises(UsageError, match=r"Labels \['plots'\] come from votes"):
        list(BIOMEDICA(drop=("plots",)).apply(KIT, plan, Items(), Run()))
    with pytest.raises(UsageError, match="another system or backbone"):
        list(method.apply(KIT, EntryCounts((), np.zeros(0, np.uint64)), Items(), Run()))
    with pytest.raises(MissingPart):
        method.plan(Kit(), Items(), Run())
    (tmp_path / "pool.txt").write_text("a cat\n")
    with pytest.raises(UsageError, match="texts alone"):
        method.plan(KIT, open_lines(tmp_path / "pool.txt"), Run())
    (tmp_path / "votes.csv").write_text("filepath,labels\nother.png,red\n")
    with pytest.raises(DataError, match=r"votes on other\.png, which the plan has not sampled"):
        list(method.apply(KIT, plan, Items(), Run()))
    refused(BIOMEDICA, {"clusters": 0})
    refused(BIOMEDICA, {"sample": 0})
    refused(BIOMEDICA, {"least_side": -1})
    with pytest.raises(UsageError, match="most must be above 0, not 0"):
        BIOMEDICA(most=0)
