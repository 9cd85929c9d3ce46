"""``diptych pretrain``: train a backbone, or go on with one, on captioned photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import finetune, options
from diptych.core.errors import UsageError


def pretrain(
    table: Annotated[
        str, typer.Argument(help="A table with paths and captions, or a folder with captions.", show_default=False)
    ],
    objective: Annotated[
        str, options.option("--objective", "-m", help="See diptych systems --verb pretrain.")
    ] = "clip-loss",
    variant: Annotated[str, options.option("--variant", help="A row of the system's card, such as loob.")] = "",
    scratch: Annotated[
        bool, options.option("--scratch", help="Start from random weights of the backbone's shape.")
    ] = False,
    rewrites: Annotated[
        str | None,
        options.option(
            "--rewrites",
            help="Other wordings of captions, for laclip: a .json pool or recorded .jsonl.",
            show_default=False,
        ),
    ] = None,
    parts: finetune.PartsChoice = "all",
    also: finetune.Also = None,
    captions: finetune.Captions = None,
    lr: finetune.Rate = None,
    epochs: finetune.Epochs = 10,
    train_batch: finetune.Rows = 128,
    decay: finetune.Decay = 0.2,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for model, log, checkpoints and report.")] = Path(
        "pretrained"
    ),
    seed: finetune.Seed = 0,
    resume: finetune.Resume = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Train on captioned photos and write a backbone that every verb takes as --backbone local:OUT/model."""
    system = finetune.find("pretrain", objective, variant)
    if scratch and parts == "heads":
        raise UsageError("Heads on random towers learn nothing: leave out --scratch, or --parts heads.")
    if "Writer" in system.card.needs.parts and rewrites is None:
        raise UsageError(
            f"{objective} draws among rewrites: give --rewrites POOL.json, captions with other wordings of each."
        )
    kit: dict[str, Any] = {}
    if rewrites is not None:
        from diptych.backbones.writers.pool import StoredPool

        kit["writer"] = StoredPool(rewrites)
    found = finetune.train(
        system, table, parts, also, None, captions, lr, epochs, train_batch, decay, out, seed, resume,
        backbone, device, precision, batch, workers, cache, verify, scratch=scratch, kit=kit,
    )  # fmt: skip
    finetune.tell(found, json)
