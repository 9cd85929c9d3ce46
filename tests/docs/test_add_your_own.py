"""The page "add your own system" is run as it stands."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "add-your-own-system.md"
BLOCKS = dict(
    re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_block_goes_unread() -> None:
    assert set(BLOCKS) == {"class_mean.py", "class_mean.toml", "test_class_mean.py", "try_it.py", "pyproject.toml"}
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * len(BLOCKS)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the folder's modules in this process, which has the libraries that a new one would import for 5 s."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield
    for block in BLOCKS:
        sys.modules.pop(Path(block).stem, None)


@pytest.mark.usefixtures("here")
def test_its_tests_pass(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:zarr", "-c", "/dev/null", "--rootdir=.", "test_class_mean.py"]
    code = pytest.main(words)
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "4 passed" in shown


@pytest.mark.usefixtures("here")
def test_its_measurement_prints_a_gain_with_an_interval(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a smaller model and two draws, which is all that changes."""
    text = BLOCKS["try_it.py"]
    for said, short in (('load("lite")', 'load("tiny")'), ("range(5)", "range(2)")):
        assert said in text
        text = text.replace(said, short)
    (folder / "try_it.py").write_text(text, encoding="utf-8")
    runpy.run_path("try_it.py")
    first, *others = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"class-mean \d+\.\d %", first)
    for slug, line in zip(("zero-shot", "linear-probe"), others, strict=True):
        assert re.fullmatch(rf"over {slug}: [+-]\d+\.\d points, 95 % interval [+-]\d+\.\d to [+-]\d+\.\d", line)


def test_its_entry_point_names_the_system(folder: Path) -> None:
    file = tomllib.loads(BLOCKS["pyproject.toml"])
    assert {"name", "version"} <= set(file["project"])  # without them pip installs nothing
    packed = file["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert set(packed) == {"class_mean.py", "class_mean.toml"}
    points = file["project"]["entry-points"]["diptych.methods"]
    code = (
        "from importlib.metadata import EntryPoint; from diptych import catalog;"
        "from diptych.core import entry_points as e;"
        f"e.entry_points = lambda group: [EntryPoint(n, v, group) for n, v in {points!r}.items()];"
        "print(catalog.find('class-mean').card.name, 'class-mean' in catalog.slugs(), len(catalog.cards()) == "
        "len(catalog.slugs()))"
    )
    assert run(folder, "-c", code) == "class mean True True\n"
