from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.mask_models.ranked_cells import RegionScorer, load_scorer
from diptych.backbones.sources.vision import load_vision
from diptych.core import Proposals
from recipes import mask_proposer
from recipes.mask_proposer import directions, examples, labelled_regions, learn_ranking, main, on_cells, recalls
from recipes.mask_scenes import Picture


def test_directions_are_those_that_tell_things_apart() -> None:
    within, between = np.diag([4.0, 1.0, 1.0]), np.diag([4.0, 0.1, 2.0])
    found = directions(within, between, 1)
    assert found.shape == (3, 1)
    assert found[:, 0].abs().argmax() == 2  # 2 / 1 is more than 4 / 4
    assert found[:2].abs().max() < 1e-6


def test_labelled_regions_are_connected_parts_that_are_large_enough() -> None:
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[:10, :10], mask[10:, 30:], mask[:3, 20:23], mask[12:, :10] = 1, 1, 1, 255
    found = labelled_regions(mask, background=0)
    assert sorted(m.sum() for m in found) == [100, 100]
    assert len(labelled_regions(mask, background=None)) == 3
    assert labelled_regions(np.full((9, 9), 255, dtype=np.uint8), None).shape == (0, 9, 9)


class Fixed:
    fingerprint = ""

    def __init__(self, masks: torch.Tensor) -> None:
        self.masks = masks

    def propose(self, image: object, words: object = (), /) -> Proposals:
        return Proposals(self.masks, torch.ones(len(self.masks)), (20, 40))


def test_recall_counts_thresholds_and_only_the_first_proposals() -> None:
    truth = np.zeros((2, 20, 40), dtype=bool)
    truth[0, :10, :10], truth[1, 10:, 20:] = True, True
    exact = torch.from_numpy(truth).float()
    wrong = torch.zeros(10, 20, 40)
    wrong[:, 15:, :5] = 1
    image = Image.new("RGB", (40, 20))
    assert recalls(image, truth, Fixed(exact)).tolist() == [1, 1, 1]
    assert recalls(image, truth, Fixed(torch.cat([wrong, exact]))).tolist() == [0, 1, 1]
    exact[0, :2, :10] = 0  # four fifths of the first one
    assert recalls(image, truth, Fixed(exact)).tolist() == pytest.approx([0.85] * 3)  # 0.5 to 0.8 are passed


def picture() -> Picture:
    pixels = np.full((60, 80, 3), 90, dtype=np.uint8)
    pixels[20:40, 30:60] = (200, 40, 40)
    masks = np.zeros((1, 60, 80), dtype=bool)
    masks[0, 20:40, 30:60] = True
    return Picture(Image.fromarray(pixels), masks, masks[0])


def test_regions_that_fit_a_thing_are_learnt_to_rank_first() -> None:
    encoder = load_vision("lite")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scorer = RegionScorer().eval()
    scorer.get_buffer("a").normal_(generator=torch.Generator().manual_seed(0))
    found = examples(picture(), encoder, scorer, np.random.default_rng(0))
    assert found["u"].max() > 0.8
    assert (found["weight"] >= 0.1).all()
    assert len(found["facts"]) == len(found["u"]) == len(found["weight"])
    with torch.random.fork_rng(devices=[]):
        log = learn_ranking(scorer, [found] * 8, seed=0)
    assert log[-1] < log[0]
    with torch.no_grad():
        u = scorer(found["facts"].float()).sigmoid()
    best = found["u"][u.argsort(descending=True)[:5]]
    assert best.mean() > found["u"].mean() + 0.3


def test_known_pixels_become_shares_of_cells() -> None:
    things, known = on_cells(picture(), (6, 8))
    assert things.shape == (1, 6, 8)
    assert torch.equal(things[0], known)
    assert things.sum() == 2 * 3


def test_a_training_goes_on_and_is_judged(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_proposer, "SPACES", 6)
    monkeypatch.setattr(mask_proposer, "SHARD", 2)
    monkeypatch.setattr(mask_proposer, "BATCH", 32)
    words = ["train", "--data", str(data_root), "--out", str(tmp_path)]
    main([*words, "--pictures", "2"])
    first = (tmp_path / "regions-00000.safetensors").stat().st_mtime_ns
    main([*words, "--pictures", "4"])
    assert (tmp_path / "regions-00000.safetensors").stat().st_mtime_ns == first
    net = tmp_path / mask_proposer.FILE
    assert net.stat().st_size < 4 * 2**20
    assert isinstance(load_scorer(net), RegionScorer)
    judged = ["judge", "--data", str(data_root), "--out", str(tmp_path / "j.json"), "--net", str(net), "--most", "2"]
    main(judged)
    report = json.loads((tmp_path / "j.json").read_text())["sets"]
    assert set(report) == {"msrc_small", "coco_mini"}
    for row in report.values():
        assert row["photos"] == 2
        for name in ("merged-cells", "ranked-cells"):
            recall = [row[name][f"recall_{count}"]["value"] for count in (10, 50, 100)]
            assert 0 <= recall[0] <= recall[1] <= recall[2] <= 1
    assert "gain" not in report["msrc_small"]["merged-cells"]["recall_10"]
