"""Passes shard by shard: what a killed one did is not done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import Kit, Run, Stream, UsageError
from diptych.data.load import open_stream
from diptych.features.entry_counts import EntryCounts
from diptych.methods.curate.caption_checks import CaptionChecks
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.curate.shards import cut, plan_in
from diptych.tasks.curate.stream import Skipped
from tests.support.backbone import SmallBackbone
from tests.support.work.cluster import write_tars


class Counted(MetaCLIP):
    """Stops in its third shard."""

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> EntryCounts:
        planned.append(stream)
        if len(planned) == 3:
            raise KeyboardInterrupt
        return super().plan(kit, stream, run)


planned: list[Any] = []


def test_a_killed_plan_goes_on_behind_its_whole_shards(tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("cat\ndog")
    (tmp_path / "pool.txt").write_text("\n".join(f"a {'cat' if i % 3 else 'dog'} {i}" for i in range(1000)))
    stream, run, parts = open_stream(str(tmp_path / "pool.txt")), Run(), tmp_path / "parts"
    shards, own = cut(stream, 2000), Counted(str(tmp_path / "entries.txt"))
    assert len(shards) == 5
    planned.clear()
    with pytest.raises(KeyboardInterrupt), plan_in(parts, own, Kit, shards, run, {"a": 1}):
        pass
    with pytest.raises(UsageError, match="resume"), plan_in(parts, own, Kit, shards, run, {"a": 1}):
        pass
    with (
        pytest.raises(UsageError, match="something else"),
        plan_in(parts, own, Kit, shards, run, {"a": 2}, resume=True),
    ):
        pass
    (parts / "plan-00001.part").write_bytes(b"cut")
    found: Any
    with plan_in(parts, own, Kit, shards, run, {"a": 1}, resume=True) as found:
        assert planned[3:] == shards[1:]
    whole = MetaCLIP(own.metadata).plan(Kit(), stream, run)
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert (found.texts, found.matched) == (whole.texts, whole.matched) == (1000, 1000)
    assert not parts.exists()
    with pytest.raises(UsageError, match="nothing to plan"), plan_in(parts, own, Kit, [], run, {}):
        pass


def test_a_plan_that_was_stopped_in_its_first_shard_blocks_no_other(tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("cat\ndog")
    (tmp_path / "pool.txt").write_text("a cat\na dog")
    shards, parts, own = cut(open_stream(str(tmp_path / "pool.txt")), 2000), tmp_path / "parts", Counted("")
    planned[:] = [None, None]
    with pytest.raises(KeyboardInterrupt), plan_in(parts, own, Kit, shards, Run(), {"a": 1}):
        pass
    assert not parts.exists()
    parts.mkdir()
    (parts / "asked.json").write_text('{"a": 1}')  # of one that was killed
    with plan_in(parts, MetaCLIP(str(tmp_path / "entries.txt")), Kit, shards, Run(), {"a": 2}) as plan:
        assert isinstance(plan, EntryCounts)
        assert plan.texts == 2


def test_what_was_planned_stays_until_the_merged_plan_is_written(tmp_path: Path) -> None:
    texts = [f"text number {i % 40} of many" for i in range(300)]
    (tmp_path / "pool.txt").write_text("\n".join(texts))
    stream, parts, method = open_stream(str(tmp_path / "pool.txt")), tmp_path / "parts", CaptionChecks(long=False)
    shards, kit = cut(stream, 2000), Kit({"main": SmallBackbone()})
    assert len(shards) > 2
    found: Any
    with pytest.raises(KeyboardInterrupt), plan_in(parts, method, lambda: kit, shards, Run(), {}) as found:
        raise KeyboardInterrupt
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("plan-*")}
    with plan_in(parts, method, lambda: kit, shards, Run(), {}, resume=True) as found:
        assert {path: path.stat().st_mtime_ns for path in parts.glob("plan-*")} == kept
        found.write(tmp_path / "plan")
    assert not parts.exists()
    whole, again = method.plan(kit, stream, Run()), method.read_plan(tmp_path / "plan")
    assert again.report() == whole.report() == {"failed": 0, "texts": 300, "repeat_another": 260}
    assert list(method.apply(kit, again, stream, Run())) == list(method.apply(kit, whole, stream, Run()))


def test_a_plan_names_what_it_passes_over_also_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("cat\ndog")
    for number in range(4):
        (tmp_path / f"{number}.csv").write_text(f"filepath,title\na.png,a cat\n,row {number}\nb.png,a dog\n")
    shards, parts, skipped = [open_stream(str(tmp_path / f"{n}.csv")) for n in range(4)], tmp_path / "parts", Skipped()
    own = Counted(str(tmp_path / "entries.txt"))
    planned.clear()
    with pytest.raises(KeyboardInterrupt), plan_in(parts, own, Kit, shards, Run(), {}):
        pass
    found: Any
    listed = tmp_path / "plan.skipped.csv"
    with plan_in(parts, own, Kit, shards, Run(), {}, resume=True, skipped=skipped, listed=listed) as found:
        pass
    assert (found.texts, found.matched, skipped.count) == (8, 8, 4)
    assert listed.read_text().splitlines() == ["path,reason"] + [f"{s['path']},{s['reason']}" for s in skipped.first]
    assert [Path(s["path"].split(" of ")[1]).name for s in skipped.first] == [f"{n}.csv" for n in range(4)]
    assert {s["reason"] for s in skipped.first} == {"has no filepath or no title"}
    assert not parts.exists()


def test_shards_of_tars_hold_each_item_once_at_its_position(tmp_path: Path) -> None:
    stream = open_stream(write_tars(tmp_path, 5, 3))
    whole = [(position, item.name) for position, item in stream]
    assert len(whole) == 15
    for parts in (cut(stream), stream.parts(2), stream.parts(9)):  # type: ignore[attr-defined]
        assert [(position, item.name) for part in parts for position, item in part] == whole
    assert [len(list(part)) for part in stream.parts(2)] == [6, 9]  # type: ignore[attr-defined]
    last = stream.parts(2)[0].seek(whole[4][0])  # type: ignore[attr-defined]
    assert [(position, item.name) for position, item in last] == whole[4:6]
