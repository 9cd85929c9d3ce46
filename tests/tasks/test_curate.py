from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diptych.core.curate import Plan, Verdict
from diptych.core.data import Stream
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.curate import apply_plan, open_stream, plan_shards


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


def test_shards_in_a_pool_plan_as_one(pool: Path) -> None:
    stream = open_stream(str(pool))
    whole = plan_shards(curator(pool), Kit(), [stream], Run())
    with ThreadPoolExecutor(2) as threads:
        parts = plan_shards(curator(pool), Kit(), stream.shards(4), Run(), threads)  # type: ignore[attr-defined]
    assert (parts.counts == whole.counts).all()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="at least one file"):
        plan_shards(curator(pool), Kit(), [], Run())


class Killed(MetaCLIP):
    """Stops in the middle of a pass."""

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        for n, verdict in enumerate(super().apply(kit, plan, stream, run)):
            if n == 750:
                raise KeyboardInterrupt
            yield verdict


def test_a_killed_run_goes_on_and_ends_with_the_same_rows(pool: Path, tmp_path: Path) -> None:
    own, stream = curator(pool), open_stream(str(pool))
    plan = own.plan(Kit(), stream, Run())
    found = apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "whole", about={"t": 100}, part=200)
    assert found.seen == 1000
    assert found.kept == len(kept(tmp_path / "whole"))
    assert 80 < found.kept < 160
    assert {r["title"].split()[0] for r in kept(tmp_path / "whole")} == {"a", "an"}
    with pytest.raises(KeyboardInterrupt):
        apply_plan(Killed(own.metadata, own.t), Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, part=200)
    assert json.loads((tmp_path / "cut" / "curate.json").read_text())["done"]["seen"] == 600
    again = apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, part=200, resume=True)
    assert again == found
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    assert apply_plan(own, Kit(), plan, stream, Run(seed=1), tmp_path / "cut", about={"t": 100}, resume=True) == found


def test_a_result_is_not_written_over(pool: Path, tmp_path: Path) -> None:
    own, stream = curator(pool), open_stream(str(pool))
    plan = own.plan(Kit(), stream, Run())
    apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100})
    with pytest.raises(UsageError, match="--resume"):
        apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100})
    state = tmp_path / "o" / "curate.json"
    asked = json.loads(state.read_text())["asked"]
    state.write_text(json.dumps({"asked": asked, "done": {"seen": 3}}))
    with pytest.raises(DataError, match="how far"):
        apply_plan(own, Kit(), plan, stream, Run(), tmp_path / "o", about={"t": 100}, resume=True)
    with pytest.raises(UsageError, match="something else"):
        apply_plan(own, Kit(), plan, stream, Run(seed=2), tmp_path / "o", about={"t": 100}, resume=True)


def test_sources_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \.txt"):
        open_stream(str(tmp_path / "a.xml"))
    with pytest.raises(UsageError, match="no table"):
        open_stream(str(tmp_path / "a.csv"))
