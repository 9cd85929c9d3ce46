"""Training of a space by an objective or a recipe, for ``pretrain`` and ``finetune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from diptych.core import (
    ClassNames,
    Evidence,
    Kit,
    LanguageModel,
    Learns,
    MissingEvidence,
    MissingHook,
    Objective,
    Recipe,
    Run,
    Space,
    Stream,
    Table,
    Trained,
    Trainee,
    UsageError,
)
from diptych.core.train import Stage, everything
from diptych.features.frozen import HeadSpace
from diptych.train.captioning import CaptionTrainee, CoCaTrainee, WordIds, has_decoder
from diptych.train.log import Records
from diptych.train.loop import train
from diptych.train.pair import Cropped, PairTrainee, Read, View, drawn_caption
from diptych.train.precision import of_encoders
from diptych.train.row_captions import WEIGHTS
from diptych.train.schedule import Fit
from diptych.train.streams import Streamed

DECODER = "decoder"
"""Name of the kit's part for objectives that write captions, a ``LanguageModel`` module; a CoCa has its own."""
WORDS = "words"
"""Name of the kit's part with the decoder's vocabulary, a ``WordIds``."""


def train_space(
    method: Objective | Recipe,
    kit: Kit,
    evidence: Evidence[Any],
    fit: Fit,
    run: Run,
    *,
    classes: ClassNames | None = None,
    learns: Learns = everything,
    resume: bool = False,
    stream: Stream[Any] | Streamed | None = None,
    crop: float | None = None,
    recolour: bool = False,
    text_tokens: int | None = None,
    watch: Callable[[Space, int], Mapping[str, float]] | None = None,
) -> Trained:
    """Train a copy of the kit's space and return it.

    Args:
        method: an objective, for pairs of the rows' items and captions, or a recipe.
        kit: the space as "main", and the parts that the method needs.
        evidence: rows in ``train``, or images alone in ``unlabelled`` for a method whose card asks for those; the loss
            on ``val`` is computed after every epoch, and ``fit.patience`` needs it.
        fit: settings of every stage.
        run: as for ``train``; later stages write to ``out / "stage-2"`` and so on.
        classes: names of the labels, for recipes that use labels.
        learns: which parameters of the space may be trained.
        resume: continue a training that stopped.
        stream: items in place of the training rows, for an objective, or a recipe that reads rows once; ``fit`` then
            has steps.
        crop: least share of an image's area that a random crop has, for an objective of pairs alone, see ``Cropped``;
            None: whole images.
        recolour: whether colours of crops are changed too.
        text_tokens: most tokens of texts, padding included, that the text tower reads at once, for an objective of
            embeddings alone: a batch is read in groups of similar length. None: at once.
        watch: (space, step) -> measures of its present weights for the log, see ``train``; it may raise to end the
            training. It is not called in a stage whose trainee has no space.

    Returns:
        The space of the last stage, its parts, and the log of all stages.

    Raises:
        MissingEvidence: there are no training rows.
        UsageError, DataError, Diverged: as ``train``.
    """
    rows = evidence.train
    if rows is None and "unlabelled" in method.card.needs.evidence and evidence.unlabelled is not None:
        rows = Table(evidence.unlabelled)
    if rows is None and stream is None:
        raise MissingEvidence(f"{method.card.slug} needs rows for training, and there is no train split: add one.")
    stages: Iterator[Trainee | Stage]
    if isinstance(method, Objective):
        stages = iter([_trainee(method, kit, run, learns, crop, recolour, text_tokens)])
    else:
        _whole_images(method, crop)
        _whole_texts(method, text_tokens)
        if stream is None:
            _check_weights(method, rows)
            stages = method.stages(kit, classes, evidence, of_encoders(run), learns)
        else:
            stages = iter([method.of_stream(kit, of_encoders(run), learns)])
    log = Records()
    last: Trainee | None = None
    steps, seconds, number = 0, 0.0, 0
    for number, stage in enumerate(stages, 1):
        run_of_stage = run if number == 1 or run.out is None else replace(run, out=run.out / f"stage-{number}")
        staged = stage if isinstance(stage, Stage) else Stage(stage)
        given: Any = rows if stream is None else stream
        data, val = (given, staged.val or evidence.val) if staged.data is None else (staged.data, staged.val)
        settings = _settings(fit, staged.fit if val is not None else {**staged.fit, "patience": None})
        seen = None if watch is None else partial(_watched, watch, staged.trainee)
        history = train(staged.trainee, data, settings, run_of_stage, val=val, resume=resume, watch=seen)
        log += history.records if isinstance(history.records, Records) else Records(list(history.records))
        steps, seconds = steps + history.position.step, seconds + history.position.seconds
        last = staged.trainee
    assert last is not None  # a recipe has at least one stage
    return Trained(last.trained(), last.parts(), log, steps, seconds, number)


def _watched(watch: Callable[[Space, int], Mapping[str, float]], trainee: Trainee, step: int) -> Mapping[str, float]:
    try:
        space = trainee.trained()
    except MissingHook:
        return {}
    return watch(space, step)


def _settings(fit: Fit, changes: Mapping[str, Any]) -> Fit:
    """Return a fit with the settings of a stage, whose length replaces that of the fit."""
    lengths = dict.fromkeys(("epochs", "steps", "seconds"))
    length = lengths if lengths.keys() & changes.keys() else {}
    return replace(fit, **{**length, **changes})


def _check_weights(method: Recipe, rows: Table[Any] | None) -> None:
    if rows is not None and "captions" + WEIGHTS in rows.columns and not method.weighs:
        raise UsageError(
            f"{method.card.slug} reads the captions of a row in its own way, and takes no weights: leave them out."
        )


def _whole_images(method: Objective | Recipe, crop: float | None) -> None:
    if crop is not None:
        raise UsageError(f"{method.card.slug} reads images in its own way: leave out the crop of {crop:g}.")


def _whole_texts(method: Objective | Recipe, text_tokens: int | None) -> None:
    if text_tokens is not None:
        raise UsageError(f"{method.card.slug} reads texts in its own way: leave out {{text_tokens}} {text_tokens}.")


def _trainee(
    objective: Objective,
    kit: Kit,
    run: Run,
    learns: Learns,
    crop: float | None,
    recolour: bool,
    text_tokens: int | None,
) -> Trainee:
    space = objective.prepared(kit.need(Space))
    if objective.tokens or "LanguageModel" in objective.card.needs.parts:
        _whole_texts(objective, text_tokens)
    if "LanguageModel" not in objective.card.needs.parts:
        side = space.encoders["image"].size
        if text_tokens is not None and isinstance(space, HeadSpace):
            raise UsageError("Heads read no tokens, but vectors that are computed once: leave out {text_tokens}.")
        if crop is None:
            return PairTrainee(space, objective, run, learns=learns, text_tokens=text_tokens)
        if side is None or isinstance(space, HeadSpace):
            raise UsageError("Heads learn from whole images, whose vectors are computed once: leave out the crop.")
        read: dict[str, Read | View] = {"image": Cropped(crop, side, recolour), "text": drawn_caption}
        return PairTrainee(space, objective, run, read=read, learns=learns, text_tokens=text_tokens)
    _whole_images(objective, crop)
    if has_decoder(space) and DECODER not in kit.parts:
        return CoCaTrainee(space, objective, run, learns=learns)
    decoder: Any = kit.need(LanguageModel, DECODER)
    return CaptionTrainee(space, objective, run, decoder, kit.need(WordIds, WORDS), learns=learns)
