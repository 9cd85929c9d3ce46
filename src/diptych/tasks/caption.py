"""Write captions of photos, and say which of them fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypedDict, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Captioner,
    DataError,
    Evidence,
    FittedCaptioner,
    Kit,
    Run,
    Samples,
    Subset,
    Text,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import Guided
from diptych.data.samples import need_photos, need_readable
from diptych.features.embed import embed, embed_readable
from diptych.metrics.detection import false_alarm_threshold
from diptych.tasks.classify import with_store
from diptych.tasks.clean import shares_a_word, shipped
from diptych.tasks.defaults import DEFAULTS, default


class Chooses(Protocol):
    """A fitted captioner that chooses among sentences."""

    @property
    def backbone(self) -> Backbone:
        """What embeds photos and sentences."""

    @property
    def texts(self) -> Sequence[str]:
        """M sentences."""

    @property
    def vectors(self) -> Tensor:
        """(M, D) unit embeddings of the sentences."""


@dataclass(frozen=True)
class Fit:
    """When a sentence of a pool is said to fit a photo.

    Args:
        threshold: a cosine above it fits.
        rate: share of photos with no fitting sentence for which one is said to fit, at most.
        items: photos on which the rate is held: those that ship, with the sentences of the pool that share no word with
            them, or those of ``source``.
        things: how many of the photos that ship are not of clothes; 0 with a ``source``.
        source: of photos that the user gave; "": those that ship.
    """

    threshold: float
    rate: float
    items: int
    things: int
    source: str = ""


class CaptionsRow(TypedDict):
    """Captions of a picture, the best first; whether the best fits, where that was calibrated."""

    path: str
    captions: list[str]
    fits: bool | None


class Captions(Guided, tuple[str, ...]):
    """The captions of a photo, the best first.

    Args:
        captions: the texts.
        name: what the user calls the photo.
        position: of the photo among those that were given.
        fits: whether the best one fits better than unrelated ones; None where nothing was calibrated.
    """

    name: str
    position: int
    fits: bool | None

    def __new__(
        cls, captions: Iterable[str] = (), name: str = "", position: int = 0, fits: bool | None = None
    ) -> Captions:
        """Return the texts, with what is known of them."""
        texts = super().__new__(cls, captions)
        texts.name, texts.position, texts.fits = name, position, fits
        return texts

    def as_dict(self) -> CaptionsRow:
        """Return plain data for JSON."""
        return {"path": self.name, "captions": list(self), "fits": self.fits}


@dataclass(frozen=True)
class Captioned:
    """Captions of photos.

    Args:
        positions: (M,) of the photos that could be read.
        names: what the user calls them.
        captions: M lists, the best first.
        failed: one error for each other photo.
        cut: sentences of which the method learnt the beginning alone, being longer than it reads.
        cosines: (M,) of each photo to its best sentence; () where nothing was calibrated.
        fit: what a fitting sentence must exceed; None where nothing was calibrated.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    captions: tuple[tuple[Text, ...], ...]
    failed: tuple[UnreadableItem, ...]
    cut: int = 0
    cosines: tuple[float, ...] = ()
    fit: Fit | None = None

    @property
    def fits(self) -> tuple[bool | None, ...]:
        """Whether the best sentence of each photo fits better than unrelated ones; None without a calibration."""
        if self.fit is None:
            return (None,) * len(self.names)
        return tuple(c > self.fit.threshold for c in self.cosines)

    def of_photos(self) -> tuple[Captions, ...]:
        """Return the captions of each photo."""
        rows = zip(self.captions, self.names, self.positions, self.fits, strict=True)
        return tuple(Captions((t.value for t in texts), name, at, fits) for texts, name, at, fits in rows)


def caption(
    photos: Samples[Any],
    evidence: Evidence[Any],
    parts: Kit | Backbone,
    run: Run | None = None,
    *,
    method: Captioner | None = None,
    n: int = 1,
    rate: float | None = None,
    clean: Samples[Any] | None = None,
    source: str = "",
    user: str | None = None,
    remember: Callable[[Callable[[], FittedCaptioner]], FittedCaptioner] = lambda fit: fit(),
) -> Captioned:
    """Write captions of photos.

    Args:
        photos: N images.
        evidence: what the method learns from: sentences, or photos with captions and perhaps users.
        parts: the captioner's backbone, or a kit of it and of the parts that its card names.
        run: device, cache and seed; None: a plain CPU run.
        method: any captioner; None is the nearest caption.
        n: captions per photo, at most.
        rate: in (0, 1): also say which nearest captions fit, wrongly for at most this share of photos that no sentence
            describes; see ``fit_of``. None: nothing is said. Other captioners take none.
        clean: photos on which the rate is held, see ``fit_of``.
        source: what the user calls them.
        user: whose way of writing the captions follow, by a captioner whose evidence held that user's history.
        remember: takes what fits the method, and calls it or returns what an earlier call fitted.

    Raises:
        DataError: there is no photo.
        MissingHook, MissingEvidence, UsageError: as the method says; a rate outside (0, 1), or with another captioner;
            a user for a captioner that writes for nobody in particular.
    """
    need_photos(photos)
    need_readable(photos)
    if rate is not None:
        check_rate(rate)
    chosen, kit = method or default("caption", Captioner), Kit.of(parts)
    backbone = kit.need(Backbone)
    if user is not None:
        check_personal(chosen)
        check_user(user, evidence)
    with with_store(run or Run()) as stored:
        before = stored.tally["cut"]
        fitted = remember(lambda: chosen.fit(kit, evidence, stored))
        if user is not None:
            fitted = fitted.for_user(user)
        cut = stored.tally["cut"] - before
        if rate is None:
            return replace(captioned(fitted, photos, backbone, stored, n), cut=cut)
        if chosen.card.slug != DEFAULTS["caption"]:
            raise UsageError("Only the nearest caption tells whether captions fit: leave the rate out.")
        nearest = cast(Chooses, fitted)
        result = captioned(fitted, photos, backbone, stored, n)
        cosines: tuple[float, ...] = ()
        if result.positions:
            z = normalize(embed(backbone.image, Subset(photos, result.positions), stored), dim=-1)
            cosines = tuple((z @ nearest.vectors.T).amax(dim=1).tolist())
        return replace(result, cut=cut, cosines=cosines, fit=fit_of(nearest, rate, stored, clean, source))


