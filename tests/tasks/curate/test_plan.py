from __future__ import annotations

import csv
import gc
import io
import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from diptych.core import Clustered, DataError, Kit, Plan, Run, Stream, UnreadableItem, UsageError, Verdict
from diptych.data.load import open_stream
from diptych.features.score_counts import ScoreCounts
from diptych.methods.curate.biomedica import BIOMEDICA
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.methods.finetune.wise_ft import interpolated
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.tasks.curate.plan import Curated, Kept, apply_plan, read_plan
from diptych.tasks.curate.stream import readable
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.schedule import Fit
from tests.support.colours import ColourBackbone, coloured
from tests.support.small_clip import small_clip


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "entries.txt").write_text("cat\ndog\naxolotl")
    texts = [("an axolotl" if i % 50 == 0 else "a cat" if i % 3 else "IMG") + f" {i}" for i in range(1000)]
    (tmp_path / "pool.txt").write_text("\n".join(texts))
    return tmp_path / "pool.txt"


def curator(pool: Path) -> MetaCLIP:
    return MetaCLIP(str(pool.parent / "entries.txt"), t=100)


def kept(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


class Killed(MetaCLIP):
    """Stops in the middle of a pass."""

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        for n, verdict in enumerate(super().apply(kit, plan, stream, run)):
            if n == 750:
                raise KeyboardInterrupt
            yield verdict


def test_a_plan_of_another_curator_is_named_with_what_to_give(pool: Path, tmp_path: Path) -> None:
    own, path = curator(pool), tmp_path / "plan"
    with pytest.raises(DataError, match=r"There is no plan of metaclip at .*plan: write one by the step plan"):
        read_plan(own, path)
    plan = own.plan(Kit(), open_stream(str(pool)), Run())
    plan.write(path)
    assert read_plan(own, path).report() == plan.report()
    with pytest.raises(UsageError) as refused:
        read_plan(CLIPScoreFilter(), path)
    assert refused.value.spelled(lambda name: f"--{name}").endswith(
        "is a plan of metaclip, and not of clip-score: give --method metaclip, or write a plan of clip-score."
    )
    ScoreCounts.of("b", [0.5], system="vector-head").write(path)
    with pytest.raises(UsageError, match="and not of biomedica: write a plan of biomedica"):
        read_plan(BIOMEDICA(), path, Clustered)
    with pytest.raises(UsageError, match="is a plan of vector-head, and not of metaclip"):
        read_plan(own, path)
    path.write_bytes(b"PAR1 of nobody")
    with pytest.raises(DataError, match="plan is no plan of metaclip, or is damaged: write one by the step plan"):
        read_plan(own, path)


def test_a_killed_run_goes_on_and_ends_with_the_same_rows(pool: Path, tmp_path: Path) -> None:
    own, stream = curator(pool), open_stream(str(pool))
    plan = own.plan(Kit(), stream, Run())
    applied = apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "whole", about={"t": 100}, part=200)
    assert applied.seen == 1000
    assert applied.kept == len(kept(tmp_path / "whole"))
    assert 80 < applied.kept < 160
    assert {r["title"].split()[0] for r in kept(tmp_path / "whole")} == {"a", "an"}
    with pytest.raises(KeyboardInterrupt):
        apply_plan(
            Killed(own.metadata, own.t), Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, part=200
        )
    assert json.loads((tmp_path / "cut" / "curate.json").read_text())["done"]["seen"] == 600
    again = apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, part=200, resume=True)
    assert again == applied
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    assert apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, resume=True) == applied


def tar(path: Path, members: Mapping[str, bytes], end: int | None = None) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue()[:end])


@pytest.fixture
def broken_tars(tmp_path: Path) -> str:
    """Twelve items that can be read, and four troubles: no text, no UTF-8, a name that leads outside, and a tar that is
    cut.
    """
    cats = {f"{i}.{end}": text for i in range(4) for end, text in (("jpg", b"x"), ("txt", f"a cat {i}".encode()))}
    tar(tmp_path / "tars" / "0.tar", {"x.jpg": b"x", **cats, "y.txt": b"\xff", "../z.txt": b"a cat"})
    tar(tmp_path / "tars" / "1.tar", {**cats, "late.txt": b"a cat" * 2000}, end=10_000)
    tar(tmp_path / "tars" / "2.tar", cats)
    return str(tmp_path / "tars" / "{0..2}.tar")


TROUBLES = [
    "0.tar!x: has no .txt, only jpg",
    "0.tar!y.txt: is not UTF-8 text",
    "0.tar!../z.txt: its name leads outside the tar",
]


