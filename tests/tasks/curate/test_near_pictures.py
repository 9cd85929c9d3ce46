from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from diptych.tasks.curate import near_pictures as module
from diptych.tasks.curate.near_pictures import Look, look_of, near_groups


def blobs(seed: int, size: int = 96) -> Image.Image:
    """A picture with large shapes, as photos have them."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


def test_a_picture_saved_anew_resized_or_brightened_looks_the_same_and_others_do_not() -> None:
    one = blobs(0)
    copies = [
        saved(one, "JPEG", quality=40), saved(one, "WEBP", quality=60), saved(one, "GIF"), one.resize((50, 50)),
        one.point(lambda v: min(255, int(v * 1.1))),
    ]  # fmt: skip
    others = [blobs(seed) for seed in range(1, 40)]
    assert near_groups([look_of(i) for i in (one, *others, *copies)]) == [[0, *range(40, 45)]]


def test_mirror_images_and_turned_ones_are_others() -> None:
    one = blobs(0)
    looks = [look_of(i) for i in (one, ImageOps.mirror(one), one.rotate(90))]
    assert near_groups(looks) == []


def test_plain_areas_are_no_duplicates_of_each_other() -> None:
    assert near_groups([look_of(Image.new("RGB", (30, 30), c)) for c in ("white", "white", "red", "black")]) == []
    assert near_groups([]) == []
    assert near_groups([look_of(blobs(0))]) == []


def test_hashes_that_differ_in_more_bits_are_not_compared_and_all_within_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair within BITS is found by one of the parts: the oracle compares all pairs."""
    monkeypatch.setattr(module, "_BLOCK", 7)
    draw = np.random.default_rng(5)
    centres = draw.integers(0, 2**63, 12, dtype=np.uint64)
    thumbnail = look_of(blobs(0)).thumbnail
    looks = []
    for i in range(80):
        flips = draw.choice(64, int(draw.integers(0, 4)), replace=False)
        looks.append(Look(int(centres[i % 12]) ^ sum(1 << int(b) for b in flips), thumbnail))
    linked = {i: {i} for i in range(80)}
    for i in range(80):
        for j in range(i):
            if (looks[i].hash ^ looks[j].hash).bit_count() <= module.BITS and linked[i] is not linked[j]:
                linked[i] |= linked[j]
                for k in linked[j]:
                    linked[k] = linked[i]
    expected = sorted({tuple(sorted(group)) for group in linked.values() if len(group) > 1})
    assert near_groups(looks) == [list(group) for group in expected]
    assert len(expected) < 80 / 2


def test_equal_hashes_with_other_thumbnails_are_no_duplicates() -> None:
    one, other = look_of(blobs(0)), look_of(blobs(1))
    assert near_groups([one, Look(one.hash, other.thumbnail)]) == []
