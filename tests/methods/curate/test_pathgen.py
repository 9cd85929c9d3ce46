from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core.data import Text
from diptych.core.errors import MissingPart, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.language import Ask
from diptych.core.run import Run
from diptych.methods.curate.metaclip import EntryCounts
from diptych.methods.curate.pathgen import PathGen, clusters_of, picked, spread
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.refused import refused

KIT = Kit({"main": ColourBackbone()})
NONE = np.zeros((0, 6), np.float32)


def unit(n: int, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


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


def test_tiles_by_words_equal_a_loop() -> None:
    z, attributes, findings = unit(40), unit(5, 1), unit(3, 2)
    chosen = picked(z, attributes, findings, top=4, sampled=0, batch=1, limit=1.0, seed=0)
    by_attribute = sorted(range(40), key=lambda i: -max(100 * float(z[i] @ a) for a in attributes))[:4]
    by_finding = sorted(range(40), key=lambda i: -sum(100 * float(z[i] @ f) for f in findings))[:4]
    assert [i for i, why in chosen if why == "attribute"] == by_attribute
    assert [i for i, why in chosen if why == "finding"] == [i for i in by_finding if i not in by_attribute]
    near = picked(z, attributes, findings, top=40, sampled=0, batch=1, limit=0.5, seed=0)
    vectors = z[[i for i, _ in near]]
    assert (vectors @ vectors.T - np.eye(len(near))).max() <= 0.5 + 1e-6
    left = set(range(40)) - {i for i, _ in near}
    assert all((z[i] @ vectors.T).max() > 0.5 for i in left)  # nothing was left out without a reason


def test_clusters_give_equal_shares() -> None:
    centres = np.eye(6, dtype=np.float32)
    z = np.concatenate([np.repeat(centres[k : k + 1], n, 0) for k, n in enumerate((50, 20, 3))])
    z = z + np.random.default_rng(0).normal(0, 0.01, z.shape).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    k = clusters_of(len(z), batch=15)
    assert k == math.ceil(math.sqrt(1.6 * 73 / 15)) == 3
    chosen = spread(z, 12, 15, seed=0)
    groups = np.bincount([0 if i < 50 else 1 if i < 70 else 2 for i in chosen])
    assert groups.tolist() == [4, 4, 3]  # of a small cluster all
    assert spread(z, 12, 15, seed=0) == chosen
    assert spread(z[:0], 12, 1, 0) == spread(z, 0, 1, 0) == []


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
