"""What ``finetune`` and ``pretrain`` share: the loop, and the road from data and model to what was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.core.ranges import at_least, between, one_of
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, method, settings
from diptych.verbs.declare import plain_system
from diptych.verbs.reads import has
from diptych.verbs.train.fitting import Fitting
from diptych.verbs.train.trained import Trained

if TYPE_CHECKING:
    from diptych.core import Objective, Recipe
    from diptych.data.keys import FileKeys
    from diptych.data.labelled import LabelledData
    from diptych.train.schedule import Fit
    from diptych.train.streams import Streamed
    from diptych.verbs.context import Context


def _loop(help: str, default: Any, flag: str = "", **more: Any) -> Any:
    return argument(help, more.pop("kind", kinds.PLAIN), default, flag=flag, panel="Training", **more)


@dataclass(frozen=True, kw_only=True)
class Training(Fitting):
    """A training of a copy of the model."""

    role: ClassVar[str] = "diptych.core:Objective"
    result: ClassVar[str] = "Tuned"
    out_help: ClassVar[str] = "Folder for model, log, checkpoints and report."
    python_out: ClassVar[Any] = "must"
    learns_in_steps: ClassVar[bool] = True
    run_options: ClassVar[Mapping[str, Any]] = {"engine": "torch"}
    offers: ClassVar[tuple[str, ...]] = (
        "json", "backbone", "device", "precision", "batch", "workers", "cache", "verify",
    )  # fmt: skip
    former: ClassVar[Mapping[str, str]] = {"batch": "train_batch"}
    raises: ClassVar[str] = (
        "Collapsed: little is left of the spread of the embeddings, or of what the model knew; the trained model is in "
        "``out/doubted``."
    )

    method: str | Objective | Recipe = method("", "The system that trains.")
    variant: str = argument("A row of its card.", default="")
    caption_weights: str | Sequence[float] = argument(
        'Weight of each column of captions, such as "0.3,0.7": one caption of a row is drawn in each epoch.',
        kinds.SHARES, (),
    )  # fmt: skip
    outside: bool = argument(
        "Allow paths that lead outside the table's folder, such as absolute ones; only for tables that you trust.",
        default=False,
    )
    seed: int = argument("Seed of draws and new weights.", default=0)
    resume: bool = argument(
        "Resume a training that was stopped; a finished one with these settings is returned.", default=False
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings("temperature=0.07")
    workers: int = argument(
        "Processes that load and augment, 0 for none. Scripts with workers keep their calls below ``if __name__ == "
        '"__main__":`` where the system starts processes anew.',
        default=2, range=at_least(0), faces=("python",),
    )  # fmt: skip
    fit: Fit | None = argument(
        "All settings of the loop as a ``diptych.train.schedule.Fit``, in place of the arguments of the loop.",
        default=None, faces=("python",),
    )  # fmt: skip
    steps: int | None = _loop("Steps of the training, instead of epochs.", None, range=at_least(1))
    accumulate: int = _loop(
        "Batches in one step. Pair losses take negatives from all of them, in the memory of one (GradCache).", 1,
        "--accum-freq", range=at_least(1),
    )  # fmt: skip
    optimizer: str = _loop("Optimiser.", "adamw", range=one_of("adamw", "adam", "radam", "sgd"))
    betas: str | Sequence[float] = _loop('Betas of Adam, such as "0.9,0.98".', (0.9, 0.98), kind=kinds.SHARES)
    eps: float = _loop("Epsilon of Adam.", 1e-6)
    warmup: int | None = _loop(
        "Warm-up: steps in which the rate rises (default: 20, or a tenth of all steps if that is less).", None,
        range=at_least(0),
    )  # fmt: skip
    schedule: str = _loop("Schedule of the rate after the warm-up.", "cosine", range=one_of("cosine", "constant"))
    cooldown: int = _loop("Last steps in which a constant rate falls to its floor.", 0, range=at_least(0))
    floor: float = _loop("Final learning rate, as a share of the learning rate.", 0.0, range=between(0, 1))
    min_lr: float | None = _loop(
        "Final learning rate itself, such as 1e-6, instead of a share (default: 0).", None, range=at_least(0)
    )  # fmt: skip
    clip: float = _loop("Largest gradient norm; 0: no clipping.", 1.0, "--grad-clip-norm", range=at_least(0))
    ema: float | None = _loop("Decay of a moving average of the weights, which is then measured and written.", None)
    patience: int | None = _loop(
        "Early stopping: epochs without a lower loss on the split val.", None, range=at_least(1)
    )
    unlock: int = _loop("When one tower learns: last layers of the other one to train too.", 0, range=at_least(0))
    layer_decay: float = _loop("Layer-wise decay: factor on the rate for each layer nearer to a tower's input.", 1.0)
    patch_dropout: float = _loop("Share of the patches that a ViT leaves out in each step.", 0.0)
    crop: float | None = _loop(
        "Random crops with at least this share of the area, such as 0.9, for losses of pairs.", None
    )
    recolour: bool = _loop("Random changes of brightness, contrast and hue of crops; some crops grey.", False)
    recompute: bool = _loop("Gradient checkpointing: less memory, slower.", False, "--grad-checkpointing")
    text_tokens: int | None = _loop(
        "Token budget: most tokens, padding included, that the text tower reads at once, in groups of similar length. "
        "For losses of embeddings alone.",
        None, range=at_least(1),
    )  # fmt: skip
    compile: bool = _loop("torch.compile for the blocks of towers: faster after a slow start.", False)
    shard: bool = _loop("Shard weights, optimiser and checkpoints across the processes of torchrun (FSDP2).", False)
    shard_blocks: bool = _loop(
        "With sharded weights, gather one block of a tower at a time, not all. For losses of embeddings alone.",
        False,
    )
    shard_offload: bool = _loop(
        "With sharded weights, keep them, their gradients and the optimiser in host memory.", False
    )
    chunk: int | None = _loop(
        "Rows of the loss's logits in memory at a time, for losses that support it.", None, range=at_least(1),
        reads=has("chunk"),
    )  # fmt: skip
    measure_every: int | None = _loop(
        "Steps between measurements during training; 0: none (default: each epoch, or a tenth of all steps).", None,
        range=at_least(0),
    )  # fmt: skip
    save_every: int = _loop("Steps between checkpoints.", 50, range=at_least(1))
    keep: int = _loop("How many of the latest checkpoints to keep.", 2, range=at_least(1))
    skip_bad_steps: int = _loop(
        "Skip up to this many non-finite steps, resuming from the latest checkpoint; 0: stop at the first one.", 0,
        range=at_least(0),
    )  # fmt: skip
    log_every: int = _loop("Steps between lines of the log.", 10, range=at_least(1))
    log: str = _loop("Where to log, besides log.jsonl and TensorBoard: wandb.", "")

    def check(self) -> None:
        """Refuse settings of the loop that do not go together."""
        if len(tuple(self.betas)) != 2:
            raise UsageError(f"{{betas}} takes two numbers such as 0.9,0.98, not {len(tuple(self.betas))}.")
        if self.compile and self.shard:
            raise UsageError("{compile} and {shard} are not tested together: leave out one of them.")
        if self.recolour and self.crop is None:
            raise UsageError("No {crop} is given, so {recolour} has no effect: leave it out.")
        for name in ("shard_blocks", "shard_offload"):
            if getattr(self, name) and not self.shard:
                raise UsageError(f"Weights are whole without {{shard}}, so {{{name}}} has no effect: leave it out.")
        if self.min_lr is not None and self.floor:
            raise UsageError("{min_lr} and {floor} both set the final rate: leave out one of them.")
        if self.min_lr and self.schedule == "constant" and not self.cooldown:
            raise UsageError(
                "A constant rate falls only during {cooldown}, and there is none, so {min_lr} has no effect: give "
                "{cooldown} steps, or leave it out."
            )
        if self.log not in ("", "wandb"):
            raise UsageError(f"{{log}} takes wandb, not {self.log!r}.")
        if self.log:
            need_extra("wandb", "A log at Weights & Biases")

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse two lengths, and a loop beside the settings of one."""
        if self.steps is not None and "epochs" in given:
            raise UsageError("{steps} is the length of the training, so {epochs} has no effect: leave it out.")
        loop = {name for name, a in self.arguments().items() if a.panel == "Training"} - NOT_OF_FIT
        if self.fit is not None and (idle := sorted(given & (loop | {"lr", "epochs", "train_batch", "decay"}))):
            raise UsageError(f"{{fit}} has every setting of the loop: leave out {', '.join(f'{{{n}}}' for n in idle)}.")

    def system(self) -> Objective | Recipe:
        """Return the system that trains.

        Raises:
            UsageError: it is of another verb, is no system, or has no such row or setting.
        """
        from diptych import catalog
        from diptych.core.settings import with_settings

        chosen, variant = self.method, self.variant
        if isinstance(chosen, str):
            base: Any = catalog.row(catalog.find(chosen, verb=self.name), variant)
        else:
            base = plain_system(chosen)
            if variant:
                raise UsageError("{variant} is a row of a card: give {method} by its slug, or leave {variant} out.")
            if base.card.verb != self.name:
                raise UsageError(
                    f"{base.card.slug} is a system of {base.card.verb}, not of {self.name}: give one of {self.name}."
                )
        system: Objective | Recipe = with_settings(base, self.given_settings())
        return system

    def from_random(self) -> bool:
        """Return whether the training starts from random weights."""
        return False

    def prompts(self) -> Sequence[str]:
        """Return the prompts of labelled classes."""
        from diptych.data.words.templates import SINGLE

        return SINGLE

    def kit(self, system: Objective | Recipe, device: str) -> Mapping[str, Any]:
        """Return the parts that the system needs beside the model, loaded."""
        return {}

    def loop(self, system: Objective | Recipe) -> Fit:
        """Return the settings of the loop.

        Raises:
            UsageError: a number is out of its range, or random towers have heads alone.
        """
        from diptych.tasks.training.fits import WARMUP, embeddings_alone, fit_of
        from diptych.train.schedule import Schedule

        rate = self.rate(scratch=self.from_random())
        if self.fit is not None:
            return self.fit
        kind: Any = self.schedule
        if self.min_lr is not None and self.min_lr > rate:
            raise UsageError(
                f"{{min_lr}} {self.min_lr:g} is above the learning rate {rate:g}, at which the schedule starts: give a "
                f"smaller one, or a larger {{lr}}."
            )
        floor = self.floor if self.min_lr is None else self.min_lr / rate if rate else 0.0
        warm = WARMUP if self.warmup is None else Schedule(warmup=self.warmup)
        return fit_of(
            rate, self.train_batch, self.epochs, self.decay,
            steps=self.steps, cached=embeddings_alone(system), accumulate=self.accumulate,
            watch_every=self.measure_every, schedule=replace(warm, kind=kind, floor=floor, cooldown=self.cooldown),
            optimizer=self.optimizer, betas=tuple(self.betas), eps=self.eps, layer_decay=self.layer_decay,
            clip=self.clip or None, ema=self.ema, patience=self.patience, save_every=self.save_every, keep=self.keep,
            skip_bad_steps=self.skip_bad_steps, log_every=self.log_every, log=self.log, shard=self.shard,
            shard_blocks=self.shard_blocks, shard_offload=self.shard_offload, compile=self.compile,
        )  # fmt: skip

    def opened(self, keys: FileKeys | None) -> tuple[LabelledData, Streamed | None]:
        """Return the data, and the stream that is trained on where they are read as one.

        Raises:
            UsageError: captions or their weights are named for data that are open.
        """
        from diptych.data.load import open_data
        from diptych.data.samples import as_data
        from diptych.verbs.photos import naming

        data: Any = self.data  # type: ignore[attr-defined]
        shares: Any = self.caption_weights
        if isinstance(data, (str, os.PathLike)):
            with naming(text="captions"):
                return open_data(data, keys, need="captions or classes", text=self.captions, shares=shares), None
        if self.captions:
            raise UsageError("{captions} names a column of a table on disk: name the column of these data 'caption'.")
        if self.caption_weights:
            raise UsageError(
                "{caption_weights} weigh columns of a table on disk: give these data a column 'caption_weights'."
            )
        return as_data(data, keys), None

    def run(self, context: Context) -> Trained:
        """Open the data, then the model, train, and measure before and after."""
        from diptych.data.inside import outside_allowed
        from diptych.data.samples import as_data
        from diptych.tasks.training.learns import need_towers
        from diptych.tasks.training.tune import tune
        from diptych.tasks.training.tuned import check_free
        from diptych.train.memory import Saving

        system = self.system()
        fit = self.loop(system)
        if self.chunk is not None:
            system = replace(system, chunk=self.chunk)  # type: ignore[type-var]
        need_towers(system, self.parts)
        if context.out is not None and not self.resume:
            check_free(context.out, resume=False)
        with outside_allowed(self.outside):
            data, stream = self.opened(context.keys)
        others = [as_data(each, context.keys) for each in self.also]
        backbone, run = context.trained(scratch=self.from_random())
        with ExitStack() as stack:
            out = context.out or Path(stack.enter_context(TemporaryDirectory(prefix="diptych-")), "tuned")
            tuned = tune(
                system, backbone, data, fit, run, out, parts=self.parts, unlock=self.unlock, stream=stream,
                saving=Saving(self.patch_dropout, self.recompute, self.text_tokens), crop=self.crop,
                recolour=self.recolour, templates=self.prompts(), elsewhere=others, kit=self.kit(system, run.device),
                scratch=self.from_random(), resume=self.resume, repeat=context.recipe(), say=context.say,
            )  # fmt: skip
        return Trained(tuned)


NOT_OF_FIT = frozenset(("unlock", "patch_dropout", "crop", "recolour", "recompute", "text_tokens", "chunk"))
"""Arguments beside those of the loop which ``Fit`` does not have."""
