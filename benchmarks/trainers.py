"""Pre-training on pictures in files: our loop beside open_clip's own ``train_one_epoch``, from the same weights on the
same table.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import Row, Target, quiet
from diptych.backbones.sources.load import load
from diptych.core import Clock, Run
from diptych.data.load import open_data
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.schedule import Fit, Schedule

SIDE = 128
WORDS = ("red", "green", "blue", "square", "circle", "dog", "cat", "beach", "street", "large", "small", "old")
WORKERS = 1


class Files(Dataset[Any]):
    """What open_clip's ``CsvDataset`` gives, read without pandas."""

    def __init__(self, table: Path, prepared: Callable[..., torch.Tensor], tokens: Callable[..., torch.Tensor]) -> None:
        self.rows = [(table.parent / a, b) for a, b in (line.split(",") for line in table.read_text().split("\n")[1:])]
        self.prepared, self.tokens = prepared, tokens

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path, title = self.rows[index]
        return self.prepared(Image.open(path)), self.tokens([title])[0]


@contextlib.contextmanager
def epochs(name: str, pairs: int, batch: int) -> Iterator[Row]:
    """Yield the row of one epoch: decoding, augmentation-free preparation, tokens, forward, backward, AdamW and log.

    Args:
        name: of an open_clip backbone.
        pairs: JPEG pictures of 128 x 128 pixels with captions of eight words.
        batch: of them in a step.

    Raises:
        ValueError: the two give another loss for the same batch.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        table = _written(Path(folder), pairs)
        space: Any = load(name) if name in ("tiny", "lite") else load(name, weights="random")
        ours, theirs = _ours(space, table, batch), _theirs(space, table, batch)
        yield Row(
            {"open_clip": theirs, "diptych": ours},
            pairs,
            "pairs",
            same=None,
            facts={"batch": batch, "workers": WORKERS, "side": SIDE, "loss of one batch": _losses(space, table, batch)},
            targets=(Target("diptych / open_clip", lambda rates: rates["diptych"] / rates["open_clip"], 1.0),),
        )


def _written(folder: Path, pairs: int) -> Path:
    rng = np.random.default_rng(0)
    lines = ["filepath,title"]
    for i in range(pairs):
        small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
        lines.append(f"{i}.jpg,a picture of {' '.join(rng.choice(WORDS, 5))}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv"


def _ours(space: Any, table: Path, batch: int) -> Callable[[], object]:
    rows = open_data(table, need="captions").splits["test"]
    trainee, run = PairTrainee(space, CLIPLoss(), Run(workers=WORKERS)), Run(workers=WORKERS)
    fit = Fit(5e-4, batch, epochs=1, schedule=Schedule(warmup=20), clip=1.0)
    return lambda: train(trainee, rows, fit, run)


def _theirs(space: Any, table: Path, batch: int) -> Callable[[], object]:
    from open_clip.loss import ClipLoss
    from open_clip_train.params import parse_args
    from open_clip_train.scheduler import cosine_lr
    from open_clip_train.train import train_one_epoch

    args = parse_args(["--batch-size", str(batch), "--precision", "fp32", "--grad-clip-norm", "1.0"])
    args.device, args.distributed, args.rank, args.local_rank, args.world_size = "cpu", False, 0, 0, 1
    args.distill, args.horovod, args.wandb, args.tensorboard, args.save_logs = False, False, False, False, False
    logging.getLogger().setLevel(logging.WARNING)
    model: Any = copy.deepcopy(space.module())
    model.output_dict = True
    files = Files(table, _prepared(space), _tokens(space))
    loader: Any = DataLoader(files, batch, shuffle=True, num_workers=WORKERS, drop_last=True)
    loader.num_samples, loader.num_batches = len(files), len(loader)
    data = SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)  # their DataInfo needs pandas
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    scheduler = cosine_lr(optimizer, 5e-4, 20, loader.num_batches)
    return lambda: train_one_epoch(model, {"train": data}, ClipLoss(), 0, optimizer, None, scheduler, None, args)


def _prepared(space: Any) -> Callable[[Image.Image], torch.Tensor]:
    from open_clip.transform import image_transform

    pixels = space.spec.pixels
    transform: Callable[[Image.Image], torch.Tensor] = image_transform(
        pixels.size, is_train=False, mean=pixels.mean, std=pixels.std
    )
    return transform


def _tokens(space: Any) -> Callable[[list[str]], torch.Tensor]:
    from open_clip import SimpleTokenizer

    tokenizer: Callable[[list[str]], torch.Tensor] = SimpleTokenizer(context_length=space.spec.context)
    return tokenizer


def _losses(space: Any, table: Path, batch: int) -> dict[str, float]:
    from open_clip.loss import ClipLoss

    rows = open_data(table, need="captions").splits["test"]
    pictures = [rows.items[i] for i in range(batch)]
    captions = [rows.columns["captions"].values[i][0] for i in range(batch)]
    trainee = PairTrainee(space, CLIPLoss(), Run())
    inputs = {"image": space.image.inputs(pictures), "text": space.text.inputs(captions)}
    with torch.no_grad():
        ours = sum(trainee.losses(inputs, "main", Clock(0, 1, 0, torch.Generator())).values())
        pixels = torch.stack([_prepared(space)(p) for p in pictures])
        model: Any = copy.deepcopy(space.module())
        model.output_dict = True
        theirs = sum(ClipLoss()(**model(pixels, _tokens(space)(captions)), output_dict=True).values())
    losses = {"open_clip": float(theirs), "diptych": float(ours)}
    if abs(losses["diptych"] / losses["open_clip"] - 1) > 1e-3:
        raise ValueError(f"The two trainers compute different losses: {losses}")
    return losses
