"""``diptych finetune`` and ``diptych pretrain``: train a copy of a backbone, measure it before and after, refuse a collapse, write it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.backbones.save import save
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Samples, Table, Texts
from diptych.core.errors import Collapsed, DataError, MissingHook, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Learns, Objective, Recipe, everything
from diptych.data.classnames import tidy
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, LabelledData
from diptych.data.load import open_data
from diptych.data.places import captions_table, located
from diptych.data.rows import read_columns
from diptych.features.embed import embed, embed_readable
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.features.heads import text_head
from diptych.features.pipeline import cores
from diptych.features.small_lm import SmallLM
from diptych.metrics.retrieval import first_ranks, recall_at
from diptych.metrics.spread import modality_gap, spread
from diptych.tasks.classify import with_store
from diptych.train.captioning import WordIds
from diptych.train.recipe import DECODER, WORDS, train_space
from diptych.train.schedule import Fit

CAPTION_COLUMNS = ("caption*", "title", "text", "sentence*")
IMAGE_PARTS = ("visual", "vision_model", "image")
"""First names of the parameters of image towers: open_clip, transformers, lite."""
COLLAPSE = 0.1
"""Share of the spread before that must be left after."""
SAMPLE = 512
"""Items on which the spread is measured."""
CHUNK = 256
"""Photos that are looked at between two signs of progress."""
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
        skipped = [{"path": e.name, "reason": e.reason} for e in self.failed]
        return {**self.facts, "before": self.before, "after": self.after, "skipped": skipped, "folder": str(self.folder)}


def open_pairs_or_classes(spec: str, captions: str | None, keys: FileKeys | None) -> LabelledData:
    """Open a data set that has labels or captions.

    Args:
        spec: as ``open_data``; a table may name captions in columns, and so may captions.csv in a folder without train and test folders.
        captions: column or pattern such as "caption_*"; None looks for the usual names.
        keys: remembers content keys.

    Raises:
        DataError: there is no column of that name.
    """
    path = located(spec)
    if path.is_dir() and not any(p.name.lower() in SPLIT_NAMES for p in path.iterdir()):
        path = captions_table(spec)
    if not (path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")):
        return open_data(spec, keys)
    import fnmatch

    names = list(read_columns(path))
    found = next((p for p in ([captions] if captions else CAPTION_COLUMNS) if fnmatch.filter(names, p)), None)
    if found is None and captions:
        raise DataError(f"{path} has no column {captions!r}, only {', '.join(names)[:300]}: name the column with captions.")
    if found is None:
        return open_data(spec, keys)
    items = next((c for c in ("path", "filepath", "image", "image_path") if c in names), "path")
    return read_typed(path, {"captions": Typed("captions", found)}, items)


def with_splits(data: LabelledData, seed: int) -> tuple[LabelledData, str]:
    """Return data with a train split, and what was done to get one: a tenth of undivided rows is held out by the seed."""
    if "train" in data.splits:
        return data, ""
    table = next(iter(data.splits.values()))
    if len(data.splits) > 1 or len(table) < 10:
        raise DataError(f"{data.name} has no train split: give train and test folders, or a column 'split'.")
    order = np.random.default_rng(Run(seed=seed).integer("split")).permutation(len(table))
    cut = len(table) // 10
    splits = {"train": table.take(np.sort(order[cut:]).tolist()), "test": table.take(np.sort(order[:cut]).tolist())}
    return replace(data, splits=splits), f"{data.name} has no train split: {cut} of {len(table)} rows, drawn by the seed, are held out."


def measured_split(data: LabelledData) -> str:
    """Return the split that is measured on: test, or else val, or else what is trained on."""
    return next((s for s in ("test", "val") if len(data.splits.get(s, ()))), "train")


def only_readable(data: LabelledData, splits: Iterable[str], space: Backbone, run: Run) -> tuple[LabelledData, tuple[UnreadableItem, ...]]:
    """Return some splits of data without the photos that cannot be read, and why they cannot.

    What is measured is embedded in any case, and so is what heads learn from: those vectors are made here, and stay in the store. The
    photos that whole towers learn from are decoded once.

    Args:
        data: images.
        splits: those that are wanted.
        space: what is trained; ``Headed`` where heads alone learn.
        run: device, cache and threads.

    Raises:
        DataError: no photo of a split can be read.
    """
    kept: dict[str, Table[Any]] = {}
    failed: list[UnreadableItem] = []
    for split in splits:
        table = data.split(split)
        if isinstance(space, Headed) or split == measured_split(data):
            found = embed_readable(space.trunks["image"] if isinstance(space, Headed) else space.image, table.items, run)
            rows, broken = found.kept.tolist(), found.failed
        else:
            rows, broken = _decodable(table.items, run)
        if len(table) and not rows:
            raise DataError(f"None of the {len(table)} photos of {data.name}, {split}, can be read; the first: {broken[0]}.")
        kept[split] = table.take(rows) if broken else table
        failed += broken
    return replace(data, splits=kept), tuple(failed)


def _decodable(items: Samples[Any], run: Run) -> tuple[list[int], tuple[UnreadableItem, ...]]:
    """Return the positions of the items that can be read, and why the others cannot."""

    def trouble(i: int) -> UnreadableItem | None:
        try:
            items[i]
        except UnreadableItem as error:
            return error
        return None

    found: list[UnreadableItem | None] = []
    with run.track("check photos", len(items)) as bar, ThreadPoolExecutor(run.workers or cores()) as pool:
        for start in range(0, len(items), CHUNK):  # so that few are queued, and Ctrl-C waits for few
            found += pool.map(trouble, range(start, min(start + CHUNK, len(items))))
            bar.advance(len(found) - start)
    return [i for i, error in enumerate(found) if error is None], tuple(error for error in found if error is not None)


def by_labels(data: LabelledData) -> LabelledData:
    """Return data without captions where there are labels: what is measured on them beside a training is their classes."""
    if not data.classes:
        return data
    splits = {s: Table(t.items, {n: c for n, c in t.columns.items() if n != "captions"}) for s, t in data.splits.items()}
    return replace(data, splits=splits)


def check_captions(data: LabelledData, splits: Iterable[str], *readers: Callable[[Sequence[str]], Any]) -> None:
    """Check that every row has captions and that they are read whole: a training would meet the others in its middle.

    Args:
        data: where there are no captions, nothing is checked.
        splits: those that are wanted.
        readers: what turns texts into inputs, and refuses those that are too long.

    Raises:
        DataError: a row has no caption.
        UsageError: a reader refuses one.
    """
    for table in (data.split(split) for split in splits):
        for i, own in enumerate(table.columns["captions"].values if "captions" in table.columns else ()):
            texts = [own] if isinstance(own, str) else list(own)
            if not any(texts):
                raise DataError(f"{table.items.name(i)} of {data.name} has no caption: fill it, or remove the row.")
            try:
                for read in readers:
                    read(texts)
            except UsageError as error:
                raise UsageError(f"{table.items.name(i)}: {error}") from None


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
    """Train a copy of a backbone and write it to ``out / "model"``.

    Args:
        method: of the verbs ``finetune`` or ``pretrain``.
        backbone: where training starts.
        data: its train split is trained on, val (where there is one) is watched, and test, or else val, is measured before and after.
        fit: settings of the loop.
        run: seed, device, cache.
        out: folder for checkpoints, log, model and report.
        parts: what may learn; "heads" computes the towers once, and a step takes milliseconds.
        templates: prompts of labelled classes.
        elsewhere: labelled data of other tasks, measured before and after.
        kit: other parts, such as a writer.
        resume: go on with a training that was stopped.
        say: takes remarks.

    Raises:
        UsageError: ``out`` holds a model already, an unknown part, or a caption that is too long.
        MissingHook: see ``need_towers``.
        DataError: the data have neither captions nor labels, or no rows to train on that can be read, or a row has no caption.
        Collapsed: less than a tenth of the spread of images or texts is left; checkpoints and log stay, no model is written.
    """
    if (out / "model").exists():
        raise UsageError(f"{out / 'model'} exists: give another folder.")
    learnt = learns(backbone, parts)
    need_towers(method, parts)
    data, remark = with_splits(data, run.seed)
    if remark:
        say(remark)
    classes = ClassNames(tuple(tidy(c) for c in data.classes), tuple(templates)) if data.classes else None
    start = time.perf_counter()
    writes = [WordIds((), WORDS_READ).ids] if "LanguageModel" in method.card.needs.parts else []
    check_captions(data, data.splits, backbone.text.inputs, *writes)
    with with_store(run) as stored:
        space: Backbone = Headed(backbone) if parts == "heads" else backbone
        data, failed = only_readable(data, data.splits, space, stored)
        others = [only_readable(by_labels(other), [measured_split(other)], space, stored) for other in elsewhere]
        elsewhere, failed = [other for other, _ in others], (*failed, *(error for _, broken in others for error in broken))
        if failed:
            say(f"{len(failed)} photos cannot be read and are left out; the first: {failed[0]}.")
        before = measured(space, data, classes, elsewhere, templates, stored)
        tables = {n: paired(t, classes, method) for n, t in data.splits.items() if n in ("train", "val")}
        if isinstance(space, Headed):
            tables = {n: on_trunks(space, t, stored) for n, t in tables.items()}
        evidence = Evidence(train=tables["train"], val=tables.get("val"))
        more = {**decoder_for(method, space, tables["train"], run), **(kit or {})}
        training = replace(stored, out=out)
        made = train_space(method, Kit({"main": space, **more}), evidence, fit, training, classes=classes, learns=learnt, resume=resume)
        assert isinstance(made.space, Backbone)  # a recipe that is given a backbone gives one back
        after = measured(made.space, data, classes, elsewhere, templates, stored)
    trained = made.space.whole if isinstance(made.space, Headed) else made.space
    for kind in ("image_spread", "text_spread"):
        if after[data.name][kind] < COLLAPSE * before[data.name][kind]:
            raise Collapsed(
                f"The {kind.split('_')[0]} embeddings collapsed: their spread fell from {before[data.name][kind]:.3f} to"
                f" {after[data.name][kind]:.3f}. Train with a lower learning rate, fewer steps or larger batches."
            )
    save(trained, out / "model")
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
    return Tuned(trained, before, after, facts, out / "model", failed)


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
    return lambda name: name.startswith(IMAGE_PARTS) == (parts == "image")


def need_towers(method: Objective | Recipe, parts: str) -> None:
    """Check that a system which works inside a tower is not given heads alone.

    Raises:
        MissingHook: it is.
    """
    inside = [hook for hook in method.card.needs.hooks if hook.startswith("tower:")]
    if parts == "heads" and inside:
        raise MissingHook(f"{method.card.slug} works inside {', '.join(inside)}, and heads have no tower: give --parts all.")


def measured(
    backbone: Backbone,
    data: LabelledData,
    classes: ClassNames | None,
    elsewhere: Sequence[LabelledData],
    templates: Sequence[str],
    run: Run,
) -> dict[str, dict[str, float]]:
    """Return data set -> metrics: acc1 where there are labels, recall where there are captions, and spread and gap of the data's own."""
    out = {data.name: _metrics(backbone, data.split(measured_split(data)), classes, run, geometry=True)}
    for other in elsewhere:
        names = ClassNames(tuple(tidy(c) for c in other.classes), tuple(templates))
        out[other.name] = _metrics(backbone, other.split(measured_split(other)), names, run, geometry=False)
    return out


