"""The ten-line default, on a small random open_clip model and coloured squares."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.sources.openclip_config import build
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import (
    Column,
    DataError,
    Evidence,
    Kit,
    MissingHook,
    PixelRecipe,
    Row,
    Run,
    Spec,
    Table,
    UsageError,
    World,
)
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.long_clip import LongCLIP
from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from diptych.train.batches import open_source
from diptych.train.layers import depths
from diptych.train.loop import train
from diptych.train.pair import Cropped, PairTrainee, View, drawn_caption, item
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from diptych.train.tuning import TuningTrainee
from tests.support.checkpoints import FAMILIES

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "white": (240, 240, 240),
    "black": (10, 10, 10),
}
RUN = Run(seed=1, workers=0)
FIT = Fit(lr=2e-3, batch=10, steps=30, schedule=Schedule(warmup=5), clip=1.0)
PIXELS = PixelRecipe(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SPEC = Spec("test", "openclip", "small", "", "gelu", "clip-bpe", 77, 0, "argmax", 12, PIXELS)


class Squares:
    """Noisy coloured squares, the same for the same index."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Image.Image:
        noise = np.random.default_rng(index).normal(0, 25, (32, 32, 3))
        return Image.fromarray((np.array(list(COLOURS.values()))[index % 5] + noise).clip(0, 255).astype(np.uint8))

    def key(self, index: int) -> str:
        return f"{index:064x}"

    def name(self, index: int) -> str:
        return str(index)


def squares(rows: int = 40, shift: int = 0) -> Table[Image.Image]:
    names = list(COLOURS)
    captions = [
        (f"a {names[(i + shift * (i // 5)) % 5]} square", f"{names[(i + shift * (i // 5)) % 5]}") for i in range(rows)
    ]
    return Table(Squares(rows), {"captions": Column("captions", captions)})


def small(**extra) -> OpenClip:
    backbone = from_model(build({**FAMILIES["vit"][0], **extra}, seed=0), SPEC)
    assert isinstance(backbone, OpenClip)
    return backbone


def accuracy(space: OpenClip) -> float:
    held_out = Squares(100)
    with torch.no_grad():
        images = space.image.encode(space.image.inputs([held_out[i] for i in range(50, 100)]))
        texts = space.text.encode(space.text.inputs([f"a {c} square" for c in COLOURS]))
    return float(
        (normalize(images, dim=-1) @ normalize(texts, dim=-1).T).argmax(1).eq(torch.arange(50) % 5).float().mean()
    )


@pytest.mark.parametrize(
    ("objective", "extra"), [(CLIPLoss(), {}), (CLIPLoss(chunk=3), {}), (SigLIPLoss(), {"init_logit_bias": -10.0})]
)
def test_learns_colours(objective, extra) -> None:
    trainee = PairTrainee(small(**extra), objective, RUN)
    done = train(trainee, squares(), replace(FIT, steps=60), RUN)
    assert accuracy(trainee.trained()) > 0.9
    losses = [next(v for name, v in r.items() if name.startswith("main/")) for r in done.records]
    assert losses[-1] < losses[0]


def rows():
    table = squares(10)
    return [
        Row(table.items[i], i, table.items.key(i), {"captions": table.columns["captions"].values[i]}) for i in range(10)
    ]


def test_learns_nothing_from_captions_of_other_pictures() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN)
    train(trainee, squares(shift=1), FIT, RUN)
    assert accuracy(trainee.trained()) < 0.5


def test_the_space_that_came_in_is_untouched() -> None:
    backbone = small()
    before = {n: t.clone() for n, t in backbone.module().state_dict().items()}
    trainee = PairTrainee(backbone, CLIPLoss(), RUN)
    train(trainee, squares(), replace(FIT, steps=2), RUN)
    assert all(torch.equal(before[n], t) for n, t in backbone.module().state_dict().items())
    assert trainee.trained().fingerprint != backbone.fingerprint
    assert not trainee.trained().module().training


def test_locked_image_tower_stays_as_it_was() -> None:
    backbone = small()
    trainee = PairTrainee(backbone, CLIPLoss(), RUN, learns=lambda name: not name.startswith("visual."))
    train(trainee, squares(), replace(FIT, steps=2), RUN)
    after = trainee.trained().module().state_dict()
    moved = {n.split(".")[0] for n, t in backbone.module().state_dict().items() if not torch.equal(t, after[n])}
    assert "visual" not in moved
    assert "transformer" in moved


def test_scale_is_kept_in_its_range() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN, scale_range=(2.6, 2.65))
    train(trainee, squares(), replace(FIT, steps=1), RUN)
    assert math.log(trainee.trained().scale()[0].item()) == pytest.approx(2.65)


