from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from diptych.core import NotAvailable, Run
from diptych.nn.style_space import square_of
from proofs import edit as proof
from proofs.benches.edits.clips import FRAMES, background_psnr, clips, iou, open_clips, read
from proofs.prove import prove


def test_clips_move_over_a_background_that_stays() -> None:
    one, two = clips(2)
    assert len(one.frames) == FRAMES == len(one.masks)
    assert one.source.endswith("background")
    assert one.target.split()[-3:] == one.source.split()[-3:]
    centres = [np.argwhere(m).mean(0) for m in one.masks]
    assert np.linalg.norm(centres[-1] - centres[0]) > 3
    outside = ~one.masks.any(0)
    first, last = (np.asarray(f, dtype=int)[outside] for f in (one.frames[0], one.frames[-1]))
    assert np.abs(first - last).mean() < 4  # borders of the object are smoothed
    again = clips(1)[0]
    np.testing.assert_array_equal(np.asarray(again.frames[2]), np.asarray(one.frames[2]))
    assert two.source != one.source or two.wanted != one.wanted


def test_what_is_measured() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[:, :2] = True
    m = torch.zeros(2, 1, 4, 4)
    m[0, 0, :2] = 1
    assert iou(m, masks) == 0.5
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    assert background_psnr(a, b, masks) == 60.0
    b[:, :, :2] = 1.0
    assert background_psnr(a, b, masks) == 60.0
    b[:, :, 2:] = 0.1
    assert background_psnr(a, b, masks) == pytest.approx(20.0, abs=1e-3)
    one = clips(1)[0]
    shown = square_of(one.subject, 32)[None]
    assert read(shown, one.wanted) == (1.0, 1.0, 1.0)
    assert read(shown, ("none", one.wanted[1])) == (0.0, 1.0, 0.0)


def test_a_small_proof_says_all_that_a_proof_must_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from diptych.backbones.sources.load import load

    short = partial(open_clips, items=2, steps=2, subject_steps=1)
    monkeypatch.setattr(proof, "TRIALS", {"cut-and-paste": replace(proof.TRIALS["cut-and-paste"], bench=short)})
    record = prove("cut-and-paste", load("tiny"), Run(), seeds=(1, 2, 3)).as_dict()
    (data,) = record["datasets"]
    assert [c["name"] for c in data["claims"]] == ["iou", "background", "subject"]
    assert [c["name"] for c in data["controls"]] == ["random order", "subject of others"]
    assert data["claims"][1]["method"]["value"] > data["claims"][1]["baseline"]["value"]
    assert {"colour", "shape"} <= set(data["claims"][2]["method"])
    json.dumps(record)
    with pytest.raises(NotAvailable, match="takes scenes"):
        open_clips("factors", load("tiny"), Run(), (1, 2, 3))
