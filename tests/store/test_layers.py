from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.core import Run, Subset, UsageError
from diptych.features.embed import embed
from diptych.store.layers import Layered, Unstored, shared_vectors
from diptych.store.store import Store
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures(tuple(picture(k % 3, k) for k in range(10)))
ENCODER = SmallBackbone().image


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*"))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    embed(ENCODER, Subset(PHOTOS, tuple(range(6))), Run(cache=tmp_path / "shared"))
    return tmp_path / "shared"


@pytest.mark.parametrize("stored", [True, False])
def test_the_shared_cache_answers_first_and_is_never_written(stored: bool, shared: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" if stored else None
    before = listing(shared)
    run = Run(cache=own, shared_cache=shared)
    values = embed(ENCODER, PHOTOS, run)
    assert (run.tally["cached"], run.tally["encoded"]) == (6, 4)
    assert torch.allclose(values, embed(ENCODER, PHOTOS, Run()), atol=1e-5)
    assert listing(shared) == before
    again = Run(cache=own, shared_cache=shared)
    assert torch.equal(embed(ENCODER, PHOTOS, again), values) or not stored
    assert again.tally["encoded"] == (0 if stored else 4)
    if own is not None:
        alone = Run(cache=own)
        embed(ENCODER, PHOTOS, alone)
        assert alone.tally["encoded"] == 6, "the own cache holds only what the shared one lacks"


def test_it_is_read_before_the_own_cache(shared: Path, tmp_path: Path) -> None:
    """Other batch mates, other last bits: a stand-in encoder makes the difference plain."""

    class Shifted:
        modality, dim, size, fingerprint = ENCODER.modality, ENCODER.dim, ENCODER.size, ENCODER.fingerprint
        inputs = staticmethod(ENCODER.inputs)

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return ENCODER.encode(x) + 100

    run = Run(cache=tmp_path / "own")
    embed(Shifted(), PHOTOS, run)  # type: ignore[arg-type]
    values = embed(ENCODER, PHOTOS, replace(run, shared_cache=shared))
    assert (values[:6] < 50).all()
    assert (values[6:] > 50).all()


def test_damage_in_the_shared_cache_is_made_up_for_in_the_own(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    array = next(shared.rglob("*.npy"))
    array.write_bytes(array.read_bytes()[:-9])
    before = listing(shared)
    run = Run(cache=tmp_path / "own", shared_cache=shared)
    embed(ENCODER, PHOTOS, run)
    assert run.tally["encoded"] == 10
    assert listing(shared) == before
    assert array.name in caplog.text


def test_a_shared_cache_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no embedding cache at"):
        embed(ENCODER, PHOTOS, Run(shared_cache=tmp_path / "absent"))


def test_what_many_calls_share_is_a_store_and_never_memory(shared: Path, tmp_path: Path) -> None:
    assert isinstance(shared_vectors(Run(cache=tmp_path / "own")), Store)
    both = shared_vectors(Run(cache=tmp_path / "own", shared_cache=shared))
    assert isinstance(both, Layered)
    assert not isinstance(both._writable, Unstored)
    assert shared_vectors(Run()) is None
    assert shared_vectors(Run(shared_cache=shared)) is None
    before = embed(ENCODER, Subset(PHOTOS, (0, 1)), Run(cache=tmp_path / "own"), vectors=both)
    run = Run(cache=tmp_path / "own", shared_cache=shared)
    assert torch.equal(embed(ENCODER, Subset(PHOTOS, (0, 1)), run, vectors=both), before)
    assert run.tally["encoded"] == 0
