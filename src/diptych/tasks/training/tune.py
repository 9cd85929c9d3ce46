"""``diptych finetune`` and ``pretrain``: train a copy of a backbone, measure it, refuse a collapse, write it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diptych.backbones.language_space import LanguageSpace
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import (
    Backbone,
    ClassNames,
    Collapsed,
    Column,
    DataError,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    Objective,
    Recipe,
    Run,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.train import everything
from diptych.core.wording import number_of
from diptych.data.files import plain, read_json, write_json, write_whole
from diptych.data.labelled import LabelledData
from diptych.data.skipped import FILE as SKIPPED
from diptych.data.skipped import read_skipped
from diptych.data.words.classnames import tidy
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.nn.text.small_lm import SmallLM
from diptych.tasks.classify import with_store
from diptych.tasks.training.data import (
    by_labels,
    check_captions,
    check_classes,
    check_told,
    measured_split,
    only_readable,
    with_splits,
)
from diptych.tasks.training.measures import Measuring, watcher
from diptych.train.captioning import WordIds, has_decoder
from diptych.train.checkpoint import newest
from diptych.train.distributed import join
from diptych.train.layers import last_layers, tower_of
from diptych.train.lock import sole
from diptych.train.memory import Saving
from diptych.train.precision import Precision, of_encoders
from diptych.train.recipe import DECODER, WORDS, train_space
from diptych.train.resume import CHANGES_NOTHING, LENGTHS
from diptych.train.schedule import Fit
from diptych.train.stopping import announced
from diptych.train.streams import Streamed

DOUBTED = "doubted"
"""Folder of a model that counts as collapsed."""
NAMED = 1000
"""Items of a stream that cannot be read which a report names; all are in skipped.csv."""
WORDS_READ = 256
"""Longest caption of the small decoder, in words and marks, start and end included."""


@dataclass(frozen=True, repr=False)
class Tuned:
    """What a training made.

    Args:
        backbone: trained, as it was written.
        before, after: data set -> metric -> value; "spread" and "gap" stand under the data trained on. What was
            measured during the training is in ``facts["during"]`` and in the log.
        facts: everything else that report.json says.
        folder: where it lies; ``load("local:FOLDER")`` opens it.
        failed: photos that cannot be read, and were left out.
    """

    backbone: Backbone
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any]
    folder: Path
    failed: tuple[UnreadableItem, ...] = ()

    def __repr__(self) -> str:
        cells = [("data set", "metric", "before", "after", "change"), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in cells
        )
        return f"{self.facts['method']}, {self.facts['steps']} steps: local:{self.folder}\n" + "\n".join(lines)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return (data set, metric, before, after, change) of every measure, as they are printed."""
        return [
            (
                name,
                metric,
                f"{value:.3f}",
                f"{self.after[name][metric]:.3f}",
                f"{self.after[name][metric] - value:+.3f}",
            )
            for name, metrics in self.before.items()
            for metric, value in metrics.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        skipped = [e.as_dict() for e in self.failed]
        return {
            **self.facts,
            "before": self.before,
            "after": self.after,
            "skipped": skipped,
            "folder": str(self.folder),
        }


def tune(
    method: Objective | Recipe,
    backbone: Backbone,
    data: LabelledData,
    fit: Fit,
    run: Run,
    out: Path,
    *,
    parts: str = "all",
    unlock: int = 0,
    stream: Streamed | None = None,
    saving: Saving | None = None,
    crop: float | None = None,
    recolour: bool = False,
    templates: Sequence[str] = ("a photo of a {}.",),
    elsewhere: Sequence[LabelledData] = (),
    kit: Mapping[str, Any] | None = None,
    scratch: bool = False,
    resume: bool = False,
    repeat: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Train a copy of a backbone, and write it to ``out / "model"`` and what was measured to ``out / "report.json"``.

    Args:
        method: of the verbs ``finetune`` or ``pretrain``.
        backbone: where training starts.
        data: its train split is trained on, val (where there is one) is watched, and test, or else val, is measured
            before, during and after; during the training on at most 1,024 rows.
        fit: settings of the loop.
        run: seed, device, cache. The processes of torchrun train together, and the first one writes.
        out: folder for checkpoints, log, model and report.
        parts: what may learn; "heads" computes the towers once, and a step takes milliseconds.
        unlock: last layers of the other tower that learn too where ``parts`` is one tower; see ``learns``.
        stream: pairs that are trained on in place of a train split; ``data`` is then measured alone. It needs an
            objective.
        saving: ways to train in less memory; None: none.
        crop: least share of the area of random crops, for objectives of pairs; None: whole images.
        recolour: whether colours of crops are changed too.
        templates: prompts of labelled classes.
        elsewhere: labelled data of other tasks, measured before and after.
        kit: other parts, such as a writer.
        scratch: whether the backbone has random weights, which are no reference for a collapse.
        resume: go on with a training that was stopped, or with a finished one where ``fit`` is longer than its own. A
            finished one of the same method, fit, parts and seed is returned as it is.
        repeat: the recipe file that repeats it; "": none is written.
        say: takes remarks.

    Raises:
        UsageError: ``out`` holds a report, or (unless resumed) a model or a log already, an unknown part, crops of
            no such share, a caption that is too long, or fp16 without a GPU, or another training runs in ``out``.
        MissingHook: see ``need_towers``.
        DataError: the data have neither captions nor labels, or one class alone, or no rows to train on that can be
            read, or a row has no caption, or other data have no labels.
        Collapsed: less than a tenth of the spread of images or texts is left, or of what accuracy or recall lay above
            chance by; the model is then in ``out / "doubted"``, and the report says so. During the training this is
            said alone.
    """
    run = join(run)
    Precision(run)  # refuses one that cannot be trained in here, before anything is measured
    again = resume and newest(out / "checkpoints") is not None
    if resume and (ended := read_finished(method, fit, parts, run, out)) is not None:
        return ended
    if again and _lengthens(fit, out / "report.json"):
        (out / "report.json").unlink()  # of the shorter training, whose model is replaced
    taken = ("report.json", *(() if again else ("model", DOUBTED)), *(() if resume else ("log.jsonl",)))
    for path in (out / name for name in taken):
        if path.exists():
            if path.name == "report.json" and resume:
                raise UsageError(
                    f"The training in {out} is finished, as {path} says, with other settings: give those, or another "
                    f"folder."
                )
            raise UsageError(f"{path} exists: give another folder, or resume the training that was stopped there.")
    learnt = learns(backbone, parts, unlock)
    if crop is not None and not 0 < crop <= 1:
        raise UsageError(f"{{crop}} must be in (0, 1], got {crop:g}: give another, or leave it out.")
    need_towers(method, parts)
    if stream is None:
        data, remark = with_splits(data, run.seed)
        if remark:
            say(remark)
    else:
        _check_stream(method, parts, backbone)
    classes = ClassNames(tuple(tidy(c) for c in data.classes), tuple(templates)) if data.classes else None
    if bare := [other.name for other in elsewhere if not other.classes]:
        raise DataError(
            f"{bare[0]} has no classes, by which {{also}} is measured: give labelled data, or leave it out."
        )
    check_told(method, data)
    check_classes(method, data)
    start = time.perf_counter()
    small = "LanguageModel" in method.card.needs.parts and (parts == "heads" or not has_decoder(backbone))
    writes = [WordIds((), WORDS_READ).ids] if small else []
    check_captions(data, data.splits, backbone.text.inputs, *writes)
    going_on = announced(
        say, "the same training with {resume} goes on from there", out if run.world.rank == 0 else None
    )
    with sole(replace(run, out=out)), with_store(of_encoders(run)) as stored, going_on:
        space: Backbone = Headed(backbone) if parts == "heads" else backbone
        saving = saving or Saving()
        taught = saving.of(space)
        data, failed = only_readable(data, data.splits, space, stored)
        others = [only_readable(by_labels(other), [measured_split(other)], space, stored) for other in elsewhere]
        elsewhere, failed = (
            [other for other, _ in others],
            (*failed, *(error for _, broken in others for error in broken)),
        )
        if failed:
            say(f"{number_of(len(failed), 'photo')} cannot be read, and left out; the first: {failed[0]}.")
        measuring = Measuring(data, classes, elsewhere, templates, stored, scratch)
        before = measuring(space)
        tables = {n: paired(t, classes, method) for n, t in data.splits.items() if n in ("train", "val")}
        if isinstance(space, Headed):
            tables = {n: on_trunks(space, t, stored) for n, t in tables.items()}
        evidence = Evidence(train=tables.get("train"), val=tables.get("val"))
        rows = 0 if evidence.train is None else len(evidence.train) // run.world.size * run.world.size
        if 2 <= rows < fit.batch:
            say(f"The rows to learn from do not fill a batch of {fit.batch}: a step takes {rows}.")
            fit = replace(fit, batch=rows)
        more = {**decoder_for(method, space, evidence.train, run), **(kit or {})}
        made = train_space(
            method,
            Kit({"main": taught, **more}),
            evidence,
            fit,
            replace(stored, out=out, precision=run.precision),
            classes=classes,
            learns=learnt,
            resume=resume,
            stream=stream,
            crop=crop,
            recolour=recolour,
            text_tokens=saving.text_tokens,
            watch=watcher(measuring, space, before, say) if fit.watch_every != 0 else None,
        )
        assert isinstance(made.space, Backbone)  # a recipe that is given a backbone gives one back
        if stream is not None:
            unread = read_skipped(out / SKIPPED, NAMED)
            failed = (*failed, *(UnreadableItem(row["path"], row["reason"]) for row in unread))
        saving.undo(made.space)
        after = measuring(made.space)
        trained = made.space.whole if isinstance(made.space, (Headed, LanguageSpace)) else made.space
        doubt: Collapsed | None = None
        try:
            measuring.refuse_collapse(before, after)
        except Collapsed as error:
            doubt = error
        folder = out / (DOUBTED if doubt else "model")
        first = run.world.rank == 0
        for earlier in (out / "model", out / DOUBTED) if first else ():
            if earlier.exists():
                shutil.rmtree(earlier)
        if first:
            save(trained, folder, made.parts)
        names = [n for n, _ in backbone.module().named_parameters() if learnt(n)]
        count = sum(p.numel() for n, p in backbone.module().named_parameters() if n in set(names))
        facts = {
            "method": method.card.slug,
            "backbone": backbone.spec.name,
            "fingerprint_before": backbone.fingerprint,
            "fingerprint": trained.fingerprint,
            "data": data.name,
            "parts": parts,
            "may_learn": count,
            "fit": fit.as_dict(),
            "seed": run.seed,
            "steps": made.log[-1]["step"] if made.log else 0,
            "during": [record for record in made.log if any(f"{data.name}/" in name for name in record)],
            "templates": list(templates) if classes else None,
            "seconds": round(time.perf_counter() - start, 2),
            "beside": sorted(made.parts),
            **({"doubt": str(doubt)} if doubt else {}),
        }
        tuned = Tuned(trained, before, after, facts, folder, failed)
        if first:
            if repeat:
                write_whole(out / "recipe.toml", repeat, overwrite=True)
            write_json(out / "report.json", tuned.as_dict())  # last: a model without it is made again by ``resume``
        if doubt:
            raise Collapsed(f"{doubt} The model is written apart, to {folder}: load it to see what it still knows.")
        return tuned


def read_finished(method: Objective | Recipe, fit: Fit, parts: str, run: Run, out: Path) -> Tuned | None:
    """Return the training that is finished in a folder, as its report says; None where there is none of these settings.

    Raises:
        Collapsed: its model was doubted.
    """
    try:
        report = read_json(out / "report.json")
    except DataError:
        return None
    facts = {k: v for k, v in report.items() if k not in ("before", "after", "skipped", "folder")}
    asked = {"method": method.card.slug, "parts": parts, "seed": run.seed}
    fits = [
        {k: v for k, v in each.items() if k not in CHANGES_NOTHING}
        for each in (plain(fit.as_dict()), facts.get("fit", {}))
    ]
    if fits[0] != fits[1] or any(facts.get(name) != value for name, value in asked.items()):
        return None
    folder = out / (DOUBTED if "doubt" in facts else "model")
    if "doubt" in facts:
        raise Collapsed(
            f"{facts['doubt']} The model is written apart, to {folder}: load it to see what it still knows."
        )
    failed = tuple(UnreadableItem(each["path"], each["reason"]) for each in report.get("skipped", ()))
    trained = load(f"local:{folder}", device=run.device)
    return Tuned(trained, report["before"], report["after"], facts, folder, failed)


def _lengthens(fit: Fit, report: Path) -> bool:
    """Return whether a fit is longer than that of a finished training, in the same unit."""
    if not report.exists():
        return False
    before = read_json(report).get("fit")
    if not isinstance(before, dict):
        return False
    now = fit.as_dict()
    return any(before.get(name) and now[name] and now[name] > before[name] for name in LENGTHS)


def learns(backbone: Backbone, parts: str, unlock: int = 0) -> Learns:
    """Return which parameters of a backbone's module may be trained.

    Args:
        backbone: any.
        parts: "all", "heads", "image" or "text".
        unlock: where it is one tower, the number of last layers of the other that learn too: 1 is what follows its
            blocks, 2 adds the last block, and so on.

    Raises:
        UsageError: an unknown part, or layers of another tower where there is no other.
    """
    if parts not in ("all", "heads", "image", "text"):
        raise UsageError(f"There is no part {parts!r}: choose all, heads, image or text.")
    if unlock and parts not in ("image", "text"):
        raise UsageError(
            f"{{unlock}} {unlock} opens layers of the tower that {{parts}} image or text locks, not {parts}."
        )
    if parts == "all":
        return everything
    if parts == "heads":
        return head_names(backbone).__contains__
    names = [n for n, _ in backbone.module().named_parameters()]
    other = last_layers(names, "text" if parts == "image" else "image", unlock)
    return frozenset(n for n in names if n in other or (tower_of(n) == "image") == (parts == "image")).__contains__


def _check_stream(method: Objective | Recipe, parts: str, backbone: Backbone) -> None:
    """Check that a system can be trained on pairs that pass by once.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(method, Recipe) and not method.passes_once and type(method).of_stream is Recipe.of_stream:
        raise UsageError(f"{method.card.slug} reads its rows more than once: give a table, not a stream.")
    if parts == "heads":
        raise UsageError("Heads learn from vectors that are computed before: give a table, or {parts} all.")
    if "LanguageModel" in method.card.needs.parts and not has_decoder(backbone):
        raise UsageError(
            f"{method.card.slug} needs the words of all captions for its small decoder: give a table, or a CoCa."
        )


def need_towers(method: Objective | Recipe, parts: str) -> None:
    """Check that a system which works inside a tower is not given heads alone, nor the one that it never reads.

    Raises:
        MissingHook: it is.
    """
    hooks = method.card.needs.hooks
    if parts == "text" and "tower:image" in hooks and "text" not in hooks:
        raise MissingHook(f"{method.card.slug} trains the image tower alone: give {{parts}} image, or all.")
    inside = [hook for hook in hooks if hook.startswith("tower:")]
    if parts == "heads" and inside:
        raise MissingHook(
            f"{method.card.slug} works inside {', '.join(inside)}, and heads have no tower: give {{parts}} all."
        )


def paired(table: Table[Any], classes: ClassNames | None, method: Objective | Recipe) -> Table[Any]:
    """Give labelled rows the prompts of their class as captions, where the method is an objective of pairs."""
    if "captions" in table.columns or not isinstance(method, Objective) or classes is None:
        return table
    prompts = classes.prompts()
    return Table(
        table.items, {**table.columns, "captions": Column("captions", tuple(tuple(prompts[k]) for k in table.labels()))}
    )


def decoder_for(method: Objective | Recipe, space: Backbone, rows: Table[Any] | None, run: Run) -> dict[str, Any]:
    """Return a small decoder for objectives that write, where the space has none of its own."""
    if "LanguageModel" not in method.card.needs.parts or has_decoder(space):
        return {}
    if rows is None or "captions" not in rows.columns:
        return {}
    words = WordIds.of([c for own in rows.columns["captions"].values for c in own], context=WORDS_READ)
    with run.seeded("decoder"):
        return {WORDS: words, DECODER: SmallLM(len(words), context=words.context, memory=space.spec.dim)}
