from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from diptych.data.edits import read_edits
from tests.support.colours import coloured


def test_edits_of_a_file_or_an_open_table_are_ranked_with_their_pictures(tmp_path: Path) -> None:
    for name in ("red", "blue", "green"):
        coloured(tmp_path / f"{name}.png", name, 1)
    head = "source,edit,target,source_attributes,target_attributes"
    rows = [f"red.png,{name}.png,a blue wall,a red wall,a blue wall" for name in ("blue", "green")]
    Path("edits.csv").write_text("\n".join([head, *rows]))
    ranked = diptych.audit.edits("edits.csv", settings={"c": 10.0})
    assert [row.rank for row in ranked] == [1, 2]
    assert Path(ranked.paths[0]).name == "blue.png"
    assert ranked.picture is not None
    assert ranked.picture(0) is not None
    assert list(ranked.to_pandas())[:5] == ["path", "source", "target", "rank", "score"]
    assert diptych.audit.edits(read_edits("edits.csv"), settings={"c": 10.0})[0].score == ranked[0].score
    with pytest.raises(UsageError, match="margin= must be at least 0, got -1"):
        diptych.audit.edits("edits.csv", margin=-1)
