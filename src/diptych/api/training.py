"""``diptych.finetune`` and ``diptych.pretrain``: train a copy of a model, and see what it gained and lost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diptych.api.model import ModelLike, load, model_of
from diptych.api.spelling import spelled, warn
from diptych.core import Backbone, Objective, Recipe, Run, UsageError
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.samples import as_data
from diptych.data.words.templates import SINGLE
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import KEYS, cache_folder, make_run
from diptych.tasks.training.fits import embeddings_alone, fit_of, rate_for
from diptych.tasks.training.named_parts import parts_for
from diptych.tasks.training.streams import Reading, all_tars
from diptych.tasks.training.tune import Tuned, tune
from diptych.train.memory import Saving
from diptych.train.schedule import Fit
from diptych.verbs.names import TemplatesLike, templates_of
from diptych.verbs.reads import refuse_unread
from diptych.verbs.training import READS, system_of

if TYPE_CHECKING:
    from diptych.train.streams import Streamed

Learning = Literal["all", "heads", "image", "text"]
"""Parts of a model that learn."""
PathLike = str | os.PathLike[str]


@spelled()
def finetune(
    data: object,
    out: PathLike,
    model: ModelLike = None,
    *,
    method: str | Objective | Recipe = DEFAULTS["finetune"],
    variant: str = "",
    settings: Mapping[str, Any] | None = None,
    parts: Learning = "all",
    also: object = (),
    templates: TemplatesLike = None,
    captions: str = "",
    caption_weights: Sequence[float] = (),
    lr: float | None = None,
    epochs: int = 5,
    steps: int | None = None,
    batch: int = 64,
    decay: float = 0.0,
    fit: Fit | None = None,
    saving: Saving | None = None,
    unlock: int = 0,
    crop: float | None = None,
    recolour: bool = False,
    seed: int = 0,
    workers: int = 2,
    resume: bool = False,
) -> Tuned:
    """Fine-tune a copy of a model on your classes or captions, and measure before and after.

    The model that is given does not change. ``out/model`` holds the trained one, which ``load("local:out/model")``
    opens, and ``out/report.json`` what was measured.

    Args:
        data: class folders or a table with train and test, whatever ``open_data`` takes, or what it returned. Where
            there is no train split, a tenth of the rows, drawn by the seed, is held out.
        out: folder of model, log, checkpoints and report.
        model: a name, a model, or None for ``lite``. A name is trained on the CPU: give ``load(name, device="cuda")``.
        method: slug of a system of ``list_systems(verb="finetune")``, or a system.
        variant: a row of the system's card, such as "lwf"; "": the default one.
        settings: settings of the system by their names.
        parts: that learn: "all", "heads" (on frozen towers: minutes on a CPU), "image" or "text".
        also: other labelled data, one set or a list, measured before and after: what is forgotten.
        templates: prompts of the classes, with "{}"; None: "a photo of a {}.".
        captions: column of captions of a table on disk, a pattern such as "caption_*", or several with commas between
            them; of tars, fields of their JSON members. "": by its usual names, and of tars the .txt member.
        caption_weights: weight of each column of ``captions``, >= 0, by which one caption of a row is drawn in each
            epoch; (): those that the rows have, or equal ones.
        lr: learning rate, >= 0; None: 1e-5, and 3e-4 for heads.
        epochs: passes over the training rows, >= 1.
        steps: length of the training in steps, >= 1, in place of ``epochs``.
        batch: rows of one step, >= 2.
        decay: weight decay, >= 0.
        fit: all settings of the loop, in place of ``lr``, ``epochs``, ``steps``, ``batch`` and ``decay``; None: a
            warm-up of 20 steps, a cosine, gradients of norm 1 at most, and a checkpoint every 50 steps.
        saving: ways to train in less memory; None: none.
        unlock: where ``parts`` is one tower, last layers of the other one that learn too.
        crop: least share of the area of random crops, in (0, 1], for losses of pairs; None: whole photos.
        recolour: whether colours of crops are changed too.
        seed: of draws and new weights.
        workers: processes that make views, >= 0; 0: none. Scripts with workers keep their calls below
            ``if __name__ == "__main__":`` where the system starts processes anew.
        resume: go on with a training that was stopped in ``out``; a finished one with these settings is returned.

    Returns:
        What was trained and measured: ``.backbone`` is a model for every function, ``.before`` and ``.after`` map data
        set and metric to a value. It prints as a table.

    Raises:
        UsageError: a value out of its range, a system of another verb, or ``out`` holds another training.
        DataError: there are neither labels nor captions, one class alone, or no photo that can be read.
        MissingHook: the system works inside a tower that is not trained.
        Collapsed: little is left of the spread of the embeddings, or of what the model knew; the trained model is in
            ``out/doubted``.

    Warns:
        UserWarning: photos are left out, or a split is drawn.

    Example:
        >>> import diptych, tempfile
        >>> data = diptych.open_data("demo:clothes")
        >>> few = {"train": data["train"].take(range(0, 500, 25)), "test": data["test"].take(range(20))}
        >>> model = diptych.load("tiny", engine="torch", cache=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tuned = diptych.finetune(few, folder, model, method="full", parts="heads", steps=3, batch=10, workers=0)
        >>> tuned.facts["steps"], tuned.folder.name
        (3, 'model')
        >>> sorted(tuned.after["data"])
        ['acc1', 'gap', 'image_spread', 'image_to_image_map', 'text_spread']
    """
    system = system_of("finetune", method, variant, settings or {})
    loop = _loop(system, parts, fit, (lr, epochs, steps, batch, decay), (5, 64, 0.0))
    _refuse_idle(crop, recolour)
    backbone, run = _start(model, seed, workers)
    with FileKeys(cache_folder() / KEYS) as keys:
        return tune(
            system, backbone, _opened(data, captions, caption_weights, keys), loop, run, Path(out),
            parts=parts, unlock=unlock, saving=saving, crop=crop, recolour=recolour,
            templates=templates_of(templates, SINGLE), elsewhere=_others(also, keys), resume=resume, say=warn,
        )  # fmt: skip


@spelled()
def pretrain(
    data: object,
    out: PathLike,
    model: ModelLike = None,
    *,
    method: str | Objective | Recipe = DEFAULTS["pretrain"],
    variant: str = "",
    settings: Mapping[str, Any] | None = None,
    scratch: bool = False,
    parts: Learning = "all",
    also: object = (),
    captions: str = "",
    caption_weights: Sequence[float] = (),
    stream: bool | Reading = False,
    regions: PathLike | None = None,
    rewrites: PathLike | None = None,
    scorer: str | Backbone | None = None,
    teacher: str | Backbone | None = None,
    language_model: str | None = None,
    proposer: str | None = None,
    denoiser: str = "small",
    lr: float | None = None,
    epochs: int = 10,
    steps: int | None = None,
    batch: int = 128,
    decay: float = 0.2,
    fit: Fit | None = None,
    saving: Saving | None = None,
    unlock: int = 0,
    crop: float | None = None,
    recolour: bool = False,
    seed: int = 0,
    workers: int = 2,
    resume: bool = False,
) -> Tuned:
    """Train a copy of a model, or one from random weights, on captioned photos.

    Args:
        data: a table with photos and captions, a folder with captions, tars, or several of these joined by "::"; for
            some systems photos alone. Also whatever ``open_data`` takes, or what it returned.
        out: folder of model, log, checkpoints and report, see ``finetune``.
        model: a name, a model, or None for ``lite``. A name is trained on the CPU: give ``load(name, device="cuda")``.
        method: slug of a system of ``list_systems(verb="pretrain")``, or a system.
        variant: a row of the system's card, such as "loob"; "": the default one.
        settings: settings of the system by their names.
        scratch: start from random weights in the shape of the model that is named.
        parts: that learn, see ``finetune``.
        also: other labelled data, one set or a list, measured before and after.
        captions: column of captions of a table on disk, a pattern such as "caption_*", or several with commas between
            them; of tars, fields of their JSON members. "": by its usual names, and of tars the .txt member.
        caption_weights: weight of each column of ``captions``, >= 0, by which one caption of a row is drawn in each
            epoch; (): those that the rows have, or equal ones.
        stream: read a .csv, .tsv or Parquet file as a stream; ``diptych.tasks.training.streams.Reading`` says how. Tars
            are always one.
        regions: a table with a box and a phrase in each row, for systems that read regions.
        rewrites: rewritten captions, a .json pool or recorded .jsonl, for systems that draw among them.
        scorer: a model or its name, for systems that choose captions; None: the one that is trained.
        teacher: a model or its name, for systems that distil one into another.
        language_model: reads the texts, for systems with such a tower: "smollm2", "hf:org/name", a folder.
        proposer: finds regions, for systems that need them: "merged-cells", or a detector or mask model of
            transformers.
        denoiser: teaches details, for systems that learn from one: "small", or "local:FOLDER".
        lr: learning rate, >= 0; None: 1e-5, 3e-4 for heads, and 5e-4 from scratch.
        epochs: passes over the training rows, >= 1.
        steps: length of the training in steps, >= 1, in place of ``epochs``.
        batch: rows of one step, >= 2.
        decay: weight decay, >= 0.
        fit: all settings of the loop, see ``finetune``.
        saving: ways to train in less memory; None: none.
        unlock: where ``parts`` is one tower, last layers of the other one that learn too.
        crop: least share of the area of random crops, in (0, 1], for losses of pairs; None: whole photos.
        recolour: whether colours of crops are changed too.
        seed: of draws and new weights.
        workers: processes that make views, >= 0, see ``finetune``.
        resume: go on with a training that was stopped in ``out``; a finished one with these settings is returned.

    Returns:
        What was trained and measured, see ``finetune``.

    Raises:
        UsageError: a value out of its range, a system of another verb, a part that is missing or that the system does
            not read, or ``out`` holds another training.
        DataError: a photo has no caption, or no photo can be read.
        MissingHook: the system works inside a tower that is not trained.
        Collapsed: see ``finetune``; from scratch only embeddings that are all equal.

    Warns:
        UserWarning: photos are left out, or a split is drawn.

    Example:
        >>> import diptych, tempfile
        >>> from PIL import Image
        >>> names = ["red", "green", "blue", "white", "black"] * 4
        >>> table = {"image": [Image.new("RGB", (8, 8), name) for name in names], "caption": [f"{n}." for n in names]}
        >>> import pandas
        >>> model = diptych.load("tiny", engine="torch", cache=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     frames = {"train": pandas.DataFrame(table), "test": pandas.DataFrame(table)}
        ...     made = diptych.pretrain(frames, folder, model, parts="heads", steps=2, batch=10, workers=0)
        >>> made.facts["steps"], made.facts["method"]
        (2, 'clip-loss')
    """
    system = system_of("pretrain", method, variant, settings or {})
    named: dict[str, Any] = {
        "rewrites": rewrites, "scorer": scorer, "teacher": teacher, "language_model": language_model,
        "proposer": proposer,
    }  # fmt: skip
    given = [name for name, value in (*named.items(), ("regions", regions)) if value is not None]
    refuse_unread(system, READS, [*given, *(["denoiser"] if denoiser != "small" else [])])
    loop = _loop(system, parts, fit, (lr, epochs, steps, batch, decay), (10, 128, 0.2), scratch=scratch)
    _refuse_idle(crop, recolour)
    read = _reading(data, stream)
    if read is not None and regions is not None:
        raise UsageError("Regions belong to the photos of a table: leave out {regions}, or {stream}.")
    backbone, run = _start(model, seed, workers, scratch=scratch)
    kit = parts_for(system.card, run.device, denoiser=denoiser, **named)
    with FileKeys(cache_folder() / KEYS) as keys:
        streamed: Streamed | None = None
        if read is not None:
            path: str = os.fspath(data)  # type: ignore[call-overload]  # a path, as read says
            rows, streamed = read.open(path, captions, caption_weights)
        else:
            rows = _opened(data, captions, caption_weights, keys)
        if regions is not None:
            from diptych.data.formats.region_table import with_regions

            rows = with_regions(rows, regions)
        return tune(
            system, backbone, rows, loop, run, Path(out),
            parts=parts, unlock=unlock, saving=saving, crop=crop, recolour=recolour, elsewhere=_others(also, keys),
            kit=kit, scratch=scratch, stream=streamed, resume=resume, say=warn,
        )  # fmt: skip


def _loop(
    system: Objective | Recipe,
    parts: str,
    fit: Fit | None,
    given: tuple[float | None, int, int | None, int, float],
    usual: tuple[int, int, float],
    *,
    scratch: bool = False,
) -> Fit:
    """Return the settings of the loop: those of ``fit``, or what was ``given`` in its place.

    Args:
        system: that trains.
        parts: that learn.
        fit: all settings; None: there are none.
        given: lr, epochs, steps, batch and decay.
        usual: epochs, batch and decay by default.
        scratch: whether the weights are random.

    Raises:
        UsageError: there are both, a number is out of its range, or random towers have heads alone.
    """
    lr, epochs, steps, batch, decay = given
    rate = rate_for(parts, scratch=scratch)
    if fit is not None:
        if given != (None, usual[0], None, *usual[1:]):
            raise UsageError(
                "{fit} has every setting of the loop: leave out {lr}, {epochs}, {steps}, {batch}, {decay}."
            )
        return fit
    if batch < 2:
        raise UsageError(f"{{batch}} must be at least 2, got {batch}: a step compares rows.")
    return fit_of(rate if lr is None else lr, batch, epochs, decay, steps=steps, cached=embeddings_alone(system))


def _refuse_idle(crop: float | None, recolour: bool) -> None:
    """Raise UsageError for colours of crops where there are no crops."""
    if recolour and crop is None:
        raise UsageError("{recolour} changes crops, and no {crop} is given: give both, or neither.")


def _start(model: ModelLike, seed: int, workers: int, *, scratch: bool = False) -> tuple[Backbone, Run]:
    """Return the backbone that is trained, and its run; torch alone runs what changes.

    Raises:
        UsageError: ``scratch`` is for a name, or a model whose weights are random.
    """
    if workers < 0:
        raise UsageError(f"{{workers}} must be at least 0, got {workers}.")
    name = model or "lite"
    if scratch and isinstance(name, str):
        from diptych.backbones.sources import load as source

        run = make_run(engine="torch", cache=cache_folder(), progress=progress_of(None))
        return source.load(name, device=run.device, weights="random", seed=seed), _training(run, seed, workers)
    own = load(name, engine="torch") if isinstance(name, str) else model_of(name)
    if scratch and not own.spec.weights.startswith("random:"):
        raise UsageError(f"{own.spec.name} has weights, and {{scratch}} begins without: give {{model}} by its name.")
    return own.loaded, _training(own.run, seed, workers)


def _training(run: Run, seed: int, workers: int) -> Run:
    return replace(run, seed=seed, workers=workers, engine=None)


def _opened(data: object, captions: str, weights: Sequence[float], keys: FileKeys) -> LabelledData:
    """Return data with captions or classes.

    Raises:
        UsageError: ``captions`` or ``weights`` are for a table on disk.
    """
    if isinstance(data, (str, os.PathLike)):
        return open_data(data, keys, need="captions or classes", text=captions, shares=weights)
    if captions:
        raise UsageError("{captions} names a column of a table on disk: name the column of these data 'caption'.")
    if weights:
        raise UsageError(
            "{caption_weights} weigh columns of a table on disk: give these data a column 'caption_weights'."
        )
    return as_data(data, keys)


def _others(also: object, keys: FileKeys) -> list[LabelledData]:
    """Return other data sets, of one or of a list."""
    return [as_data(each, keys) for each in (also if isinstance(also, (list, tuple)) else [also])]


def _reading(data: object, stream: bool | Reading) -> Reading | None:
    """Return how data are read as a stream; None: they are a table.

    Raises:
        UsageError: a stream is no path.
    """
    path = os.fspath(data) if isinstance(data, (str, os.PathLike)) else None
    if not stream and (path is None or not all_tars(path)):
        return None
    if path is None:
        raise UsageError("A stream is read from tars, or from a table on disk: give {data} by its path.")
    return stream if isinstance(stream, Reading) else Reading()
