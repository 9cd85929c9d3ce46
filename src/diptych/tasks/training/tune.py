"""``diptych finetune`` and ``pretrain``: train a copy of a backbone, measure it, refuse a collapse, write it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.backbones.language_space import LanguageSpace
from diptych.backbones.sources.save import save
from diptych.core import (
    Backbone,
    ClassNames,
    Collapsed,
    Column,
    DataError,
    Evidence,
    Kit,
    Objective,
    Recipe,
    Run,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import number_of
from diptych.data.files import write_json, write_whole
from diptych.data.labelled import LabelledData
from diptych.data.skipped import FILE as SKIPPED
from diptych.data.skipped import read_skipped
from diptych.data.words.classnames import tidy
from diptych.features.artefacts import begins
from diptych.features.frozen import Headed, on_trunks
from diptych.nn.text.small_lm import SmallLM
from diptych.tasks.classify import with_store
from diptych.tasks.training.data import (
    by_labels,
    check_captions,
    check_classes,
    measured_split,
    need_labels_or_captions,
    only_readable,
    with_splits,
)
from diptych.tasks.training.learns import check_stream, learns, need_towers
from diptych.tasks.training.measures import Measuring, watcher
from diptych.tasks.training.tuned import DOUBTED, Tuned, check_free, lengthens, read_finished
from diptych.train.began import began_with, beginning_with
from diptych.train.captioning import WordIds, has_decoder
from diptych.train.checkpoint import newest
from diptych.train.distributed import join
from diptych.train.length import Length
from diptych.train.lock import sole
from diptych.train.memory import Saving
from diptych.train.precision import Precision, of_encoders
from diptych.train.recipe import DECODER, WORDS, train_space
from diptych.train.schedule import Fit
from diptych.train.stopping import announced
from diptych.train.streams import Streamed

NAMED = 1000
"""Items of a stream that cannot be read which a report names; all are in skipped.csv."""
WORDS_READ = 256
"""Longest caption of the small decoder, in words and marks, start and end included."""


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
            no such share, a caption that is too long, or fp16 without a GPU, or another training runs in ``out``, or
            one to resume began with something else, see ``train.began``.
        MissingHook: see ``need_towers``.
        DataError: the data have neither captions nor labels, or one class alone, or no rows to train on that can be
            read, or a row has no caption, or other data have no labels.
        Collapsed: less than a tenth of the spread of images or texts is left, or of what accuracy or recall lay above
            chance by; the model is then in ``out / "doubted"``, and the report says so. During the training this is
            said alone.
    """
    run = join(run)
    Precision(run)  # refuses one that cannot be trained in here, before anything is measured
    of = begins(
        method, {"backbone": backbone, **(kit or {})}, parts=parts, unlock=unlock, crop=crop, recolour=recolour,
        templates=tuple(templates), **_content(data),
    )  # fmt: skip
    if resume and (differ := began_with(out, of)):
        raise UsageError(
            f"The training in {out} began with something else ({differ}): give the same, or another {{out}}."
        )
    if resume and (ended := read_finished(method, fit, parts, run, out)) is not None:
        return ended
    longer = resume and newest(out / "checkpoints") is not None and lengthens(fit, out / "report.json")
    check_free(out, resume=resume, longer=longer)
    learnt = learns(backbone, parts, unlock)
    if crop is not None and not 0 < crop <= 1:
        raise UsageError(f"{{crop}} must be in (0, 1], got {crop:g}: give another, or leave it out.")
    need_towers(method, parts)
    if stream is None:
        data, remark = with_splits(data, run.seed)
        if remark:
            say(remark)
    else:
        check_stream(method, backbone)
    classes = ClassNames(tuple(tidy(c) for c in data.classes), tuple(templates)) if data.classes else None
    if bare := [other.name for other in elsewhere if not other.classes]:
        raise DataError(
            f"{bare[0]} has no classes, by which {{also}} is measured: give labelled data, or leave it out."
        )
    need_labels_or_captions(method, data)
    check_classes(method, data)
    start = time.perf_counter()
    small = "LanguageModel" in method.card.needs.parts and (parts == "heads" or not has_decoder(backbone))
    writes = [WordIds((), WORDS_READ).ids] if small else []
    check_captions(data, data.splits, backbone.text.inputs, *writes)
    going_on = announced(
        say, "the same training with {resume} goes on from there", out if run.world.rank == 0 else None
    )
    with sole(replace(run, out=out)), with_store(of_encoders(run)) as stored, going_on, beginning_with(of):
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
            say(f"{number_of(len(failed), 'unreadable photo')} left out; the first: {failed[0]}.")
        measuring = Measuring(data, classes, elsewhere, templates, stored, scratch)
        before = measuring(space)
        tables = {n: paired(t, classes, method) for n, t in data.splits.items() if n in ("train", "val")}
        if isinstance(space, Headed):
            tables = {n: on_trunks(space, t, stored) for n, t in tables.items()}
        evidence = Evidence(train=tables.get("train"), val=tables.get("val"))
        rows = 0 if evidence.train is None else len(evidence.train) // run.world.size * run.world.size
        batch = fit.batch
        if 2 <= rows < batch:
            say(f"The rows to learn from do not fill a batch of {batch}: a step takes {rows}.")
            batch = rows
        steps = Length(fit, run.device).steps(0, 0.0, lambda: rows // batch)
        if fit.seconds is None and fit.schedule.warm(steps) >= steps > 1:
            say(f"The warm-up takes all {steps} steps, so most learn at less than {fit.lr:g}: give a shorter one.")
        more = {**decoder_for(method, space, evidence.train, run), **(kit or {})}
        result = train_space(
            method,
            Kit({"main": taught, **more}),
            evidence,
            replace(fit, batch=batch),
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
        assert isinstance(result.space, Backbone)  # a recipe that is given a backbone gives one back
        if stream is not None:
            unread = read_skipped(out / SKIPPED, NAMED)
            failed = (*failed, *(UnreadableItem(row["path"], row["reason"]) for row in unread))
        saving.undo(result.space)
        after = measuring(result.space)
        trained = result.space.whole if isinstance(result.space, (Headed, LanguageSpace)) else result.space
        doubt: Collapsed | None = None
        try:
            measuring.refuse_collapse(before, after)
        except Collapsed as error:
            doubt = error
        folder = out / (DOUBTED if doubt else "model")
        first = run.world.rank == 0
        if first:  # only now: what refuses to be lengthened, or stops on the way, is as finished as it was
            (out / "report.json").unlink(missing_ok=True)
        for earlier in (out / "model", out / DOUBTED) if first else ():
            if earlier.exists():
                shutil.rmtree(earlier)
        if first:
            save(trained, folder, result.parts)
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
            "batch": batch,
            "steps": result.log[-1]["step"] if result.log else 0,
            "during": [record for record in result.log if any(f"{data.name}/" in name for name in record)],
            "templates": list(templates) if classes else None,
            "seconds": round(time.perf_counter() - start, 2),
            "beside": sorted(result.parts),
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
    words = WordIds.of([c for captions in rows.columns["captions"].values for c in captions], context=WORDS_READ)
    with run.seeded("decoder"):
        return {WORDS: words, DECODER: SmallLM(len(words), context=words.context, memory=space.spec.dim)}


def _content(data: LabelledData) -> dict[str, str]:
    """Return {"data": hash of all items}; {} where a file is missing, whose row is left out later."""
    try:
        return {"data": data.hash}
    except UnreadableItem:
        return {}