def _metrics(backbone: Backbone, table: Table[Any], classes: ClassNames | None, run: Run, *, geometry: bool) -> dict[str, float]:
    if isinstance(backbone, Headed):
        table = on_trunks(backbone, table, run)  # so the towers see a photo once, before and after
    x = normalize(embed(backbone.image, table.items, run), dim=-1)
    out: dict[str, float] = {}
    texts: torch.Tensor
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
    else:
        raise DataError("These data have neither labels nor captions: give class folders, or a table with a column 'caption'.")
    if geometry:
        a, b = x[:SAMPLE].numpy(), texts[:SAMPLE].numpy()
        out |= {"image_spread": spread(a), "text_spread": spread(b), "gap": modality_gap(a, b)}
    return out


def paired(table: Table[Any], classes: ClassNames | None, method: Objective | Recipe) -> Table[Any]:
    """Give labelled rows the prompts of their class as captions, where the method is an objective of pairs."""
    if "captions" in table.columns or not isinstance(method, Objective) or classes is None:
        return table
    prompts = classes.prompts()
    return Table(table.items, {**table.columns, "captions": Column("captions", tuple(tuple(prompts[k]) for k in table.labels()))})


def decoder_for(method: Objective | Recipe, space: Backbone, rows: Table[Any], run: Run) -> dict[str, Any]:
    """Return a small decoder for objectives that write."""
    if "LanguageModel" not in method.card.needs.parts or "captions" not in rows.columns:
        return {}
    words = WordIds.of([c for own in rows.columns["captions"].values for c in own], context=WORDS_READ)
    with run.seeded("decoder"):
        return {WORDS: words, DECODER: SmallLM(len(words), context=words.context, memory=space.spec.dim)}
