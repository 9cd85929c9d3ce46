from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import Ask, Kit, MissingPart, Run, Text, UnreadableItem, UsageError
from diptych.features.entry_counts import EntryCounts
from diptych.methods.curate.pathgen import PathGen
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.refused import refused

KIT = Kit({"main": ColourBackbone()})
NONE = np.zeros((0, 6), np.float32)


@dataclass(frozen=True)
class Glass:
    path: str
    found: tuple[str, ...] = ()

    def findings(self) -> tuple[str, ...]:
        return self.found


@dataclass(frozen=True)
class Square:
    slide: Glass
    number: int

    @property
    def name(self) -> str:
        return f"{self.slide.path}@{self.number}"

    @property
    def shade(self) -> str:
        return "pink" if self.number == 11 else "blue" if self.number == 7 else "red" if self.number % 2 else "green"

    def image(self) -> Image.Image:
        if self.number == 5:
            raise UnreadableItem(self.name, "damaged tile")
        noise = np.random.default_rng(self.number).integers(-3, 4, (8, 8, 3))
        return Image.fromarray(np.clip(np.array(COLOURS[self.shade]) + noise, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Squares:
    slides: tuple[Glass, ...]
    each: int = 20
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Square]]:
        tiles = [Square(slide, i) for slide in self.slides for i in range(self.each)]
        return iter([*enumerate(tiles)][self.start :])

    def seek(self, position: int) -> Squares:
        return replace(self, start=position)


ONE, TWO = Glass("a.svs", ("something blue",)), Glass("b.svs")


@dataclass
class Agent:
    name: str

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        return [[Text(self.said(ask), self.name, ask.prompt)] for ask in asks]

    def said(self, ask: Ask) -> str:
        if self.name == "judge":
            return "no" if "pink" in ask.prompt else "yes"
        if self.name == "shorten":
            return ask.prompt.split("\n")[-1][:5]
        assert ask.image is not None
        pixel = np.array(ask.image).mean((0, 1))
        return min(COLOURS, key=lambda name: float(np.abs(pixel - COLOURS[name]).sum())) + f" by {self.name}"


def test_a_slide_is_picked_by_attributes_findings_and_clusters(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("something pink\n\n")
    method = PathGen(str(tmp_path / "words.txt"), top=1, sampled=4, limit=1.0)
    plan = method.plan(KIT, Squares((ONE, TWO)), Run())
    assert plan.tiles["a.svs"][:2] == (("a.svs@11", "attribute"), ("a.svs@7", "finding"))
    assert plan.tiles["b.svs"][0] == ("b.svs@11", "attribute")
    assert {why for _, why in plan.tiles["b.svs"]} == {"attribute", "cluster"}
    assert (plan.seen, plan.broken, plan.unread[0]) == (40, 2, ("a.svs@5", "damaged tile"))
    parts = [method.plan(KIT, Squares((slide,)), Run()) for slide in (TWO, ONE)]
    assert parts[0].merge(parts[1]).tiles == plan.tiles
    plan.write(tmp_path / "plan")
    assert method.read_plan(tmp_path / "plan") == plan


def test_agents_write_what_is_kept_and_all_they_wrote_is_told(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("something pink\nsomething blue\n")
    method = PathGen(str(tmp_path / "words.txt"), top=2, sampled=0, limit=1.0, words=9)
    stream = Squares((TWO,))
    plan = method.plan(KIT, stream, Run())
    kit = Kit({**KIT.parts, **{name: Agent(name) for name in ("describe", "revise", "judge", "shorten")}})
    verdicts = list(method.apply(kit, plan, stream, Run()))
    assert [v.position for v in verdicts] == list(range(20))
    (blue,) = [v for v in verdicts if v.keep]
    assert (blue.position, blue.score, blue.labels) == (7, 1.0, ("attribute",))
    assert [t.value for t in blue.texts] == ["blue ", "blue by revise", "blue by describe"]
    assert [t.writer for t in blue.texts] == ["shorten", "revise", "describe"]
    assert "at most 9 words" in blue.texts[0].prompt
    assert (verdicts[11].keep, verdicts[11].score, verdicts[11].reason) == (False, 0.0, "")  # the judge said no
    assert list(method.apply(kit, plan, stream.seek(6), Run())) == verdicts[6:]


def test_a_picked_tile_that_breaks_later_is_dropped_with_its_reason() -> None:
    method = PathGen(top=0, sampled=3)
    plan = method.plan(KIT, Squares((TWO,)), Run())
    spoiled = replace(plan, tiles={"b.svs": (("b.svs@5", "cluster"),)})
    kit = Kit({**KIT.parts, "describe": Agent("describe")})
    verdict = list(method.apply(kit, spoiled, Squares((TWO,)), Run()))[5]
    assert (verdict.keep, verdict.reason) == (False, "damaged tile")


def test_bad_input_is_named(tmp_path: Path) -> None:
    method = PathGen()
    plan = method.plan(KIT, Squares((TWO,), each=2), Run())
    with pytest.raises(MissingPart, match="Writer named 'describe'"):
        list(method.apply(KIT, plan, Squares((TWO,)), Run()))
    with pytest.raises(UsageError, match="another system"):
        list(
            method.apply(
                Kit({"describe": Agent("describe")}), EntryCounts((), np.zeros(0, np.uint64)), Squares((TWO,)), Run()
            )
        )
    with pytest.raises(UsageError, match="tiles of slides"):
        method.plan(KIT, [(0, "a text")], Run())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="There is no file absent with attributes"):
        PathGen("absent").plan(KIT, Squares((TWO,)), Run())
    refused(PathGen, {"top": -1})
    refused(PathGen, {"limit": 1.5})
    refused(PathGen, {"words": 0})
