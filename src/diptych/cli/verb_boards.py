"""``diptych board caption``, ``extend``, ``finetune`` and ``pretrain``: every fitting system of a verb on your data, measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import finetune, options
from diptych.cli.board import command_line
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.backbone import Backbone
    from diptych.core.run import Run
    from diptych.tasks.boards.verb import Bench, VerbBoard

Methods = Annotated[
    str | None,
    options.option("--methods", help='Systems, "slug" or "slug:variant" of its card (default: all of the verb).', show_default=False),
]
Seeds = Annotated[str, options.option("--seeds", help="Seeds of draws and trainings.")]
Out = Annotated[Path, options.option("--out", "-o", help="Folder for board.json.")]
NAMES = {
    "cider_d": "CIDEr-D",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "clip_score": "CLIPScore",
    "acc1": "top-1 %",
    "recall_at_1": "R@1 %",
}


def board_caption(
    table: Annotated[str, typer.Argument(help="A table of photos with human captions.", show_default=False)],
    references: Annotated[str, options.option("--references", help="Its columns of captions.")] = "caption*",
    texts: Annotated[
        str | None,
        options.option("--texts", help="Sentences to learn from (default: the captions of the train split).", show_default=False),
    ] = None,
    judge: Annotated[
        str | None, options.option("--judge", help="Another backbone, which gives CLIPScore.", show_default=False, rich_help_panel="Model")
    ] = None,
    methods: Methods = None,
    seeds: Seeds = "1,2,3",
    out: Out = Path("out/board-caption"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Caption the test (or val) photos by every captioner; gains over the nearest sentence."""
    _free(out, overwrite)
    from diptych.data.captions import read_sentences
    from diptych.tasks.boards.caption import CaptionBench, open_captions

    keys = options.file_keys(cache, verify)
    pool = read_sentences(texts) if texts else None
    opened = open_captions(table, references, pool, keys)
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    tower = options.open_backbone(backbone, run)
    by = options.open_backbone(judge, run) if judge else None
    bench = CaptionBench(opened, tower, run, options.integers(seeds, "seeds"), by)
    made = _run("caption", bench, methods, tower, run, seeds)
    keys.close()
    _finish(made, out, overwrite, json, opened.failed)