def test_no_decay_for_vectors_and_scalars() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN)
    shapes = {n: p.ndim for n, p in trainee.module().named_parameters()}
    for group in trainee.groups():
        assert all((shapes[n] >= 2) == (group.decay == 1.0) for n in group.names)
    assert sum(len(g.names) for g in trainee.groups()) == len(shapes)


def test_captions_are_drawn_evenly_and_repeatably() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN)
    row = rows()[0]
    drawn = [trainee.views(row, RUN.generator(str(i)))["text"] for i in range(60)]
    assert 15 < drawn.count("red") < 45
    assert trainee.views(row, RUN.generator("7"))["text"] == drawn[7]


def test_errors() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN)
    with pytest.raises(DataError, match="no captions"):
        train(trainee, Table(Squares(40)), FIT, RUN)
    with pytest.raises(UsageError, match="multiple"):
        open_source(squares(), trainee, replace(FIT, batch=9), replace(RUN, world=World(0, 2)))


class Words(CLIPLoss):
    """CLIP's loss that also reads tokens."""

    tokens = ("image", "text", "again")

    def terms(self, e, heads, clock):
        self.seen.append(e)
        return super().terms(e, heads, clock)


def test_two_views_share_an_encoder_and_tokens_end_in_the_vectors() -> None:
    objective = Words()
    object.__setattr__(objective, "seen", [])
    read = {"image": item, "text": drawn_caption, "again": View("text", drawn_caption)}
    trainee = PairTrainee(small(), objective, RUN, read=read)
    batch = trainee.collate([trainee.views(row, RUN.generator(str(row.index))) for row in rows()])
    losses = trainee.losses(batch, "main", None)
    (e,) = objective.seen
    assert set(e.vectors) == set(e.tokens) == set(read)
    for view in ("text", "again"):
        state, ids = e.tokens[view], e.targets[f"ids/{view}"]
        assert state.valid.sum(1).tolist() == [int(row.argmax()) + 1 for row in ids]
        ends = state.h[torch.arange(10), state.valid.sum(1) - 1]
        torch.testing.assert_close(e.project(view, ends), e.vectors[view])
    plain = PairTrainee(small(), CLIPLoss(), RUN, read=read)
    torch.testing.assert_close(plain.losses(batch, "main", None)["contrastive"], losses["contrastive"])
    assert e.scale("image", "again")[0] == e.scale("image", "text")[0]


def test_a_subclass_may_ask_for_tokens_without_an_objective() -> None:
    trainee = PairTrainee(small(), None, RUN, tokens=("image",))
    batch = trainee.collate([trainee.views(row, RUN.generator(str(row.index))) for row in rows()])
    e = trainee.embed(batch)
    assert set(e.tokens) == {"image"}
    assert set(e.vectors) == {"image", "text"}


def test_a_frozen_scale_stays() -> None:
    trainee = PairTrainee(small(), CLIPLoss(), RUN, scale_range=(0.0, 0.1), learns=lambda n: n.startswith("visual."))
    before = trainee.trained().scale()[0]
    train(trainee, squares(), replace(FIT, steps=1), RUN)
    assert torch.equal(trainee.trained().scale()[0], before)


def test_a_sigmoid_loss_adds_the_bias_that_it_needs() -> None:
    space = small()
    made = SigLIPLoss(start=(5.0, -4.0)).prepared(space)
    assert [round(x.item(), 4) for x in made.scale()] == [5.0, -4.0]
    assert space.scale()[1].item() == 0
    biased = small(init_logit_bias=-3.0)
    assert SigLIPLoss().prepared(biased) is biased


def test_batches_embedded_in_parts_train_as_one_large_batch() -> None:
    def trained(fit: Fit) -> dict[str, torch.Tensor]:
        trainee = PairTrainee(small(), CLIPLoss(), RUN)
        train(trainee, squares(), fit, RUN)
        return trainee.trained().module().state_dict()

    whole = trained(replace(FIT, batch=20, steps=4))
    cached = trained(replace(FIT, batch=10, steps=4, accumulate=2, cached=True))
    own = trained(replace(FIT, batch=10, steps=4, accumulate=2))
    for name, tensor in whole.items():
        torch.testing.assert_close(cached[name], tensor, atol=2e-5, rtol=1e-4)
    apart = max(float((own[name] - tensor).abs().max()) for name, tensor in whole.items())
    assert apart > 1e-3  # negatives of each half alone are another loss


def test_parts_are_refused_where_a_loss_reads_more_than_embeddings() -> None:
    with pytest.raises(MissingHook, match="own negatives"):
        train(TuningTrainee(small(), RUN, None, CLIPLoss), squares(), replace(FIT, accumulate=2, cached=True), RUN)


