from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.core import DataError, Row, Run, UnreadableItem
from diptych.train.caption_mixing import CaptionMixing, Taught

PHOTO = Image.new("RGB", (64, 64))


def mixing(kinds: tuple[str, ...], taught: Taught | None = None, share: float = 0.5) -> CaptionMixing:
    return CaptionMixing(load("tiny"), kinds, share, taught or Taught(), Run())


def row(**columns: Any) -> Row:
    return Row(PHOTO, 7, "", {"captions": ("a", "b"), "synthetic": ("s",), **columns})


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_mix_draws_synthetic_captions_by_their_share() -> None:
    for share, expected in ((0.0, {"a", "b"}), (1.0, {"s"})):
        g = seeded()
        assert {mixing(("mix",), share=share).views(row(), g)["mix"] for _ in range(12)} == expected
    g, trainee = seeded(), mixing(("mix",), share=0.75)
    drawn = [trainee.views(row(), g)["mix"] == "s" for _ in range(400)]
    assert 0.67 < float(np.mean(drawn)) < 0.83  # 3.7 standard deviations


def test_a_row_without_a_kind_of_caption_is_skipped_by_name() -> None:
    with pytest.raises(UnreadableItem, match=r"Pair 7.*no synthetic caption"):
        mixing(("original", "synthetic")).views(row(synthetic=()), seeded())


def test_the_vector_of_the_drawn_caption_is_taught() -> None:
    vectors = {"teacher_image": np.ones(2, np.float32), "teacher_text": np.eye(3, 2, dtype=np.float32)}
    trainee = mixing(("original", "synthetic"), Taught(weight=1.0, widths=(1, 1)))
    view = trainee.views(row(**vectors), seeded())
    number = ("a", "b").index(view["original"])
    assert view["taught"]["original"].tolist() == vectors["teacher_text"][number].tolist()
    assert view["taught"]["synthetic"].tolist() == vectors["teacher_text"][2].tolist()
    batch = trainee.collate([view, view])
    assert batch["taught"]["image"].shape == (2, 2)


def test_vectors_that_lack_or_do_not_fit_are_named() -> None:
    trainee = mixing(("original", "synthetic"), Taught(weight=1.0, widths=(1, 1)))
    with pytest.raises(UnreadableItem, match="no teachers' vectors"):
        trainee.views(row(), seeded())
    with pytest.raises(DataError, match=r"vectors of 3 numbers, and teachers of 1 \+ 1 are set"):
        trainee.views(row(teacher_image=np.ones(3), teacher_text=np.ones((3, 3))), seeded())
    with pytest.raises(DataError, match="vectors of 2 captions, and more are drawn"):
        trainee.views(row(teacher_image=np.ones(2), teacher_text=np.ones((2, 2))), seeded())
