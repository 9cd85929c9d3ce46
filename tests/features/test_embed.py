from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from diptych.core import DamagedStore, DataError, Run, Subset, Texts, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.views import ViewRecipe
from diptych.features.embed import embed, embed_arrays, embed_readable, embed_slices, space_facts
from diptych.store.store import Store
from tests.support.encoders import Means, Photos, Words
from tests.support.work import embed as embed_work

TEXTS = Texts(tuple(f"text {i}" for i in range(10)))


@pytest.fixture(params=["store", "no store"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return Run(cache=tmp_path / "cache" if request.param == "store" else None, batch=4)


@pytest.fixture
def stored(tmp_path: Path) -> Run:
    return Run(cache=tmp_path / "cache", batch=4)


def test_is_the_encoder(run: Run) -> None:
    encoder = Words()
    with torch.no_grad():
        expected = torch.cat([encoder.encode(encoder.inputs([t])) for t in TEXTS.values])
    assert torch.equal(embed(encoder, TEXTS, run), expected)


def test_each_key_once(run: Run) -> None:
    encoder, photos = Means(), Photos([10, 20, 10, 30, 20, 10])
    values = embed(encoder, photos, run)
    assert encoder.seen == [3]
    assert sorted(photos.reads) == [0, 1, 3]
    assert torch.allclose(values[:, 0] * 255, torch.tensor([10.0, 20, 10, 30, 20, 10]))
    assert (run.tally["encoded"], run.tally["decoded"], run.tally["cached"]) == (3, 3, 0)


def test_a_second_run_reads_and_encodes_nothing(stored: Run) -> None:
    encoder, photos = Means(), Photos(range(20))
    first = embed(encoder, photos, stored)
    again, fresh = dataclasses.replace(stored, tally=type(stored.tally)()), Photos(range(20))
    assert torch.equal(embed(encoder, fresh, again), first)
    assert fresh.reads == []
    assert dict(again.tally) == {"cached": 20, "failed": 0}


def test_texts_are_cached_by_their_hash(stored: Run) -> None:
    encoder = Words()
    embed(encoder, TEXTS, stored)
    embed(encoder, Texts(("text 3", "new", "text 3")), stored)
    assert sum(encoder.seen) == 11


@pytest.mark.parametrize("change", [{"fingerprint": "99" * 8}, {"modality": "caption"}])
def test_another_encoder_is_another_space(stored: Run, change: dict[str, str]) -> None:
    embed(Words(), TEXTS, stored)
    other = Words(**change)
    embed(other, TEXTS, stored)
    assert sum(other.seen) == 10


def test_precision_is_part_of_the_space_and_reaches_the_tower(stored: Run) -> None:
    class Product(Words):
        def encode(self, x: dict[str, torch.Tensor], /) -> torch.Tensor:  # type: ignore[override]
            return (x["hash"] / 255) @ torch.full((4, 4), 1 / 3)

    full = embed(Product(), TEXTS, stored)
    half = embed(Product(), TEXTS, dataclasses.replace(stored, precision="bf16"))
    assert half.dtype == torch.float32
    assert torch.equal(half, half.bfloat16().float())
    assert not torch.equal(half, full)
    assert torch.allclose(half, full, rtol=0.02)


@dataclasses.dataclass(frozen=True)
class Marked(ViewRecipe):
    """A view is grey of value 16 x draw + colour."""

    draws: int = 3

    def draw(self, image: Image.Image, size: int, key: str, draw: int) -> NDArray[np.uint8]:
        return np.full((size, size, 3), 16 * draw + image.getpixel((0, 0))[0], dtype=np.uint8)  # type: ignore[index]


def test_views_are_one_axis_and_images_are_decoded_once(run: Run) -> None:
    photos = Photos([1, 2, 3, 4, 5, 1])
    values = embed(Means(), photos, run, views=Marked())
    expected = torch.tensor([[[16.0 * a + c] * 3 for a in range(3)] for c in photos.colours]) / 255
    assert values.shape == (6, 3, 3)
    assert torch.allclose(values, expected)
    assert sorted(photos.reads) == [0, 1, 2, 3, 4]
    assert (run.tally["encoded"], run.tally["decoded"]) == (15, 5)


def test_more_views_need_only_the_new_ones(stored: Run) -> None:
    embed(Means(), Photos([1, 2]), stored, views=Marked(draws=2))
    embed(Means(), Photos([1, 2]), stored, views=Marked(draws=5))
    assert (stored.tally["encoded"], stored.tally["cached"]) == (10, 4)


def test_real_views_of_a_seed_are_the_same_in_any_company(stored: Run) -> None:
    recipe = ViewRecipe(draws=2)
    both = embed(Means(), Photos([40, 90]), dataclasses.replace(stored, cache=None), views=recipe)
    assert torch.allclose(embed(Means(), Photos([90]), stored, views=recipe)[0], both[1], atol=1e-6)


def test_one_alone_is_one_among_many(run: Run) -> None:
    many = embed(Means(), Photos(range(0, 250, 10)), dataclasses.replace(run, cache=None))
    alone = embed(Means(), Photos([70]), run)
    assert torch.allclose(alone[0], many[7], atol=1e-5)


def test_unreadable_items_are_named_after_all_others_are_stored(stored: Run) -> None:
    photos = Photos([1, -1, 2, 3, 4, -2, 5])
    with pytest.raises(UnreadableItem, match=r"photo-1.jpg: truncated JPEG"):
        embed(Means(), photos, stored)
    encoder = Means()
    result = embed_readable(encoder, photos, stored)
    assert encoder.seen == []
    assert result.kept.tolist() == [0, 2, 3, 4, 6]
    assert [e.name for e in result.failed] == ["photo-1.jpg", "photo-5.jpg"]
    assert torch.allclose(result.values[:, 0] * 255, torch.tensor([1.0, 2, 3, 4, 5]))
    assert stored.tally["failed"] == 4


def test_an_item_that_can_be_read_later_is_embedded_then(stored: Run) -> None:
    photos = Photos([1, 2])
    photos.colours = _Mended([1, -2], at=1)
    assert embed_readable(Means(), photos, stored).kept.tolist() == [0]
    photos.colours.mended = True
    assert embed_readable(Means(), photos, stored).kept.tolist() == [0, 1]


class _Mended(list[int]):
    def __init__(self, values: list[int], at: int) -> None:
        super().__init__(values)
        self.at, self.mended, self.asks = at, False, 0

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return (
            7
            if self.mended and index == self.at and sys._getframe(1).f_code.co_name != "key"
            else super().__getitem__(index)
        )


def test_an_item_without_a_key_is_a_failure(run: Run) -> None:
    class Vanished(Photos):
        def key(self, index: int) -> str:
            if index == 1:
                raise UnreadableItem(self.name(index), "no such file")
            return super().key(index)

    result = embed_readable(Means(), Vanished([1, 2, 3]), run)
    assert result.kept.tolist() == [0, 2]
    assert [str(e) for e in result.failed] == ["photo-1.jpg: no such file"]


@pytest.mark.parametrize("colours", [[], [-1, -2]])
def test_nothing_readable_is_an_empty_answer(run: Run, colours: list[int]) -> None:
    assert embed_readable(Means(), Photos(colours), run).values.shape == (0, 3)
    assert embed_readable(Means(), Photos(colours), run, views=Marked()).values.shape == (0, 3, 3)


def test_an_interrupt_leaves_a_store_that_goes_on(stored: Run) -> None:
    whole = embed(Words(mates=0.5), TEXTS, dataclasses.replace(stored, cache=None))
    with pytest.raises(KeyboardInterrupt):
        embed(Words(mates=0.5, interrupt_at=1), TEXTS, stored)
    assert Store(stored.cache or Path()).verify() == []
    encoder = Words(mates=0.5)
    assert torch.equal(embed(encoder, TEXTS, stored), whole)
    assert sum(encoder.seen) == 6


def test_other_errors_of_a_decoder_pass_through(run: Run) -> None:
    class Buggy(Photos):
        def __getitem__(self, index: int) -> Image.Image:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        embed(Means(), Buggy(range(50)), run)


def test_decoding_runs_ahead_within_bounds(stored: Run) -> None:
    photos = Photos(range(100))

    class Watching(Means):
        most = 0

        def encode(self, x: torch.Tensor, /) -> torch.Tensor:  # type: ignore[override]
            Watching.most = max(Watching.most, len(photos.reads) - sum(self.seen))
            return super().encode(x)

    embed(Watching(), photos, stored)
    assert 4 <= Watching.most <= 3 * 4


def test_progress_reaches_its_total(run: Run) -> None:
    class Bar:
        totals: list[int] = []  # noqa: RUF012
        steps: list[int] = []  # noqa: RUF012

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *exc: object) -> None:
            return None

        def advance(self, n: int = 1) -> None:
            Bar.steps.append(n)

    def bar(name: str, total: int | None) -> Bar:
        Bar.totals.append(total or 0)
        return Bar()

    embed_readable(Means(), Photos([1, 2, -1, 4, 5, 6]), dataclasses.replace(run, progress=bar))
    assert Bar.totals == [6]
    assert sum(Bar.steps) == 6
    Bar.totals.clear()
    Bar.steps.clear()


@pytest.mark.parametrize("before", [True, False])
def test_grad_mode_comes_back(run: Run, before: bool) -> None:
    with torch.set_grad_enabled(before):
        values = embed(Words(), TEXTS, run)
        assert torch.is_grad_enabled() is before
    assert not values.requires_grad
    assert not values.is_inference()


def test_a_damaged_batch_is_redone_alone(stored: Run, caplog: pytest.LogCaptureFixture) -> None:
    before = embed(Words(mates=0.5), TEXTS, stored)
    path = sorted((stored.cache or Path()).glob("*/shards/*.npy"))[1]
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    encoder = Words(mates=0.5)
    assert torch.equal(embed(encoder, TEXTS, stored), before)
    assert encoder.seen == [4]
    assert path.name in caplog.text


def test_a_store_that_loses_everything_is_an_error(stored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "put", lambda *a, **k: None)
    with pytest.raises(DamagedStore, match="check the disk"):
        embed(Words(), TEXTS, stored)


def test_a_cache_that_may_not_be_written_is_read(stored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    part = embed(Words(), Subset(TEXTS, (0, 1, 2)), stored)
    files = sorted((stored.cache or Path()).rglob("*"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    encoder = Words()
    values = embed(encoder, TEXTS, stored)
    assert torch.equal(values[:3], part)
    assert sum(encoder.seen) == 7
    assert sorted((stored.cache or Path()).rglob("*")) == files


@dataclasses.dataclass
class Slow(Means):
    """Counts the items that were read and not yet encoded."""

    photos: Photos = dataclasses.field(default_factory=lambda: Photos(()))
    most: int = 0

    def encode(self, x: torch.Tensor, /) -> torch.Tensor:  # type: ignore[override]
        self.most = max(self.most, len(self.photos.reads) - sum(self.seen))
        return super().encode(x)


@pytest.mark.parametrize(("batch", "workers", "bound"), [(4, 2, 12), (2, 8, 20), (16, 1, 48)])
def test_items_in_flight_are_bounded_and_keep_all_threads_busy(batch: int, workers: int, bound: int) -> None:
    photos = Photos(range(200))
    encoder = Slow(photos=photos)
    embed(encoder, photos, Run(batch=batch, workers=workers))
    assert min(2 * workers, batch) <= encoder.most <= bound


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_slices_are_the_whole(run: Run, size: int) -> None:
    photos = Photos([10, 20, 10, -1, 30, 20, 40, -1, 10, 50])
    whole = embed_arrays(Means(), photos, dataclasses.replace(run, cache=None))
    encoder, run = Means(), dataclasses.replace(run, tally=type(run.tally)())
    parts = list(embed_slices(encoder, photos, run, size=size))
    assert len(parts) == -(-10 // size)
    np.testing.assert_allclose(np.concatenate([p.values for p in parts]), whole.values, atol=1e-6)
    assert [i for p in parts for i in p.kept.tolist()] == whole.kept.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [e.name for p in parts for e in p.failed] == [e.name for e in whole.failed]
    assert sum(encoder.seen) == 5
    assert dict(run.tally) == {"cached": 0, "decoded": 5, "encoded": 5, "failed": 2}


def test_slices_of_what_is_known_encode_nothing_and_mend_what_was_damaged(stored: Run) -> None:
    photos = Photos(range(10))
    embed(Means(), photos, stored)
    encoder, again = Means(), dataclasses.replace(stored, tally=type(stored.tally)())
    list(embed_slices(encoder, photos, again, size=4))
    assert encoder.seen == []
    assert again.tally["cached"] == 10
    path = sorted((stored.cache or Path()).glob("*/shards/*.npy"))[1]
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    values = np.concatenate([p.values[:, 0] for p in embed_slices(encoder, photos, stored, size=4)])
    np.testing.assert_allclose(values[:, 0] * 255, range(10), atol=1e-4)
    assert encoder.seen == [4]


@dataclasses.dataclass
class Sides(Means):
    """Its first number is the width of the picture that it was given."""

    def inputs(self, items: Any, size: int | None = None) -> torch.Tensor:
        return torch.stack([torch.full((3, 4, 4), float(i.width)) for i in items])


def test_drafts_and_exact_decodes_do_not_share_a_space(stored: Run, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "x.jpg")
    photo = ImageFiles([tmp_path / "x.jpg"])
    draft = dataclasses.replace(stored, decode="draft")
    assert embed(Sides(), photo, stored)[0, 0] == 64
    assert embed(Sides(), photo, draft)[0, 0] == 8  # twice the side of 4
    assert embed(Sides(), photo, stored)[0, 0] == 64
    assert len([p for p in (stored.cache or Path()).iterdir() if p.is_dir() and (p / "space.json").exists()]) == 2
    assert space_facts(Words(), draft) == space_facts(Words(), stored)
    assert space_facts(Means(), draft, views=Marked()) == space_facts(Means(), stored, views=Marked())
    assert "decode" not in space_facts(Means(), stored)  # spaces of earlier versions stay valid


class Broken(Words):
    """A text encoder whose third text has no finite vector."""

    def encode(self, x: Any, /) -> torch.Tensor:
        rows = super().encode(x)
        return torch.where(x["hash"].eq(self.inputs(["text 2"])["hash"]).all(-1, keepdim=True), torch.nan, rows)


def test_a_vector_that_is_not_finite_names_its_item_and_the_model(run: Run) -> None:
    with pytest.raises(
        DataError, match=r"model 777777777777 gives a vector for 'text 2' that is not finite: .*fp32\.$"
    ):
        embed(Broken(), TEXTS, run)
    assert torch.isfinite(embed(Broken(), Subset(TEXTS, (0, 1)), run)).all()


def test_a_vector_that_was_stored_and_is_not_finite_is_refused(stored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("diptych.features.pipeline.refuse_not_finite", lambda *_: None)
        with pytest.raises(DataError, match="'text 2' that is not finite"):
            embed(Broken(), TEXTS, stored)
    with pytest.raises(DataError, match="'text 2' that is not finite"):
        embed(Words(), TEXTS, stored)


def test_usage_is_checked(run: Run) -> None:
    with pytest.raises(UsageError, match="no views"):
        embed(Words(), TEXTS, run, views=Marked())
    with pytest.raises(UsageError, match="Precision 'fp8'"):
        embed(Words(), TEXTS, dataclasses.replace(run, precision="fp8"))
    with pytest.raises(UsageError, match="at least 1"):
        embed(Words(), TEXTS, dataclasses.replace(run, batch=-1))
    with pytest.raises(UsageError, match="decode 'rough'"):
        embed(Words(), TEXTS, dataclasses.replace(run, decode="rough"))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["kill", "writers"])
def test_same_bits_after_kills_and_with_two_writers(mode: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, embed_work.__file__, mode, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def _quiet_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads
