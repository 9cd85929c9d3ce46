"""``caption``: what is on these photos, in sentences?"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from diptych.core import UsageError
from diptych.core.ranges import at_least, between
from diptych.core.wording import number_of, one_line
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import keeping, kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument, fit_workers, fitted, method, served, settings
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.photos import naming, open_samples, paths_of
from diptych.verbs.reads import needs, uses

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import Backbone, Captioner, Run, Samples
    from diptych.tasks.caption import Captioned, Captions, Fit
    from diptych.verbs.context import Context
    from diptych.verbs.names import TextsLike

LOCAL = ("command", "python")


def _is_nearest(system: Any) -> bool:
    return bool(system.card.slug == DEFAULTS["caption"])


@dataclass(frozen=True, kw_only=True)
class Caption(Verb):
    """Caption each photo, after learning from sentences or from photos with captions."""

    item: ClassVar[str] = "Captions"
    role: ClassVar[str] = "diptych.core.caption:Captioner"
    report: ClassVar[str] = "Also write a .json file."
    examples: ClassVar[tuple[str, ...]] = (
        "caption photos/ --texts sentences.txt",
        "caption photos/ --like captions.csv --method clip-reward --variant small",
    )
    offers: ClassVar[tuple[str, ...]] = (*RUN, *CLUSTER, "batch", "workers")

    photos: object = argument(
        "Photos, a folder, a table, or demo:photos.", kinds.MANY_PHOTOS, json="images", positional=True
    )
    texts: TextsLike = argument(
        "Sentences to learn from: a list, a .txt with one per line, or a table with caption columns.", kinds.SENTENCES,
        None, positional=True, reads=needs("texts"), fits=True, most=10_000,
    )  # fmt: skip
    like: object = argument(
        "Photos with captions to learn from: a table, optionally with a column user, or a folder.", kinds.TABLE, None,
        reads=uses("train", "texts", "unlabelled"), fits=True, faces=LOCAL,
    )  # fmt: skip
    user: str | None = argument(
        "Imitate this user of the captions to learn from, for methods that distinguish users.", default=None,
        reads=lambda system: system.personal, faces=LOCAL,
    )  # fmt: skip
    clean: object = argument(
        "For nearest captions: photos like yours that no sentence describes; they set the threshold (default: photos "
        "that ship).", kinds.PHOTOS, None, reads=_is_nearest, faces=LOCAL,
    )  # fmt: skip
    references: str | None = argument(
        'Columns of the photos\' table to measure against, such as "caption_*".', default=None, faces=LOCAL
    )
    judge: str | Backbone | None = argument(
        "Another backbone, which gives CLIPScore.", default=None, panel="Model", faces=LOCAL
    )
    method: str | Captioner = method(DEFAULTS["caption"], "A captioner; 'diptych systems --verb caption' lists them.")
    variant: str = argument("Variant of the method, such as small; 'diptych systems METHOD' lists them.", default="")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()
    captioner: str = served("captioner")
    n: int = argument("Captions of each photo.", default=1, flag="--captions", short="-n", range=at_least(1))
    rate: float | None = argument(
        "For nearest captions: share of photos that no sentence describes and that may get one anyway.",
        default=0.05,
        flag="--false-alarm-rate", range=between(0, 1, "()"), reads=_is_nearest, faces=LOCAL,
    )  # fmt: skip
    seed: int = argument("Seed of trainings and draws.", default=0, faces=LOCAL)

    def check(self) -> None:
        """Refuse references of anything but one table."""
        paths = paths_of(self.photos)
        if self.references is not None and (paths is None or len(paths) != 1):
            raise UsageError("{references} names columns of one table: give the path of that table alone.")

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse a choice of a system beside one that is fitted already."""
        keeping.refuse_choice(self, "captioner", given)

    def is_fitted(self) -> bool:
        """Return whether the server was started with the captioner."""
        return bool(self.captioner)

    def check_with(self, system: Any) -> None:
        """Refuse sentences and captions that the method cannot learn from, or that are missing."""
        from diptych.tasks.evidence import check_evidence

        if not self.is_kept():
            check_evidence(system.card, like=self.like, texts=self.texts)

    def run(self, context: Context) -> Sentences:
        """Learn, and caption the photos."""
        from diptych.core import Evidence, Kit
        from diptych.data.load import open_data
        from diptych.tasks.caption import caption
        from diptych.tasks.evidence import evidence_for
        from diptych.tasks.judge import check_judge
        from diptych.verbs.names import texts_of

        known, keys = keeping.served(self, context, "captioner"), context.keys
        system = self.system() if known is None else known.about.system
        evidence = (
            Evidence[Any]()
            if self.is_kept() or known is not None
            else evidence_for(system.card, like=self.like, texts=texts_of(self.texts, sentences=True), keys=keys)
        )
        if self.references is None:
            photos, human = open_samples(self.photos, keys), None
        else:
            path = (paths_of(self.photos) or [""])[0]
            with naming(text="references"):
                table = open_data(path, keys, need="captions", text=self.references).whole()
            photos, human = table.items, [list(of_photo) for of_photo in table.columns["captions"].values]
        context = keeping.where(self, context)
        model, run = context.model(), context.run()
        context.encode_ahead(model, photos, run)
        clean = None if self.clean is None else open_samples(self.clean, keys)
        by = None if self.judge is None else context.model(self.judge)
        if by is not None:
            check_judge(model, by)
        rate = self.rate if _is_nearest(system) else None
        source = (
            os.fspath(self.clean) if isinstance(self.clean, (str, os.PathLike)) else "" if clean is None else "clean"
        )
        pool = None if self.like is not None or evidence.texts is None else evidence.texts.texts.values()
        key = None if pool is None else (repr(system), *(t.value for texts in pool for t in texts))
        remember = partial(keeping.read_or_fit, self, context, lambda: Kit.of(model), key=key, known=known)
        result = caption(
            photos, evidence, model, run, method=system, n=self.n, rate=rate, user=self.user, clean=clean,
            source=source, remember=remember,
        )  # fmt: skip
        metrics = _measured(result, photos, human, model, by, run)
        about: CaptionRequest = {
            "metrics": metrics, "judge": None if by is None else by.spec.name, "method": system.card.slug,
            "variant": self.variant, "settings": self.given_settings(), "user": self.user,
            "backbone": model.spec.name, "seed": self.seed,
        }  # fmt: skip
        return Sentences(result, about, photos, rate)


