from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "lowest.py"


@pytest.fixture(scope="module")
def lowest() -> Any:
    spec = importlib.util.spec_from_file_location("lowest", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_pyproject_says(lowest: Any) -> None:
    assert lowest.main(["--check"]) == 0, "run python tools/lowest.py --write"


def test_every_bound_of_every_list_counts_and_the_higher_of_two(lowest: Any) -> None:
    project = {
        "project": {
            "dependencies": ["torch>=2.9", "Open_CLIP.torch>=3", "types-tqdm", "ray[data]>=2.1,<3"],
            "optional-dependencies": {"a": ["torch>=2.10"], "b": ["numpy>=1.26"]},
        },
        "dependency-groups": {"test": ["pytest>=8.2; python_version > '3'", {"include-group": "b"}, "numpy>=1.3"]},
    }
    assert lowest.pins(project) == "numpy==1.26\nopen-clip-torch==3\npytest==8.2\nray==2.1\ntorch==2.10\n"


def test_a_stale_file_is_noticed_and_renewed(
    lowest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lowest, "FILE", tmp_path / "lowest.txt")
    assert lowest.main(["--check"]) == 1
    assert lowest.main(["--write"]) == 0
    assert lowest.main(["--check"]) == 0
    assert lowest.main([]) == 2
    assert "--write" in capsys.readouterr().err