def board_extend(
    clips: Annotated[str, typer.Argument(help="A folder with train and test (or val): CLASS/CLIP.", show_default=False)],
    names: options.Names = None,
    template: Annotated[str, options.option("--template", help="One prompt with {}.")] = "a photo of a {}.",
    frames: Annotated[int, options.option("--frames", help="Frames looked at in each clip.", min=1)] = 8,
    methods: Methods = None,
    seeds: Seeds = "1,2,3",
    out: Out = Path("out/board-extend"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Fit every extender on labelled clips and name the held ones; gains over the mean of the frames."""
    _free(out, overwrite)
    from diptych.core.data import ClassNames
    from diptych.data.formats.clip_folder import open_clips
    from diptych.tasks.boards.extend import ExtendBench, only_readable

    keys = options.file_keys(cache, verify)
    data = open_clips([clips], frames, keys)
    spoken = ClassNames(options.class_names(names, data.classes), (template,))
    run = options.open_run(device, precision, batch, workers, cache)
    tower = options.open_backbone(backbone, run)
    data, failed = only_readable(data, tower, frames, run)
    bench = ExtendBench(data, spoken, tower, run, options.integers(seeds, "seeds"), frames)
    made = _run("extend", bench, methods, tower, run, seeds)
    keys.close()
    _finish(made, out, overwrite, json, failed)


def board_finetune(
    data: finetune.Data,
    methods: Methods = None,
    parts: finetune.PartsChoice = "heads",
    also: finetune.Also = None,
    templates: options.Templates = None,
    captions: finetune.Captions = None,
    lr: finetune.Rate = None,
    epochs: finetune.Epochs = 10,
    train_batch: finetune.Rows = 64,
    decay: finetune.Decay = 0.0,
    seeds: Seeds = "1,2,3",
    out: Out = Path("out/board-finetune"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Fine-tune by every system from the same start, and measure the held-out rows; gains over the backbone before."""
    _tune(
        "finetune", data, methods, parts, also, templates, captions, lr, epochs, train_batch, decay, seeds, out, overwrite, json, backbone,
        device, precision, batch, workers, cache, verify,
    )  # fmt: skip


def board_pretrain(
    table: finetune.Data,
    methods: Methods = None,
    rewrites: Annotated[
        str | None,
        options.option("--rewrites", help="Other wordings of captions, for laclip: a .json pool or recorded .jsonl.", show_default=False),
    ] = None,
    parts: finetune.PartsChoice = "heads",
    also: finetune.Also = None,
    captions: finetune.Captions = None,
    lr: finetune.Rate = None,
    epochs: finetune.Epochs = 10,
    train_batch: finetune.Rows = 128,
    decay: finetune.Decay = 0.2,
    seeds: Seeds = "1,2,3",
    out: Out = Path("out/board-pretrain"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Train by every objective from the same start on captioned photos, and measure the held-out ones; gains over the backbone before."""
    kit: dict[str, Any] = {}
    if rewrites is not None:
        from diptych.backbones.writers.pool import StoredPool

        kit["writer"] = StoredPool(rewrites)
    _tune(
        "pretrain", table, methods, parts, also, None, captions, lr, epochs, train_batch, decay, seeds, out, overwrite, json, backbone,
        device, precision, batch, workers, cache, verify, kit=kit,
    )  # fmt: skip


def _tune(
    verb: str,
    data: str,
    methods: str | None,
    parts: str,
    also: str | None,
    templates: list[str] | None,
    captions: str | None,
    lr: float | None,
    epochs: int,
    rows: int,
    decay: float,
    seeds: str,
    out: Path,
    overwrite: bool,
    json: bool,
    backbone: str,
    device: str,
    precision: str,
    batch: int,
    workers: int,
    cache: Path | None,
    verify: bool,
    *,
    kit: dict[str, Any] | None = None,
) -> None:
    _free(out, overwrite)
    from diptych.data.load import open_data
    from diptych.data.templates import SINGLE
    from diptych.tasks.boards.tune import TuneBench
    from diptych.tasks.training import open_pairs_or_classes
    from diptych.train.schedule import Fit, Schedule

    keys = options.file_keys(cache, verify)
    opened = open_pairs_or_classes(data, captions, keys)
    others = [open_data(name, keys) for name in options.words(also or "")]
    run = options.open_run(device, precision, batch, workers, cache)
    tower = options.open_backbone(backbone, run)
    rate = lr if lr is not None else 3e-4 if parts == "heads" else 1e-5
    fit = Fit(lr=rate, batch=rows, epochs=epochs, decay=decay, schedule=Schedule(warmup=20), clip=1.0)
    prompts = options.template_set(templates) if templates else SINGLE
    bench = TuneBench(opened, tower, fit, run, options.integers(seeds, "seeds"), parts=parts, templates=prompts, elsewhere=others, kit=kit)
    made = _run(verb, bench, methods, tower, run, seeds)
    keys.close()
    _finish(made, out, overwrite, json, ())


def _free(out: Path, overwrite: bool) -> None:
    if (out / "board.json").exists() and not overwrite:
        raise UsageError(f"{out / 'board.json'} exists: give another --out or --overwrite.")


def _run(verb: str, bench: Bench, methods: str | None, tower: Backbone, run: Run, seeds: str) -> VerbBoard:
    from diptych.tasks.boards.verb import jobs_of, verb_board

    jobs = jobs_of(verb, options.words(methods) if methods else None)
    return verb_board(verb, bench, jobs, tower, run, seeds=options.integers(seeds, "seeds"), command=command_line())


def _finish(made: VerbBoard, out: Path, overwrite: bool, json: bool, failed: Sequence[UnreadableItem]) -> None:
    made.write(out, overwrite=overwrite)
    if json:
        show_json(made.as_dict())
    else:
        _show(made)
        show(str(out / "board.json"))
    for label, reason in made.missing.items():
        say(f"{label} did not run: {reason}")
    say_skipped(failed)
    if failed:
        raise typer.Exit(UnreadableItem.exit_code)


def _show(made: VerbBoard) -> None:
    percent = made.metric in ("acc1", "recall_at_1")
    factor, form, signed = (100, "{:.1f}", "{:+.1f}") if percent else (1, "{:.3f}", "{:+.3f}")
    others = list(dict.fromkeys(name for r in made.rows for name in r.others))
    rows = []
    for r in made.rows:
        value, low, high = (form.format(factor * v) for v in (r.value.value, r.value.low, r.value.high))
        gain = (
            "" if r.gain is None else "{} ({} to {})".format(*(signed.format(factor * v) for v in (r.gain.value, r.gain.low, r.gain.high)))
        )
        more = [_number(name, r.others) for name in others]
        rows.append((r.label, f"{value} ({low}-{high})", gain, *more, f"{r.seconds:.1f}"))
    columns = [
        "system",
        f"{NAMES[made.metric]} (95 %)",
        "gain",
        *(NAMES.get(n, n.replace("acc1 on", "top-1 % on")) for n in others),
        "seconds",
    ]
    title = (
        f"{made.facts['dataset']}: {made.facts['items']} items, {made.facts['backbone']}, seeds {', '.join(map(str, made.facts['seeds']))}"
    )
    show_table(columns, rows, right=range(1, len(columns)), title=title)


def _number(name: str, others: Any) -> str:
    if name not in others:
        return "-"
    return f"{100 * others[name]:.1f}" if name.startswith("acc1") else f"{others[name]:.3f}"