def named(found: Curated) -> list[str]:
    return [
        f"{Path(s['path'].partition('!')[0]).name}{s['path'][len(s['path'].partition('!')[0]) :]}: {s['reason']}"
        for s in found.skipped
    ]


@pytest.mark.parametrize("part", [1, 3, 100])
def test_what_cannot_be_read_is_dropped_with_its_reason_and_the_rest_goes_on(
    pool: Path, broken_tars: str, tmp_path: Path, part: int
) -> None:
    own, stream = replace(curator(pool), t=math.inf), open_stream(broken_tars)
    plan: Any = own.plan(Kit(), readable(stream), Run())
    assert (plan.texts, plan.matched) == (12, 12)
    applied = apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "whole", about={}, part=part)
    assert (applied.seen, applied.kept, applied.broken) == (16, 12, 4)
    assert named(applied)[:3] == TROUBLES
    assert named(applied)[3].startswith("1.tar: damaged or truncated tar")
    assert [Path(r["filepath"]).name for r in kept(tmp_path / "whole")] == [
        f"{t}.tar!{i}" for t in range(3) for i in range(4)
    ]
    listed = (tmp_path / "whole" / "skipped.csv").read_text()
    assert [tuple(row) for row in csv.reader(listed.splitlines())] == [
        ("path", "reason"), *((each["path"], each["reason"]) for each in applied.skipped)
    ]  # fmt: skip
    for at in (2, 6, 9):  # killed at any verdict, also beside a broken item
        out = tmp_path / f"cut-{at}"
        with pytest.raises(KeyboardInterrupt):
            apply_plan(KilledAt(own.metadata, own.t, at=at), Kit(), plan, stream, Run(), out, about={}, part=part)
        assert apply_plan(own, Kit(), plan, stream, Run(), out, about={}, part=part, resume=True) == applied
        assert kept(out) == kept(tmp_path / "whole")
        assert (out / "skipped.csv").read_text() == listed


@dataclass(frozen=True)
class KilledAt(MetaCLIP):
    """Stops before a verdict."""

    at: int = 0

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        for n, verdict in enumerate(super().apply(kit, plan, stream, run)):
            if n == self.at:
                raise KeyboardInterrupt
            yield verdict


def test_a_tar_that_is_away_is_an_error_and_the_pass_goes_on_once_it_is_back(
    pool: Path, broken_tars: str, tmp_path: Path
) -> None:
    own, stream = curator(pool), open_stream(broken_tars)
    plan = own.plan(Kit(), readable(stream), Run())
    away = (tmp_path / "tars" / "2.tar").rename(tmp_path / "away.tar")
    with pytest.raises(DataError, match=r"2\.tar cannot be read \(No such file or directory\): restore it"):
        apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "out", about={}, part=2)
    away.rename(tmp_path / "tars" / "2.tar")
    applied = apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "out", about={}, part=2, resume=True)
    assert (applied.seen, applied.kept, applied.broken) == (16, 12, 4)


def test_rows_of_a_table_without_path_are_dropped(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("filepath,title\n,a cat\na.png,a cat\n../b.png,a cat\nc.png,a dog\n,a dog\n")
    own, stream = curator(pool), open_stream(str(tmp_path / "t.csv"))
    plan = own.plan(Kit(), readable(stream), Run())
    applied = apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "out", about={})
    assert (applied.seen, applied.kept, applied.broken) == (5, 2, 3)
    assert [s["path"].split(" of ")[0] for s in applied.skipped] == ["Row 1", "Row 3", "Row 5"]
    assert [r["position"] for r in kept(tmp_path / "out")] == [1, 3]


def test_a_result_of_an_older_version_goes_on(pool: Path, tmp_path: Path) -> None:
    own, stream = curator(pool), open_stream(str(pool))
    plan = own.plan(Kit(), stream, Run())
    applied = apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={})
    state = tmp_path / "o" / "curate.json"
    written = json.loads(state.read_text())
    assert written["done"].pop("skipped") == []
    state.write_text(json.dumps(written))
    assert apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={}, resume=True) == applied


class Heavy:
    """An item that counts how many of its kind are in memory."""

    alive = most = 0

    def __init__(self, number: int, broken: bool) -> None:
        self.name, self.broken = str(number), broken
        Heavy.alive += 1
        Heavy.most = max(Heavy.most, Heavy.alive)

    def __del__(self) -> None:
        Heavy.alive -= 1

    def text(self) -> str:
        if self.broken:
            try:
                raise KeyError
            except KeyError:
                raise UnreadableItem(self.name, "has no text") from None
        return self.name


