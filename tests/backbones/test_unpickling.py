"""Torch files that are read in a process of their own: equal to reading them here, and harmless."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones import unpickling, unpickling_child
from diptych.backbones.unpickling import allowance, read_apart
from diptych.core import DataError, UsageError

RUN_CHILD = unpickling.run_child
"""As it is outside of tests, which read torch files in their own process."""


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickling, "run_child", RUN_CHILD)


@pytest.mark.parametrize("archive", [True, False])
def test_what_is_read_equals_what_torch_reads(tmp_path: Path, archive: bool) -> None:
    weight, rows = torch.nn.Parameter(torch.randn(4, 3)), torch.arange(12.0).reshape(3, 4)
    state = {
        "a": weight, "tied": weight, "part": rows[1:], "turned": rows.T, "half": rows.bfloat16(),
        "count": torch.tensor(3), "none": torch.empty(0, 3), "mask": rows > 4,
    }  # fmt: skip
    content = {"model": state, "epoch": 3, "rates": [1e-3, float("inf")], ("x", 1): (None, "word", True)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    here: Any = torch.load(tmp_path / "a.pt", map_location="cpu", weights_only=True)
    apart = read_apart(tmp_path / "a.pt", "leave it.")
    assert list(apart) == list(here)
    assert list(apart["model"]) == list(here["model"])
    for name, tensor in here["model"].items():
        assert apart["model"][name].dtype == tensor.dtype
        assert torch.equal(apart["model"][name], tensor)
    assert {k: v for k, v in apart.items() if k != "model"} == {k: v for k, v in here.items() if k != "model"}


class Command:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_file_that_runs_code_is_refused_and_does_not(tmp_path: Path) -> None:
    torch.save({"model": Command(tmp_path / "ran")}, tmp_path / "a.pt")
    of_children = os.times().children_user
    with pytest.raises(UsageError, match=r"a.pt holds more than tensors, which can run code: leave it\."):
        read_apart(tmp_path / "a.pt", "leave it.")
    assert os.times().children_user > of_children  # seconds: another process has read it
    assert not (tmp_path / "ran").exists()


def test_a_file_that_claims_more_than_it_holds_ends_in_a_sentence(tmp_path: Path) -> None:
    torch.save({"model": torch.zeros(1).expand(4 * 10**8)}, tmp_path / "a.pt")
    size = (tmp_path / "a.pt").stat().st_size
    assert allowance(tmp_path / "a.pt") == 3 * size + 512 * 2**20
    with pytest.raises(
        DataError, match=rf"has {size:,} bytes and claims tensors that do not fit in [\d,]+ bytes of mem"
    ):
        read_apart(tmp_path / "a.pt", "leave it.")


def test_damaged_files_and_plain_values_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": torch.ones(3)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((DataError, UsageError), match=r"a\.pt"):
        read_apart(path, "leave it.")
    path.write_bytes(whole)
    monkeypatch.setattr(unpickling, "LARGEST", 1)
    with pytest.raises(DataError, match="more than 1 bytes beside its tensors"):
        read_apart(path, "leave it.")


@pytest.mark.parametrize(
    ("code", "says"), [(-9, "do not fit in"), (unpickling_child.DAMAGED, "no readable"), (0, "no readable")]
)
def test_a_process_that_ends_badly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"")
    monkeypatch.setattr(unpickling.subprocess, "run", lambda *a, **b: subprocess.CompletedProcess(a, code))
    with pytest.raises(DataError, match=says):
        read_apart(path, "leave it.")
