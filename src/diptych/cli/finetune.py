"""``diptych finetune``: move a backbone towards your classes or captions, and see what it forgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.train import Objective, Recipe
    from diptych.tasks.training import Tuned

Data = Annotated[
    str,
    typer.Argument(help="Class folders with train and test, or a table with labels or captions.", show_default=False),
]
PartsChoice = Annotated[
    str, options.option("--parts", help="What may learn: all, heads (on frozen towers: minutes on a CPU), image, text.")
]
Captions = Annotated[
    str | None, options.option("--captions", help='Column of captions, or a pattern: "caption_*".', show_default=False)
]
Rate = Annotated[
    float | None,
    options.option("--lr", help="Learning rate (default: 1e-5, and 3e-4 for heads).", min=0.0, show_default=False),
]
Epochs = Annotated[int, options.option("--epochs", help="Passes over the training rows.", min=1)]
Rows = Annotated[int, options.option("--train-batch", help="Rows in one step.", min=2)]
Decay = Annotated[float, options.option("--decay", help="Weight decay.", min=0.0)]
Seed = Annotated[int, options.option("--seed", help="Of draws and new weights.")]
Resume = Annotated[bool, options.option("--resume", help="Go on with a training that was stopped.")]
Also = Annotated[
    str | None,
    options.option(
        "--also", help="Other labelled data, measured before and after: what is forgotten.", show_default=False
    ),
]


def finetune(
    data: Data,
    method: Annotated[str, options.option("--method", "-m", help="See diptych systems --verb finetune.")] = "wise-ft",
    variant: Annotated[str, options.option("--variant", help="A row of the method's card, such as m3 or lwf.")] = "",
    parts: PartsChoice = "all",
    also: Also = None,
    templates: options.Templates = None,
    captions: Captions = None,
    lr: Rate = None,
    epochs: Epochs = 5,
    train_batch: Rows = 64,
    decay: Decay = 0.0,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for model, log, checkpoints and report.")] = Path(
        "tuned"
    ),
    seed: Seed = 0,
    resume: Resume = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Fine-tune a backbone and write one that every verb takes as --backbone local:OUT/model."""
    system = find("finetune", method, variant)
    found = train(
        system, data, parts, also, templates, captions, lr, epochs, train_batch, decay, out, seed, resume,
        backbone, device, precision, batch, workers, cache, verify,
    )  # fmt: skip
    tell(found, json)


def find(verb: str, slug: str, variant: str) -> Objective | Recipe:
    """Return a system of a verb that trains.

    Raises:
        UsageError: it is of another verb, or has no such row.
    """
    from diptych import catalog
    from diptych.core.train import Objective, Recipe

    system = catalog.find(slug)
    if system.card.verb != verb or not issubclass(system, (Objective, Recipe)):
        raise UsageError(f"{slug} is no system of {verb}: see 'diptych systems --verb {verb}'.")
    if variant not in system.card.variants:
        held = ", ".join(v or "(none)" for v in system.card.variants)
        raise UsageError(f"{slug} has no variant {variant!r}, only {held}.")
    made: Objective | Recipe = system(**system.card.variants[variant])
    return made


def train(
    system: Objective | Recipe,
    data: str,
    parts: str,
    also: str | None,
    templates: list[str] | None,
    captions: str | None,
    lr: float | None,
    epochs: int,
    rows: int,
    decay: float,
    out: Path,
    seed: int,
    resume: bool,
    backbone: str,
    device: str,
    precision: str,
    batch: int,
    workers: int,
    cache: Path | None,
    verify: bool,
    *,
    scratch: bool = False,
    kit: dict[str, Any] | None = None,
) -> Tuned:
    """Open what the options name, and train."""
    from diptych.backbones.sources.load import load
    from diptych.data.load import open_data
    from diptych.data.templates import SINGLE
    from diptych.tasks.training import tune
    from diptych.tasks.training_data import open_pairs_or_classes
    from diptych.train.schedule import Fit, Schedule

    keys = options.file_keys(cache, verify)
    opened = open_pairs_or_classes(data, captions, keys)
    others = [open_data(name, keys) for name in options.words(also or "")]
    run = options.open_run(device, precision, batch, workers, cache, seed=seed)
    tower = (
        load(backbone, device=run.device, weights="random", seed=seed)
        if scratch
        else options.open_backbone(backbone, run)
    )
    rate = lr if lr is not None else 3e-4 if parts == "heads" else 5e-4 if scratch else 1e-5
    fit = Fit(lr=rate, batch=rows, epochs=epochs, decay=decay, schedule=Schedule(warmup=20), clip=1.0, save_every=50)
    prompts = options.template_set(templates) if templates else SINGLE
    found = tune(
        system, tower, opened, fit, run, out,
        parts=parts, templates=prompts, elsewhere=others, kit=kit, resume=resume, say=say,
    )  # fmt: skip
    keys.close()
    return found


def tell(found: Tuned, json: bool) -> None:
    """Show before and after, then what was skipped, and leave with the exit code that says so."""
    if json:
        show_json(found.as_dict())
    else:
        rows = [
            (
                name,
                metric,
                f"{value:.3f}",
                f"{found.after[name][metric]:.3f}",
                f"{found.after[name][metric] - value:+.3f}",
            )
            for name, metrics in found.before.items()
            for metric, value in metrics.items()
        ]
        show_table(
            ["data set", "metric", "before", "after", "change"], rows, right=(2, 3, 4), title=f"{found.facts['method']}"
        )
        show(f"local:{found.folder}")
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)
