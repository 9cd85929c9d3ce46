from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.colours import ColourBackbone, colour_folder, colour_pool

from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.pools import Pool, read_pool
from diptych.tasks.board import Board, board
from diptych.tasks.plan import Plan


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five colours with 8 train and 10 test pictures each."""
    return colour_folder(tmp_path_factory.mktemp("colours") / "colours", {"train": 8, "test": 10})


@pytest.fixture(scope="session")
def data(colours: Path) -> LabelledData:
    return open_data(colours)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Descriptions of the five colours, and of their pairs."""
    path = tmp_path_factory.mktemp("pool") / "colours.json"
    path.write_text(json.dumps(colour_pool()))
    return read_pool(path)


@pytest.fixture(scope="session")
def finished(data: LabelledData, pool: Pool, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path]:
    """A whole board, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("out")
    plan = Plan(shots=(1, 4), seeds=(1, 2))
    return board(data, ColourBackbone(), Run(out=out), plan, texts=pool, source=str(colours), command="diptych board classify colours"), out
