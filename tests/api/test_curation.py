from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.api.curation import CuratedPairs, Written


def written(kind: Any, path: Path | None, data: dict[str, Any]) -> Any:
    answer: Any = SimpleNamespace(cells=lambda: [(k, str(v)) for k, v in data.items()], unnamed=0, path=path)
    results: Any = SimpleNamespace(data=data, failed=(), remarks=("A remark.",))
    return kind(answer, results) if kind is CuratedPairs else kind(path, answer, results)


def test_what_was_written_prints_its_facts() -> None:
    plan = written(Written, Path("plan"), {"pairs": 3, "best 30 percent": 0.5})
    assert repr(plan).splitlines() == ["Written in plan", "pairs            3", "best 30 percent  0.5", "A remark."]
    assert plan.as_dict() == {"pairs": 3, "best 30 percent": 0.5}


def test_other_names_lead_to_ours() -> None:
    with pytest.raises(AttributeError, match="use data"):
        _ = written(Written, None, {}).report
    with pytest.raises(AttributeError, match="it has as_dict"):
        _ = written(Written, None, {}).colour


def test_nothing_kept_is_an_empty_table(tmp_path: Path) -> None:
    kept = written(CuratedPairs, tmp_path, {"seen": 3, "kept": 0, "broken": 0})
    assert (len(kept), len(kept.to_pandas())) == (0, 0)
