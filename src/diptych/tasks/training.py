"""``diptych finetune`` and ``diptych pretrain``: train a copy of a backbone, measure it before and after, refuse a
collapse, write it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.backbones.language_space import LanguageSpace
from diptych.backbones.sources.save import save
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Table, Texts
from diptych.core.errors import Collapsed, MissingHook, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Learns, Objective, Recipe, everything, of_image
from diptych.data.files import write_json
from diptych.data.labelled import LabelledData
from diptych.data.words.classnames import tidy
from diptych.features.embed import embed
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.features.heads import text_head
from diptych.metrics.retrieval import class_precision, first_ranks, recall_at
from diptych.metrics.spread import modality_gap, spread
from diptych.nn.text.small_lm import SmallLM
from diptych.tasks.classify import with_store
from diptych.tasks.training_data import (
    by_labels,
    check_captions,
    check_told,
    measured_split,
    only_readable,
    with_splits,
)
from diptych.train.captioning import WordIds, has_decoder
from diptych.train.checkpoint import newest
from diptych.train.distributed import join
from diptych.train.recipe import DECODER, WORDS, train_space
from diptych.train.schedule import Fit

COLLAPSE = 0.1
"""Share of the spread before that must be left after."""
SAMPLE = 512
"""Items on which the spread is measured."""
SEARCHED = 4096
"""Photos that search each other, at most."""
WORDS_READ = 256
"""Longest caption of the small decoder, in words and marks, start and end included."""


@dataclass(frozen=True)
class Tuned:
    """What a training made.

    Args:
        backbone: trained, as it was written.
        before, after: data set -> metric -> value; "spread" and "gap" stand under the data trained on.
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
    templates: Sequence[str] = ("a photo of a {}.",),
    elsewhere: Sequence[LabelledData] = (),
    kit: Mapping[str, Any] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Train a copy of a backbone, and write it to ``out / "model"`` and what was measured to ``out / "report.json"``.

    Args:
        method: of the verbs ``finetune`` or ``pretrain``.
        backbone: where training starts.
        data: its train split is trained on, val (where there is one) is watched, and test, or else val, is measured
            before and after.
        fit: settings of the loop.
        run: seed, device, cache. The processes of torchrun and ``accelerate launch`` train together, and the first
            one writes.
        out: folder for checkpoints, log, model and report.
        parts: what may learn; "heads" computes the towers once, and a step takes milliseconds.
        templates: prompts of labelled classes.
        elsewhere: labelled data of other tasks, measured before and after.
        kit: other parts, such as a writer.
        resume: go on with a training that was stopped.
        say: takes remarks.

    Raises:
        UsageError: ``out`` holds a report, or (unless resumed) a model or a log already, an unknown part, or a caption
            that is too long.
        MissingHook: see ``need_towers``.
        DataError: the data have neither captions nor labels, or no rows to train on that can be read, or a row has no
            caption.
        Collapsed: less than a tenth of the spread of images or texts is left; checkpoints and log stay, no model is
            written.
    """
    run = join(run)
    again = resume and newest(out / "checkpoints") is not None
    taken = ("report.json", *(() if again else ("model",)), *(() if resume else ("log.jsonl",)))
    for path in (out / name for name in taken):
        if path.exists():
            raise UsageError(f"{path} exists: give another folder, or resume the training that was stopped there.")
    learnt = learns(backbone, parts)
    need_towers(method, parts)
    data, remark = with_splits(data, run.seed)
    if remark:
        say(remark)
    classes = ClassNames(tuple(tidy(c) for c in data.classes), tuple(templates)) if data.classes else None
    check_told(method, data)
    start = time.perf_counter()
    small = "LanguageModel" in method.card.needs.parts and (parts == "heads" or not has_decoder(backbone))
    writes = [WordIds((), WORDS_READ).ids] if small else []
    check_captions(data, data.splits, backbone.text.inputs, *writes)
    with with_store(run) as stored:
        space: Backbone = Headed(backbone) if parts == "heads" else backbone
        data, failed = only_readable(data, data.splits, space, stored)
        others = [only_readable(by_labels(other), [measured_split(other)], space, stored) for other in elsewhere]
        elsewhere, failed = (
            [other for other, _ in others],
            (*failed, *(error for _, broken in others for error in broken)),
        )
        if failed:
            say(f"{len(failed)} photos cannot be read and are left out; the first: {failed[0]}.")
        before = measured(space, data, classes, elsewhere, templates, stored)
        tables = {n: paired(t, classes, method) for n, t in data.splits.items() if n in ("train", "val")}
        if isinstance(space, Headed):
            tables = {n: on_trunks(space, t, stored) for n, t in tables.items()}
        evidence = Evidence(train=tables["train"], val=tables.get("val"))
        more = {**decoder_for(method, space, tables["train"], run), **(kit or {})}
        training = replace(stored, out=out)
        made = train_space(
            method, Kit({"main": space, **more}), evidence, fit, training, classes=classes, learns=learnt, resume=resume
        )
        assert isinstance(made.space, Backbone)  # a recipe that is given a backbone gives one back
        after = measured(made.space, data, classes, elsewhere, templates, stored)
    trained = made.space.whole if isinstance(made.space, (Headed, LanguageSpace)) else made.space
    for kind in (k for k in ("image_spread", "text_spread") if k in before[data.name]):
        if after[data.name][kind] < COLLAPSE * before[data.name][kind]:
            raise Collapsed(
                f"The {kind.split('_')[0]} embeddings collapsed: their spread fell from {before[data.name][kind]:.3f} "
                f"to"
                f" {after[data.name][kind]:.3f}. Train with a lower learning rate, fewer steps or larger batches."
            )
    first = run.world.rank == 0
    if first and (out / "model").exists():
        shutil.rmtree(out / "model")
    if first:
        save(trained, out / "model", made.parts)
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
        "templates": list(templates) if classes else None,
        "seconds": round(time.perf_counter() - start, 2),
        "beside": sorted(made.parts),
    }
    tuned = Tuned(trained, before, after, facts, out / "model", failed)
    if first:
        write_json(out / "report.json", tuned.as_dict())  # last: a model without it is made again by ``resume``
    return tuned


def learns(backbone: Backbone, parts: str) -> Learns:
    """Return which parameters of a backbone's module may be trained.

    Raises:
        UsageError: an unknown part.
    """
    if parts == "all":
        return everything
    if parts == "heads":
        return head_names(backbone).__contains__
    if parts not in ("image", "text"):
        raise UsageError(f"There is no part {parts!r}: choose all, heads, image or text.")
    return lambda name: of_image(name) == (parts == "image")


def need_towers(method: Objective | Recipe, parts: str) -> None:
    """Check that a system which works inside a tower is not given heads alone, nor the one that it never reads.

    Raises:
        MissingHook: it is.
    """
    hooks = method.card.needs.hooks
    if parts == "text" and "tower:image" in hooks and "text" not in hooks:
        raise MissingHook(f"{method.card.slug} trains the image tower alone: give --parts image, or all.")
    inside = [hook for hook in hooks if hook.startswith("tower:")]
    if parts == "heads" and inside:
        raise MissingHook(
            f"{method.card.slug} works inside {', '.join(inside)}, and heads have no tower: give --parts all."
        )


def measured(
    backbone: Backbone,
    data: LabelledData,
    classes: ClassNames | None,
    elsewhere: Sequence[LabelledData],
    templates: Sequence[str],
    run: Run,
) -> dict[str, dict[str, float]]:
    """Return data set -> metrics: acc1 where there are labels, recall where there are captions, and the data's own mAP
    of photos that search photos of their class, spread and gap; of images alone there is the spread of the images.
    """
    out = {data.name: _metrics(backbone, data.split(measured_split(data)), classes, run, geometry=True)}
    for other in elsewhere:
        names = ClassNames(tuple(tidy(c) for c in other.classes), tuple(templates))
        out[other.name] = _metrics(backbone, other.split(measured_split(other)), names, run, geometry=False)
    return out


def _metrics(
    backbone: Backbone, table: Table[Any], classes: ClassNames | None, run: Run, *, geometry: bool
) -> dict[str, float]:
    if isinstance(backbone, Headed):
        table = on_trunks(backbone, table, run)  # so the towers see a photo once, before and after
    x = normalize(embed(backbone.image, table.items, run), dim=-1)
    out: dict[str, float] = {}
    texts: torch.Tensor | None = None
    if "captions" in table.columns:
        captions = [tuple(c) for c in table.columns["captions"].values]
        texts = normalize(embed(backbone.text, Texts(tuple(t for own in captions for t in own)), run), dim=-1)
        scores: NDArray[Any] = (x @ texts.T).double().numpy()
        owner = np.repeat(np.arange(len(captions)), [len(c) for c in captions])
        relevant = owner[None] == np.arange(len(captions))[:, None]
        for k in (1, 5):
            out[f"image_retrieval_recall@{k}"] = recall_at(first_ranks(scores.T, relevant.T), k)
            out[f"text_retrieval_recall@{k}"] = recall_at(first_ranks(scores, relevant), k)
    elif classes is not None:
        texts = text_head(backbone, classes.prompts(), run)
        out["acc1"] = float(((x @ texts.T).argmax(1).numpy() == table.labels()).mean())
    if geometry and "label" in table.columns:
        rows = np.linspace(0, len(x) - 1, min(len(x), SEARCHED)).astype(int)
        found = class_precision(x.numpy()[rows], table.labels()[rows])
        out |= {} if np.isnan(found).all() else {"image_to_image_map": float(np.nanmean(found))}
    if geometry:
        a = x[:SAMPLE].numpy()
        out["image_spread"] = spread(a)
        if texts is not None:
            b = texts[:SAMPLE].numpy()
            out |= {"text_spread": spread(b), "gap": modality_gap(a, b)}
    return out


def paired(table: Table[Any], classes: ClassNames | None, method: Objective | Recipe) -> Table[Any]:
    """Give labelled rows the prompts of their class as captions, where the method is an objective of pairs."""
    if "captions" in table.columns or not isinstance(method, Objective) or classes is None:
        return table
    prompts = classes.prompts()
    return Table(
        table.items, {**table.columns, "captions": Column("captions", tuple(tuple(prompts[k]) for k in table.labels()))}
    )


def decoder_for(method: Objective | Recipe, space: Backbone, rows: Table[Any], run: Run) -> dict[str, Any]:
    """Return a small decoder for objectives that write, where the space has none of its own."""
    if "LanguageModel" not in method.card.needs.parts or has_decoder(space) or "captions" not in rows.columns:
        return {}
    words = WordIds.of([c for own in rows.columns["captions"].values for c in own], context=WORDS_READ)
    with run.seeded("decoder"):
        return {WORDS: words, DECODER: SmallLM(len(words), context=words.context, memory=space.spec.dim)}
