"""``diptych finetune``: move a backbone towards your classes or captions, and see what it forgets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, show, show_json, show_table
from diptych.cli.training.options import LoopOptions, RecipeFile, TrainRunOptions, recipe_text
from diptych.cli.training.streams import StreamOptions
from diptych.cli.trial import DRY_RUN, show_trial
from diptych.cli.unread import Readers, has, refuse_unread
from diptych.core import UsageError
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs.kinds import SETTINGS
from diptych.verbs.training import system_of

if TYPE_CHECKING:
    from diptych.core import Objective, Recipe
    from diptych.tasks.training.tune import Tuned

Data = Annotated[str, typer.Argument(help="Class folders with train and test, or a table with labels or captions.")]
PartsChoice = Annotated[
    str, options.option("--parts", help="Parts to train: all, heads (on frozen towers: minutes on a CPU), image, text.")
]
Captions = Annotated[
    str | None,
    options.option(
        "--captions",
        help='Column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.',
    ),
]
CaptionWeights = Annotated[
    str | None,
    options.option(
        "--caption-weights",
        help='Weight of each column of --captions, such as "0.3,0.7": one caption of a row is drawn in each epoch.',
    ),
]
Rate = Annotated[
    float | None, options.option("--lr", help="Learning rate (default: 1e-5, and 3e-4 for heads).", min=0.0)
]
Epochs = Annotated[int, options.option("--epochs", help="Passes over the training rows.", min=1)]
Rows = Annotated[int, options.option("--train-batch", help="Batch size: rows in one step.", min=2)]
Decay = Annotated[float, options.option("--weight-decay", help="Weight decay.", min=0.0)]
Seed = Annotated[int, options.option("--seed", help="Seed of draws and new weights.")]
Resume = Annotated[bool, options.option("--resume", help="Resume a training that was stopped.")]
DryRun = Annotated[bool, options.option("--dry-run", help=DRY_RUN)]
Outside = Annotated[
    bool,
    options.option(
        "--outside",
        help="Allow paths that lead outside the table's folder, such as absolute ones; only for tables that you trust.",
    ),
]
Also = Annotated[
    str | None,
    options.option("--eval-data", help="Other labelled data, measured before and after, to show what is forgotten."),
]


@dataclass(frozen=True)
class TrainOptions:
    """How a backbone is trained, whatever system does it."""

    parts: PartsChoice = "all"
    also: Also = None
    templates: options.Templates = None
    captions: Captions = None
    caption_weights: CaptionWeights = None
    lr: Rate = None
    epochs: Epochs = 5
    train_batch: Rows = 64
    decay: Decay = 0.0
    outside: Outside = False

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights of the columns of captions; () where none are given."""
        try:
            return tuple(float(w) for w in flag_values.words(self.caption_weights or ""))
        except ValueError:
            raise UsageError(
                f'--caption-weights takes numbers such as "0.3,0.7", not {self.caption_weights!r}.'
            ) from None

    def rate(self, *, scratch: bool = False) -> float:
        """Return the learning rate, by default that of the parts that learn."""
        from diptych.tasks.training.fits import rate_for

        usual = rate_for(self.parts, scratch=scratch)
        return usual if self.lr is None else self.lr


@dataclass(frozen=True)
class FolderOptions:
    """Where a training goes, and how it goes on or is repeated. The training locks its folder itself, for its processes
    of torchrun write there together.
    """

    locked: ClassVar[bool] = True

    recipe: RecipeFile = None
    out: Annotated[Path, options.option("--out", "-o", help="Folder for model, log, checkpoints and report.")] = Path(
        "tuned"
    )
    seed: Seed = 0
    resume: Resume = False
    dry_run: DryRun = False


