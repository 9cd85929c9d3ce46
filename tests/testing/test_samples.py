from __future__ import annotations

import numpy as np

from diptych.testing.samples import Pairs, captioned, clip, clip_task, cloud_task, records, star, star_task


def test_clips_move_and_clouds_have_their_shape() -> None:
    first, last = (np.asarray(frame) for frame in (clip(0, 1)[0], clip(0, 1)[-1]))
    assert (first != last).any()
    assert len(clip_task()[1]) == 12
    stick = cloud_task()[1].items[1].points
    assert np.ptp(stick, axis=0).argmax() == 1


def test_stars_and_records_are_those_of_their_seed() -> None:
    assert np.array_equal(star(3).metadata[:3], star(3).metadata[:3])
    assert set(star_task()[1]) == {"photometry", "spectra", "metadata"}
    (one, entities), (two, _) = records(3, 2), records(3, 2)
    assert entities.tolist() == [0, 0, 1, 1, 2, 2]
    assert [one.key(i) for i in range(6)] == [two.key(i) for i in range(6)]


def test_a_stream_is_resumed_where_it_was_left() -> None:
    whole = [(i, pair.text()) for i, pair in Pairs()]
    assert [(i, pair.text()) for i, pair in Pairs().seek(7)] == whole[7:]
    assert len(captioned()) == len(whole) == 24