def _measured(
    result: Captioned,
    photos: Samples[Any],
    human: list[list[str]] | None,
    model: Backbone,
    by: Backbone | None,
    run: Run,
) -> dict[str, float]:
    """Return the metrics of the best captions against those of people, and by the judge."""
    from diptych.core import Subset
    from diptych.tasks.judge import judge, judge_against, measure

    best = [of_photo[0].value if of_photo else "" for of_photo in result.captions]
    readable = Subset(photos, result.positions)
    if human is None:
        return {} if by is None else {"clip_score": judge(readable, best, model, by, run)}
    references = [human[i] for i in result.positions]
    metrics = measure(best, references)
    return metrics if by is None else metrics | judge_against(readable, best, references, model, by, run)


class CaptionRequest(TypedDict):
    """Settings of a run, and its metrics."""

    metrics: dict[str, float]
    judge: str | None
    method: str
    variant: str
    settings: dict[str, Any]
    user: str | None
    backbone: str
    seed: int


class CaptionFacts(CaptionRequest):
    """Captions of all pictures."""

    fit: dict[str, Any] | None
    cut_sentences: int


class Sentences(Answer["Captions"]):
    """Captions of photos, the best of each first."""

    done = "captioned"

    def __init__(
        self, result: Captioned, about: CaptionRequest, photos: Samples[Any], rate: float | None = None
    ) -> None:
        super().__init__(iter(result.of_photos()), photos)
        self.result, self.about, self.photos, self.rate = result, about, photos, rate
        self.failed += result.failed

    def line(self, item: Captions) -> str:
        """Return the captions, or that no sentence fits."""
        text = " | ".join(map(one_line, item)) or "(nothing)"
        return f"no sentence fits (nearest: {text})" if item.fits is False else text

    def label(self, item: Captions) -> str:
        """Return the best caption."""
        return item[0] if item else ""

    def columns(self, items: Sequence[Captions]) -> dict[str, list[Any]]:
        """Return the best captions, and whether they fit where that is known."""
        fits = {} if self.result.fit is None else {"fits": [item.fits for item in items]}
        return {"caption": [self.label(item) for item in items], **fits}

    def picture(self, item: Captions) -> Image.Image:
        """Return the photo."""
        photo: Image.Image = self.photos[item.position]
        return photo

    def facts(self) -> CaptionFacts:
        """Return when a sentence fits, what was measured and what was asked."""
        fit = None if self.result.fit is None else asdict(self.result.fit)
        return {"fit": fit, "cut_sentences": self.result.cut, **self.about}

    def remarks(self, items: Sequence[Captions]) -> list[str]:
        """Return how many photos have a sentence that fits, what the rate is worth, and what was cut or is empty."""
        lines = []
        if self.result.fit is not None:
            described = self.result.fits.count(True)
            lines.append(
                f"{described} of {number_of(len(items), 'photo has', 'photos have')} a sentence that fits. A photo "
                f"that none describes gets one all the same in at most {100 * self.result.fit.rate:g} % of cases, "
                f"measured on {_measured_on(self.result.fit)}"
            )
        elif self.rate is not None:
            lines.append("Nothing says whether the sentences fit: too few photos that ship share no word with them.")
        if self.result.cut:
            lines.append(
                f"{self.result.cut:,} sentences are longer than {self.about['method']} reads: it learnt their "
                f"beginnings. Shorten them, or leave them out."
            )
        if empty := sum(not any(text.value for text in of_photo) for of_photo in self.result.captions):
            lines.append(
                f"{empty} of {number_of(len(items), 'photo')} got an empty caption, since {self.about['method']} "
                f"learnt too little: give more captions to learn from, or train longer."
            )
        return lines

    def ends(self) -> list[str]:
        """Return the metrics."""
        metrics = self.about["metrics"]
        line = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        several = any(len(of_photo) > 1 for of_photo in self.result.captions)
        return [f"{line}  (of the first caption of each photo)" if several else line] if metrics else []


def _measured_on(fit: Fit) -> str:
    """Return where the rate of false alarms was measured, and what to do where those photos are of another kind."""
    if fit.source:
        return f"{fit.items} photos of {fit.source}."
    need = math.ceil(round(1 / fit.rate - 1, 9))
    return (
        f"{fit.items} photos that ship, {fit.items - fit.things} of them of clothes; 1 in {fit.things + 1} for other "
        f"things. Yours are of another kind? Give photos that no sentence describes with {{clean}}: {need} or more."
    )
