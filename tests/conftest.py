from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from diptych.backbones import unpickling, unpickling_child
from diptych.core import Run
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.words.pools import Pool, read_pool
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.plan import Plan
from tests.support.colours import ColourBackbone, colour_folder, colour_pool

# Hypothesis fails a test whose examples take more than 0.2 s, which says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed every generator by the test's name, before its fixtures: a test sees the same draws alone, in another order
    and in CI.
    """
    seed = zlib.crc32(item.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


@pytest.fixture(scope="session", autouse=True)
def short_search() -> Iterator[None]:
    """Judge a sparsity of DN-CBM after 2 epochs instead of 20: that search was two thirds of a board of all systems."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diptych.methods.classify.dn_cbm.TRIED", 2)
        yield


@pytest.fixture(scope="session", autouse=True)
def torch_files_are_read_here() -> Iterator[None]:
    """Read torch files in this process: one of its own imports torch first, 2 s a file. The tests of
    ``backbones.unpickling`` do run it.
    """

    def read(path: Path, folder: Path, bound: int) -> int:
        return unpickling_child.read(path, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpickling, "run_child", read)
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the development data sets."""
    folder = os.environ.get("DIPTYCH_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the development data sets: set DIPTYCH_DATA to their folder")
    return Path(folder)


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
def finished(
    data: LabelledData, pool: Pool, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Board, Path]:
    """A whole board, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("out")
    plan = Plan(shots=(1, 4), seeds=(1, 2))
    return board(
        data,
        ColourBackbone(),
        Run(out=out),
        plan,
        texts=pool,
        source=str(colours),
        command="diptych board classify colours",
    ), out