@dataclass(frozen=True)
class HeavyItems:
    broken: int
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Heavy]]:
        return ((i, Heavy(i, i % 7 < self.broken)) for i in range(self.start, 3000))

    def seek(self, position: int) -> HeavyItems:
        return replace(self, start=position)


class KeepsAll(MetaCLIP):
    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        return (Verdict(position, True, 1.0) for position, _ in stream)


@pytest.mark.parametrize("broken", [0, 1])
def test_items_are_dropped_once_their_row_is_made(pool: Path, tmp_path: Path, broken: int) -> None:
    own, plan = KeepsAll(curator(pool).metadata), curator(pool).plan(Kit(), open_stream(str(pool)), Run())
    gc.collect()
    gc.disable()
    try:
        Heavy.most = Heavy.alive
        applied = apply_plan(own, Kit(), plan, HeavyItems(broken), Run(), tmp_path / "o", about={}, part=1000)
    finally:
        gc.enable()
    assert Heavy.most < 100  # tee lets go of 57 at a time
    assert (applied.seen, applied.kept, applied.broken, len(applied.skipped)) == (
        (3000, 2571, 429, 10) if broken else (3000, 3000, 0, 0)
    )
    assert [r["filepath"] for r in kept(tmp_path / "o")][:2] == [str(broken), str(broken + 1)]


def test_a_result_is_not_written_over(pool: Path, tmp_path: Path) -> None:
    own, stream = curator(pool), open_stream(str(pool))
    plan = own.plan(Kit(), stream, Run())
    apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100})
    with pytest.raises(UsageError, match="resume"):
        apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100})
    state = tmp_path / "o" / "curate.json"
    asked = json.loads(state.read_text())["asked"]
    state.write_text(json.dumps({"asked": asked, "done": {"seen": 3}}))
    with pytest.raises(DataError, match="how far"):
        apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100}, resume=True)
    with pytest.raises(UsageError, match="something else"):
        apply_plan(own, Kit(), plan, stream, Run(seed=2), tmp_path / "o", about={"t": 100}, resume=True)


def test_sources_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        open_stream(str(tmp_path / "a.xml"))
    with pytest.raises(UsageError, match="no table"):
        open_stream(str(tmp_path / "a.csv"))


def test_a_training_streams_what_a_curator_keeps(tmp_path: Path) -> None:
    """Articles -> labels and balance on the fly -> training by stream -> weights between before and after."""
    figures = ""
    for i in range(40):
        coloured(tmp_path / f"f{i}.png", "red" if i % 4 else "blue", i, 10.0)
        figures += (
            f'<fig><caption><p>a {"red" if i % 4 else "blue"} thing</p></caption><graphic xlink:href="f{i}"/></fig>'
        )
    (tmp_path / "a.nxml").write_text(
        f'<article xmlns:xlink="http://www.w3.org/1999/xlink"><body>{figures}</body></article>'
    )
    stream, run = open_stream(str(tmp_path)), Run(workers=0)
    kit = Kit({"main": ColourBackbone()})
    names = [str(tmp_path / f"f{i}.png") for i in range(40)]
    (tmp_path / "votes.csv").write_text(
        "filepath,labels\n" + "".join(f"{n},{'red' if i % 4 else 'blue'}\n" for i, n in enumerate(names))
    )
    curator = BIOMEDICA(str(tmp_path / "votes.csv"), most=10, clusters=8, least_side=0)
    kept = Kept(curator, kit, curator.plan(kit, stream, run), stream, run)
    said = [item.text() for _, item in kept]
    assert said.count("a blue thing") == 10
    assert 4 <= said.count("a red thing") <= 17  # of 30, about 10
    positions = [position for position, _ in kept]
    assert [position for position, _ in kept.seek(positions[5])] == positions[5:]

    backbone = small_clip(tmp_path / "clip")
    trainee = PairTrainee(backbone, CLIPLoss(), run)
    train(trainee, kept, Fit(lr=1e-3, batch=5, steps=4), run)
    before, after = backbone.module().state_dict(), trainee.trained().module().state_dict()
    moved = [n for n, t in after.items() if t.is_floating_point() and not torch.equal(t, before[n])]
    between = interpolated(before, after, 0.5)
    assert moved
    assert all(torch.allclose(between[n], (before[n] + after[n]) / 2) for n in moved)
