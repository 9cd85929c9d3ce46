"""``board few-shot`` on the command line: texts reach every part, and what is missing is said once a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.colours import colour_pool

Cli = Callable[..., Any]


def test_texts_reach_every_part(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(colour_pool()))
    words = (
        "board",
        "few-shot",
        colours,
        "--methods",
        "zero-shot,description",
        "--shots",
        "1",
        "--seeds",
        "1",
        "--out",
        "out",
    )
    got = diptych(*words)
    assert got.code == 0
    label = "classification by description"
    assert f"{label}, base; {label}, new" in got.out.replace("\n", " "), "one line for one reason"
    got = diptych(*words, "--texts", path, "--json")
    assert got.code == 0
    assert label in got.data["harmonic"]
    assert got.data["missing"] == {}
    assert got.data["board"]["texts"]["source"] == str(path)
    assert diptych(*words, "--texts", "absent.json").code == 2