def test_the_log_has_scale_gradient_and_rate() -> None:
    done = train(PairTrainee(small(), CLIPLoss(), RUN), squares(), replace(FIT, steps=2), RUN)
    for record in done.records:
        assert record["scale"] == pytest.approx(1 / 0.07, rel=0.01)
        assert record["gradient_norm/main"] > 0
        assert record["samples_per_second"] > 0


def test_early_layers_learn_less_with_layer_decay() -> None:
    def moved(decay: float) -> dict[str, float]:
        trainee = PairTrainee(small(), CLIPLoss(), RUN)
        start = {n: p.detach().clone() for n, p in trainee.module().named_parameters()}
        train(trainee, squares(), replace(FIT, steps=1, layer_decay=decay, decay=0.0, schedule=Schedule()), RUN)
        return {n: float((p.detach() - start[n]).abs().max()) for n, p in trainee.module().named_parameters()}

    alike, less = moved(1.0), moved(0.5)
    depth = depths(n.removeprefix("space.") for n in alike)
    assert {d for _, d in depth.values()} >= {0, 1, 2}
    for name, distance in alike.items():
        factor = 0.5 ** depth[own][1] if (own := name.removeprefix("space.")) in depth else 1.0
        assert less[name] == pytest.approx(distance * factor, rel=2e-2, abs=1e-7), name


def test_workers_that_are_started_anew_change_nothing() -> None:
    """As on macOS and Windows, and on Linux from Python 3.14 on."""
    program = (
        "import multiprocessing, sys\n"
        "from dataclasses import replace\n"
        "from tests.train.test_pair import *\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method(sys.argv[1])\n"
        "    trainee = PairTrainee(small(), CLIPLoss(), RUN)\n"
        "    train(trainee, squares(), replace(FIT, steps=5), replace(RUN, workers=1))\n"
        "    print(trainee.trained().fingerprint)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, "forkserver"],
        capture_output=True, text=True, cwd=root, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    trainee = PairTrainee(small(), CLIPLoss(), RUN)
    train(trainee, squares(), replace(FIT, steps=5), RUN)
    assert done.stdout.strip() == trainee.trained().fingerprint


def test_crops_are_squares_of_the_side_with_a_part_of_the_picture() -> None:
    wide = Image.fromarray(np.tile(np.arange(0, 240, dtype=np.uint8)[None, :, None], (120, 1, 3)))
    row, g = Row(wide, 0, "0"), torch.Generator()
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)  # as the loop does for each row
        seen.append(np.asarray(Cropped(0.3, 32)(row, g)))
    assert seen[0].shape == (32, 32, 3)
    assert (seen[0] == seen[1]).all()
    assert not (seen[0] == seen[2]).all()
    assert np.ptp(seen[0]) < np.ptp(np.asarray(wide))
    with pytest.raises(UsageError, match=r"least must be in \(0, 1\]"):
        Cropped(0.0, 32)


def test_colours_of_crops_are_changed_as_often_and_as_far_as_they_say() -> None:
    row, g = Row(Image.new("RGB", (40, 40), (180, 60, 60)), 0, "0"), torch.Generator()
    seen = []
    for seed in range(300):
        torch.manual_seed(seed)
        seen.append(np.asarray(Cropped(1.0, 8, recolour=True)(row, g))[0, 0].astype(int))
    grey = np.mean([np.ptp(c) == 0 for c in seen])
    same = np.mean([c.tolist() == [180, 60, 60] for c in seen])
    assert grey == pytest.approx(0.2, abs=0.07)
    assert same == pytest.approx(0.2 * 0.8, abs=0.07)
    assert len({tuple(c) for c in seen}) > 100


def test_crops_are_for_losses_of_pairs_on_whole_towers() -> None:
    rows = Evidence(train=squares())
    trained = train_space(CLIPLoss(), Kit({"main": small()}), rows, replace(FIT, steps=2), RUN, crop=0.5)
    coloured = train_space(
        CLIPLoss(), Kit({"main": small()}), rows, replace(FIT, steps=2), RUN, crop=0.5, recolour=True
    )
    whole = train_space(CLIPLoss(), Kit({"main": small()}), rows, replace(FIT, steps=2), RUN)
    assert len({trained.space.fingerprint, whole.space.fingerprint, coloured.space.fingerprint}) == 3
    with pytest.raises(UsageError, match=r"reads images in its own way: leave out the crop of 0\.5"):
        train_space(LongCLIP(), Kit({"main": small()}), rows, FIT, RUN, crop=0.5)
