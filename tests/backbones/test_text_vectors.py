"""Vectors of texts: the same from memory and from the file, in a worker too, and nothing stays on the disk."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from diptych.backbones.text_vectors import TextVectors

TEXTS = [f"text {i}" for i in range(20)]
VECTORS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def filled(kept: int) -> TextVectors:
    vectors = TextVectors(5, most=kept * 20)
    for first in (0, 7, 14):
        vectors.add(TEXTS[first : first + 7], VECTORS[first : first + 7])
    return vectors


@pytest.mark.parametrize("kept", [0, 3, 9, 20])
def test_vectors_are_those_that_were_added(kept: int, folder: Path) -> None:
    vectors = filled(kept)
    order = [19, 0, 8, 8, 3]
    assert torch.equal(vectors.take([TEXTS[i] for i in order]), VECTORS[order])
    assert len(vectors) == 20
    assert "text 5" in vectors
    assert "another" not in vectors
    files = list(folder.rglob("vectors"))
    assert [f.stat().st_size for f in files] == ([20 * (20 - kept)] if kept < 20 else [])
    with pytest.raises(KeyError, match="another"):
        vectors.take(["another"])


def test_the_file_goes_with_the_object_and_a_copy_keeps_it(folder: Path) -> None:
    vectors = filled(0)
    again = copy.deepcopy([vectors])[0]
    del vectors
    gc.collect()
    assert torch.equal(again.take(TEXTS), VECTORS)
    del again
    gc.collect()
    assert list(folder.iterdir()) == []


def _added(vectors: TextVectors) -> None:
    vectors.add(["a worker's"], 7 * torch.ones(1, 5))
    assert vectors.take(["a worker's", TEXTS[4]])[:, 0].tolist() == [7, VECTORS[4, 0].item()]
    sys.exit(3)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_worker_reads_and_does_not_write_the_file(folder: Path) -> None:
    vectors = filled(0)
    worker = multiprocessing.get_context("fork").Process(target=_added, args=(vectors,))
    worker.start()
    worker.join()
    assert worker.exitcode == 3
    vectors.add(["mine"], 2 * torch.ones(1, 5))
    assert vectors.take(["mine", TEXTS[0]])[:, 0].tolist() == [2, VECTORS[0, 0].item()]
