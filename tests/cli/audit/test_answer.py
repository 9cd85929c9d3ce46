from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from diptych.cli import options
from diptych.cli.audit.answer import listed, tell
from diptych.core import UnreadableItem, UsageError

BROKEN = UnreadableItem("a.png", "empty file")


class Found:
    def as_dict(self) -> dict[str, int]:
        return {"value": 1}


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(out: Path | None, **chosen: bool) -> str:
        report = listed([Found()], [BROKEN], data="photos")
        with pytest.raises(typer.Exit) as ended:
            tell(report, [BROKEN], out, options.RunOptions(**chosen), lambda: print("for people"))  # noqa: T201
        assert ended.value.exit_code == 3
        return capsys.readouterr().out

    return run


def test_people_or_programs_are_told_and_skipped_items_are_the_exit_code(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    report = {"data": "photos", "findings": [{"value": 1}], "skipped": [{"path": "a.png", "reason": "empty file"}]}
    assert printed(None) == "for people\n"
    assert json.loads(printed(tmp_path / "a.json", json=True)) == report
    assert json.loads((tmp_path / "a.json").read_text()) == report
    with pytest.raises(UsageError):
        tell(report, [], tmp_path / "a.json", options.RunOptions(), lambda: None)
