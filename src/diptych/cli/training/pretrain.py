"""``diptych pretrain``: train a backbone, or go on with one, on captioned photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.training import finetune
from diptych.cli.training.options import LoopOptions, TrainRunOptions, recipe_text
from diptych.cli.training.streams import StreamOptions
from diptych.cli.unread import Readers, refuse_idle, refuse_unread
from diptych.core import Card, UsageError
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs.training import READS


@dataclass(frozen=True)
class PretrainOptions(finetune.TrainOptions):
    """The same for a longer training on captions."""

    templates: None = None  # of captions there are none
    epochs: finetune.Epochs = 10
    train_batch: finetune.Rows = 128
    decay: finetune.Decay = 0.2
    scratch: Annotated[bool, options.option("--scratch", help="Start from random weights of the backbone's shape.")] = (
        False
    )


@dataclass(frozen=True)
class FolderOptions(finetune.FolderOptions):
    """The same, in another folder."""

    out: Annotated[Path, options.option("--out", "-o", help="Folder for model, log, checkpoints and report.")] = Path(
        "pretrained"
    )


@dataclass(frozen=True)
class NamedParts:
    """What some systems need beside a backbone, and what no default is for."""

    rewrites: Annotated[
        str | None,
        options.option(
            "--rewrites",
            help="Rewritten captions, for systems that draw among them: a .json pool or recorded .jsonl.",
        ),
    ] = None
    scorer: Annotated[
        str | None,
        options.option(
            "--scorer", help="Backbone that scores captions, for systems that choose them (default: its own)."
        ),
    ] = None
    teacher: Annotated[
        str | None, options.option("--teacher", help="Backbone that teaches, for systems that distil one into another.")
    ] = None
    language_model: Annotated[
        str | None,
        options.option(
            "--language-model",
            help="Language model that reads the texts, for systems with such a text tower: smollm2, hf:org/name, a "
            "folder.",
        ),
    ] = None
    proposer: Annotated[
        str | None,
        options.option(
            "--proposer",
            help="Finds regions where the data have none: merged-cells, or a detector or mask model of transformers.",
        ),
    ] = None

    def loaded(self, device: str) -> dict[str, Any]:
        """Return the parts that are named."""
        from diptych.tasks.runs import device_named
        from diptych.tasks.training.named_parts import named_parts

        return named_parts(device_named(device), **vars(self))


@dataclass(frozen=True)
class PartOptions(NamedParts):
    """The same, and what has a default."""

    denoiser: Annotated[
        str,
        options.option(
            "--denoiser",
            help="Denoiser that teaches details, for systems that learn from one: small, or local:FOLDER with a "
            "diffusers pipeline.",
        ),
    ] = "small"

    def kit(self, card: Card, device: str) -> dict[str, Any]:
        """Return the parts, loaded.

        Raises:
            UsageError: the system needs one that is not named.
        """
        from diptych.tasks.runs import device_named
        from diptych.tasks.training.named_parts import parts_for

        return parts_for(card, device_named(device), **vars(self))


READERS: Readers = {**finetune.READERS, **READS}
_TORCH = TrainRunOptions(engine="torch")


@options.offers("json", "backbone", "device", "precision", "batch", "workers", "cache", "verify")
def pretrain(
    context: typer.Context,
    table: Annotated[
        str,
        typer.Argument(
            help='A table with paths and captions, a folder with captions, or tars, several joined by "::"; for some, '
            "photos alone."
        ),
    ],
    objective: Annotated[
        str, options.option("--objective", "-m", help="See diptych systems --verb pretrain.")
    ] = DEFAULTS["pretrain"],
    variant: Annotated[
        str, options.option("--variant", help="Variant of the objective, such as loob; see diptych systems NAME.")
    ] = "",
    settings: options.Settings = None,
    regions: Annotated[
        Path | None,
        options.option("--regions", help="A table with a box and a phrase in each row, for systems that read regions."),
    ] = None,
    *,
    part_options: PartOptions,
    how: PretrainOptions,
    loop: LoopOptions,
    streams: StreamOptions,
    folder: FolderOptions,
    shared: TrainRunOptions = _TORCH,
) -> None:
    """Train a backbone on captioned photos; every command then takes it as --backbone local:OUT/model."""
    system = finetune.find("pretrain", objective, variant, settings)
    refuse_unread(system, READERS, "--objective")
    rate = how.rate(scratch=how.scratch)
    kit = part_options.kit(system.card, shared.device)
    stream = streams if streams.reads(table) else None
    if stream is None:
        refuse_idle(f"{table} is not read as a stream", "shuffle", "held_out", "resampled", "weights", "lanes")
    if stream is not None and regions is not None:
        raise UsageError("Regions belong to the photos of a table: leave out --regions, or --stream.")
    repeat = recipe_text(context)
    finetune.Training(system, table, how, folder, rate, repeat, loop, how.scratch, kit, regions, stream).run(shared)
