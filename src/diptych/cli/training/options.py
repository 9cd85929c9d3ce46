"""How a training runs, as options of ``finetune`` and ``pretrain``; and recipe files that repeat a run."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.unread import refuse_idle
from diptych.core import UsageError
from diptych.core.errors import need_extra

if TYPE_CHECKING:
    from diptych.train.schedule import Fit

NOT_REPEATED = frozenset(("recipe", "out", "resume", "dry_run", "json", "overwrite"))
"""Options that a recipe file does not have: where results go, and what is shown."""
OF_THE_MACHINE = frozenset(("cache", "device", "workers"))
"""Options that are not written to a recipe file, since another machine has others; a file may have them."""


def _loop(*names: str, help: str, **more: Any) -> Any:
    return options.option(*names, help=help, rich_help_panel="Training", **more)


@dataclass(frozen=True)
class TrainRunOptions(options.RunOptions):
    """What the verbs share, with as few workers as none."""

    workers: Annotated[
        int,
        options.option(
            "--workers", help="Processes that load and augment; 0: the training process does it itself.", min=0
        ),
    ] = 2


@dataclass(frozen=True)
class LoopOptions:
    """How the loop of a training runs."""

    steps: Annotated[int | None, _loop("--steps", help="Steps of the training, in place of --epochs.", min=1)] = None
    accumulate: Annotated[
        int,
        _loop(
            "--accum-freq",
            help="Batches of --train-batch rows in one step. Pair losses take negatives from all of them, in the "
            "memory of one (GradCache).",
            min=1,
        ),
    ] = 1
    optimizer: Annotated[str, _loop("--optimizer", help="adamw, adam, radam or sgd.")] = "adamw"
    betas: Annotated[str, _loop("--betas", help='Betas of Adam, such as "0.9,0.98".')] = "0.9,0.98"
    eps: Annotated[float, _loop("--eps", help="Epsilon of Adam.")] = 1e-6
    warmup: Annotated[int, _loop("--warmup", help="Warm-up: steps in which the rate rises.", min=0)] = 20
    schedule: Annotated[
        str, _loop("--schedule", help="Schedule of the rate after the warm-up: cosine or constant.")
    ] = "cosine"
    cooldown: Annotated[
        int, _loop("--cooldown", help="Last steps in which a constant rate falls to --floor.", min=0)
    ] = 0
    floor: Annotated[float, _loop("--floor", help="Rate at the end, as a share of --lr.", min=0.0, max=1.0)] = 0.0
    clip: Annotated[float, _loop("--grad-clip-norm", help="Largest gradient norm; 0: no clipping.", min=0.0)] = 1.0
    ema: Annotated[
        float | None,
        _loop("--ema", help="Decay of a moving average of the weights, which is then measured and written."),
    ] = None
    patience: Annotated[
        int | None, _loop("--patience", help="Early stopping: epochs without a lower loss on the split val.", min=1)
    ] = None
    unlock: Annotated[
        int, _loop("--unlock", help="With --parts image or text: last layers of the other tower that learn too.", min=0)
    ] = 0
    layer_decay: Annotated[
        float,
        _loop("--layer-decay", help="Layer-wise decay: factor on the rate for each layer nearer to a tower's input."),
    ] = 1.0
    patch_dropout: Annotated[
        float, _loop("--patch-dropout", help="Share of the patches that a ViT leaves out in each step.")
    ] = 0.0
    crop: Annotated[
        float | None,
        _loop("--crop", help="Random crops with at least this share of the area, such as 0.9, for losses of pairs."),
    ] = None
    recolour: Annotated[
        bool, _loop("--recolour", help="With --crop, random changes of brightness, contrast and hue; some crops grey.")
    ] = False
    recompute: Annotated[bool, _loop("--grad-checkpointing", help="Gradient checkpointing: less memory, slower.")] = (
        False
    )
    text_tokens: Annotated[
        int | None,
        _loop(
            "--text-tokens",
            help="Token budget: most tokens, padding included, that the text tower reads at once, in groups of similar "
            "length. For losses of embeddings alone.",
            min=1,
        ),
    ] = None
    compile: Annotated[
        bool, _loop("--compile", help="torch.compile for the blocks of towers: faster after a slow start.")
    ] = False
    shard: Annotated[
        bool,
        _loop("--shard", help="Divide weights, optimiser and checkpoints over the processes of torchrun (FSDP2)."),
    ] = False
    shard_blocks: Annotated[
        bool,
        _loop(
            "--shard-blocks",
            help="With --shard, have one block of a tower whole at a time, not all. For losses of embeddings alone.",
        ),
    ] = False
    chunk: Annotated[
        int | None, _loop("--chunk", help="Rows of the loss's logits in memory at a time, for losses that can.", min=1)
    ] = None
    measure_every: Annotated[
        int | None,
        _loop(
            "--measure-every",
            help="Steps between measurements in the training; 0: none (default: each epoch, or a tenth of --steps).",
            min=0,
        ),
    ] = None
    save_every: Annotated[int, _loop("--save-every", help="Steps between checkpoints.", min=1)] = 50
    keep: Annotated[int, _loop("--keep", help="How many of the latest checkpoints to keep.", min=1)] = 2
    skip_bad_steps: Annotated[
        int,
        _loop(
            "--skip-bad-steps",
            help="After this many steps that are not finite, go on from the latest checkpoint; 0: stop at the first "
            "one.",
            min=0,
        ),
    ] = 0
    log_every: Annotated[int, _loop("--log-every", help="Steps between lines of the log.", min=1)] = 1
    log: Annotated[str, _loop("--log", help="Where the log goes beside log.jsonl and TensorBoard: wandb.")] = ""

    def fit(self, rate: float, batch: int, epochs: int, decay: float, *, cached: bool) -> Fit:
        """Return the settings of the loop; ``epochs`` counts without steps, and where ``cached`` accumulated batches
        are one for the loss.

        Raises:
            UsageError: a value is none of those that there are.
        """
        from diptych.tasks.training.fits import fit_of
        from diptych.train.schedule import Schedule

        if self.steps is not None:
            refuse_idle("--steps is the length of the training", "epochs")
        flag_values.one_of("--schedule", self.schedule, "cosine", "constant")
        flag_values.one_of("--optimizer", self.optimizer, "adamw", "adam", "radam", "sgd")
        flag_values.one_of("--log", self.log, "", "wandb")
        if self.crop is None:
            refuse_idle("No --crop is given", "recolour")
        if not self.shard:
            refuse_idle("Weights are whole without --shard", "shard_blocks")
        if self.compile and self.shard:
            raise UsageError("--compile and --shard are not tried together: leave out one of them.")
        if self.log:
            need_extra("wandb", "--log wandb")
        betas = self.betas.split(",")
        try:
            first, second = (float(b) for b in betas)
        except ValueError:
            raise UsageError(f'--betas takes two numbers such as "0.9,0.98", not {self.betas!r}.') from None
        kind: Any = self.schedule
        return fit_of(
            rate,
            batch,
            epochs,
            decay,
            steps=self.steps,
            cached=cached,
            accumulate=self.accumulate,
            watch_every=self.measure_every,
            schedule=Schedule(kind, self.warmup, self.floor, self.cooldown),
            optimizer=self.optimizer,
            betas=(first, second),
            eps=self.eps,
            layer_decay=self.layer_decay,
            clip=self.clip or None,
            ema=self.ema,
            patience=self.patience,
            save_every=self.save_every,
            keep=self.keep,
            skip_bad_steps=self.skip_bad_steps,
            log_every=self.log_every,
            log="wandb" if self.log else "",
            shard=self.shard,
            shard_blocks=self.shard_blocks,
            compile=self.compile,
        )


def read_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Take the values of a recipe file for the options that the command line does not give.

    Raises:
        UsageError: the file cannot be read, or has options that the command does not.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no recipe ({str(error)[:80]}): give the recipe.toml of a training.") from None
    verb = values.pop("command", context.info_name)
    known = {p.name for p in context.command.params} - NOT_REPEATED
    given = {name.replace("-", "_"): value for name, value in values.items()}
    if verb != context.info_name or (strange := sorted(given.keys() - known)):
        said = f"is for {verb}" if verb != context.info_name else f"has {', '.join(strange)}"
        raise UsageError(f"{path} {said}, which diptych {context.info_name} does not take: change the file.")
    context.default_map = {**(context.default_map or {}), **given}
    return path


RecipeFile = Annotated[
    Path | None,
    options.option(
        "--recipe",
        help="recipe.toml of an earlier training: its options apply unless you give others here.",
        is_eager=True,
        callback=read_recipe,
    ),
]


def recipe_text(context: Any) -> str:
    """Return the recipe file of a command: every option that has a value and is not of the machine, as TOML."""
    lines = [f"command = {json.dumps(context.info_name)}"]
    for name, value in sorted(context.params.items()):
        if name not in NOT_REPEATED | OF_THE_MACHINE and value is not None and value not in ([], ()):
            plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            lines.append(f"{name.replace('_', '-')} = {json.dumps(plain)}")
    return "\n".join(lines) + "\n"