@dataclass(frozen=True)
class Training:
    """The training that a command line requests.

    Args:
        folder: of model, log, checkpoints and report; the seed of draws and new weights, and whether it goes on.
        rate: learning rate.
        recipe: text of the recipe file that repeats it.
        scratch: start from random weights.
        regions: a table with one region per row; None: there are none.
        stream: how the data are read once, in place of a table; None: they are a table.
    """

    system: Objective | Recipe
    data: str
    how: TrainOptions
    folder: FolderOptions
    rate: float
    recipe: str = ""
    loop: LoopOptions = field(default_factory=LoopOptions)
    scratch: bool = False
    kit: Mapping[str, Any] = field(default_factory=dict)
    regions: Path | None = None
    stream: StreamOptions | None = None

    def run(self, shared: options.RunOptions) -> None:
        """Open what the options name, train, and show before and after."""
        from diptych.backbones.sources.load import load
        from diptych.data.inside import outside_allowed
        from diptych.data.load import open_data
        from diptych.data.words.templates import SINGLE
        from diptych.tasks.training.fits import embeddings_alone
        from diptych.tasks.training.tune import tune
        from diptych.train.memory import Saving

        how = self.how
        cached = embeddings_alone(self.system)
        fit = self.loop.fit(self.rate, how.train_batch, how.epochs, how.decay, cached=cached)
        system = with_chunk(self.system, self.loop.chunk)
        half = shared.precision == "fp16"  # of the training alone: encoders have no such precision
        with (replace(shared, precision="fp32") if half else shared).open(seed=self.folder.seed) as opened:
            stream = None
            with outside_allowed(how.outside):
                if self.stream is not None:
                    data, stream = self.stream.open(self.data, how.captions or "", how.shares)
                else:
                    text = how.captions or ""
                    data = open_data(self.data, opened.keys, need="captions or classes", text=text, shares=how.shares)
            if self.regions is not None:
                from diptych.data.formats.region_table import with_regions

                data = with_regions(data, self.regions)
            others = [open_data(name, opened.keys) for name in flag_values.words(how.also or "")]
            run, name = replace(opened.run, precision="fp16") if half else opened.run, shared.backbone
            train = partial(
                tune,
                system,
                load(name, device=run.device, weights="random", seed=self.folder.seed)
                if self.scratch
                else opened.backbone(),
                data,
                fit,
                run,
                parts=how.parts,
                unlock=self.loop.unlock,
                stream=stream,
                saving=Saving(self.loop.patch_dropout, self.loop.recompute, self.loop.text_tokens),
                crop=self.loop.crop,
                recolour=self.loop.recolour,
                templates=flag_values.template_set(how.templates) if how.templates else SINGLE,
                elsewhere=others,
                kit=self.kit,
                scratch=self.scratch,
                resume=self.folder.resume,
                repeat=self.recipe,
                say=say,
            )
            if self.folder.dry_run:
                with TemporaryDirectory(prefix="diptych-") as folder:
                    show_trial(partial(train, out=Path(folder, "tuned")))
                return
            result = train(out=self.folder.out)
        if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun, the first one reports
            _tell(result, shared.json)


READERS: Readers = {"chunk": has("chunk")}
_TORCH = TrainRunOptions(engine="torch")


@options.offers("json", "backbone", "device", "precision", "batch", "workers", "cache", "verify")
def finetune(
    context: typer.Context,
    data: Data,
    method: Annotated[str, options.option("--method", "-m", help="See diptych systems --verb finetune.")] = DEFAULTS[
        "finetune"
    ],
    variant: Annotated[str, options.option("--variant", help="Variant of the method, such as m3 or lwf.")] = "",
    settings: options.Settings = None,
    *,
    how: TrainOptions,
    loop: LoopOptions,
    folder: FolderOptions,
    shared: TrainRunOptions = _TORCH,
) -> None:
    """Fine-tune a backbone on your data; every command then takes it as --backbone local:OUT/model."""
    system = find("finetune", method, variant, settings)
    refuse_unread(system, READERS)
    Training(system, data, how, folder, how.rate(), recipe_text(context), loop).run(shared)


def find(verb: str, slug: str, variant: str, settings: Sequence[str] | None = None) -> Objective | Recipe:
    """Return a system of a verb that trains.

    Args:
        verb: of the system.
        slug: its name.
        variant: a row of its card; "" for the default one.
        settings: texts such as "temperature=0.07".

    Raises:
        UsageError: it is of another verb, or has no such row or setting.
        MissingExtra: what it needs is not installed.
    """
    return system_of(verb, slug, variant, SETTINGS.read(settings))


def with_chunk(system: Objective | Recipe, chunk: int | None) -> Objective | Recipe:
    """Return a system whose logits are in memory a few rows at a time, where a number is given."""
    if chunk is None:
        return system
    changed: Objective | Recipe = replace(system, chunk=chunk)  # type: ignore[type-var]
    return changed


def _tell(result: Tuned, json: bool) -> None:
    """Show before and after, then what was skipped, and leave with the exit code that says so."""
    if json:
        show_json(result.as_dict())
    else:
        show_table(
            ["data set", "metric", "before", "after", "change"],
            result.rows(),
            right=(2, 3, 4),
            title=f"{result.facts['method']}",
        )
        show(f"local:{result.folder}")
    finish(result.failed)