def check_rate(rate: float) -> None:
    """Refuse a share of false alarms that cannot be held; asked before anything is loaded.

    Raises:
        UsageError: it is outside (0, 1).
    """
    if not 0 < rate < 1:
        raise UsageError(f"{{rate}} must be in (0, 1), got {rate:g}: it is a share of photos, such as 0.05.")


def check_personal(method: Captioner) -> None:
    """Refuse a user for a captioner that writes for nobody in particular; asked before anything is loaded.

    Raises:
        UsageError: the captioner has no users.
    """
    if not method.personal:
        raise UsageError(f"{method.card.name} has no users to imitate: leave {{user}} out.")


def check_user(user: str, evidence: Evidence[Any]) -> None:
    """Refuse a user who wrote nothing; asked before anything is trained.

    Raises:
        UsageError: there are users, and this is none of them.
    """
    column = None if evidence.train is None else evidence.train.columns.get("user")
    users = () if column is None else tuple(dict.fromkeys(map(str, column.values)))
    if users and user not in users:
        named = ", ".join(users[:10]) + (", ..." if len(users) > 10 else "")
        raise UsageError(f"{user!r} wrote none of the captions to learn from: name one of {named}.")


def captioned(fitted: FittedCaptioner, photos: Samples[Any], backbone: Backbone, run: Run, n: int = 1) -> Captioned:
    """Return at most n captions of each photo that can be read, by a fitted captioner."""
    embedded = embed_readable(backbone.image, photos, run)
    readable = tuple(int(i) for i in embedded.kept)
    written = run.spread(partial(fitted.caption, n=n), Subset(photos, readable))
    return Captioned(readable, tuple(photos.name(i) for i in readable), tuple(map(tuple, written)), embedded.failed)


def fit_of(fitted: Chooses, rate: float, run: Run, clean: Samples[Any] | None = None, source: str = "") -> Fit | None:
    """Return when a sentence fits, from photos that no sentence describes.

        c_j = max over sentences t of cos(text(t), image(j))

    Of photos that ship, t are the sentences that share no word with the name of photo j, and the threshold is the one
    that c_j of new such photos exceeds with probability of at most ``rate``, or the largest c_j of the photos of things
    where that is higher: most that ship are of clothes. A new photo of a thing exceeds it with probability of at most
    1 / (things + 1). Of the user's own photos all sentences count, and the rate alone.

    Args:
        fitted: the embedded pool.
        rate: in (0, 1).
        run: device and cache.
        clean: photos of the kind to caption that no sentence describes; None: those that ship.
        source: what the user calls ``clean``.

    Returns:
        None where the photos that ship with such sentences are too few for the rate.

    Raises:
        DataError: the user's photos are too few for the rate.
    """
    if clean is not None:
        z = normalize(embed_readable(fitted.backbone.image, clean, run).values, dim=-1)
        best = (z @ fitted.vectors.T).amax(dim=1).double().numpy()
        if len(best) < (need := math.ceil(round(1 / rate - 1, 9))):
            raise DataError(
                f"{len(best)} photos that no sentence describes are too few for a rate of {rate:g}: give {need} or "
                f"more, or a rate from {1 / (len(best) + 1):.2g} on."
            )
        return Fit(false_alarm_threshold(best, rate), rate, len(best), 0, source)
    table = shipped()
    topics, kinds = ([str(v) for v in table.columns[name].values] for name in ("topics", "kinds"))
    other = torch.tensor([[not shares_a_word(topic, text) for text in fitted.texts] for topic in topics])
    z = normalize(embed(fitted.backbone.image, table.items, run), dim=-1)
    cosines = (z @ fitted.vectors.T).masked_fill(~other, -2).amax(dim=1)
    used = other.any(dim=1)
    best = cosines[used].double().numpy()
    things = cosines[used & torch.tensor([kind == "thing" for kind in kinds])].double().numpy()
    if len(best) < 1 / rate - 1 or not len(things):
        return None
    return Fit(max(false_alarm_threshold(best, rate), float(things.max())), rate, len(best), len(things))
