"""Which rows a board has: systems of the catalog, and systems that were fitted before and lie in folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from diptych import catalog
from diptych.core import UsageError
from diptych.core.wording import first_of
from diptych.evaluation.arms import Arm, Loaded
from diptych.features import artefacts, portable
from diptych.features.artefacts import About


class Reader(Protocol):
    """A bench that measures what was fitted before."""

    def read(self, folder: Path, about: About, /) -> Any:
        """Return what a folder holds, as the bench measures it; raises UsageError where it does not fit the data."""


def in_lengths(arms: Sequence[Arm], lengths: Collection[str]) -> list[Arm]:
    """Return each arm once for each length of a training, all of the first length first; without lengths, as given."""
    return [replace(arm, length=length) for length in lengths for arm in arms] if lengths else list(arms)


def arms_of(
    verb: str,
    methods: Sequence[str] | None,
    *,
    every: bool = False,
    without: Sequence[Arm] = (),
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[Arm]:
    """Return what is to be run.

    Args:
        verb: what the systems do.
        methods: "slug" for its default row, or "slug:variant"; None: all systems of the verb.
        every: whether all systems come with every row of their cards, not only with the default one.
        without: rows that run only where they are asked for.
        settings: slug -> name -> value, for all rows of a system.

    Raises:
        UsageError: there is no such system, it is of another verb, or has no such row or setting.
    """
    if methods is None:
        slugs = [card["slug"] for card in catalog.cards() if card["verb"] == verb]
        arms = [Arm(slug, row) for slug in slugs for row in (catalog.find(slug).card.variants if every else ("",))]
        return [_set(arm, settings) for arm in arms if arm not in without]
    arms = []
    for name in methods:
        slug, _, variant = name.partition(":")
        if not variant and "[" in slug:  # settings of the default row
            slug, _, rest = slug.partition("[")
            variant = f"[{rest}"
        catalog.row(catalog.find(slug, verb=verb), variant)
        arms.append(_set(Arm(slug, variant), settings))
    return arms


def _set(arm: Arm, settings: Mapping[str, Mapping[str, Any]]) -> Arm:
    """Return an arm with settings of its system, which must have them."""
    changed = replace(arm, variant=catalog.set_rows(settings, arm.system, arm.variant))
    if changed != arm:
        catalog.row(catalog.find(arm.system), changed.variant)
    return changed


def stated_of(verb: str, folders: Sequence[Path], stated: Callable[[Path], About] = artefacts.stated) -> list[About]:
    """Return what each folder says of its content, without loading it.

    Args:
        verb: of the board.
        folders: of fitted systems.
        stated: reads the description of a folder of this verb.

    Raises:
        UsageError: there is no such folder, one is named twice, or it holds a system of another verb.
        DataError: it holds nothing fitted, or does not say by which system and settings.
    """
    if len(set(folders)) < len(folders):
        twice = next(f for i, f in enumerate(folders) if f in folders[:i])
        raise UsageError(f"{twice} is given twice: name each {{fitted}} once.")
    return [_of_verb(verb, folder, stated(folder)) for folder in folders]


def _of_verb(verb: str, folder: Path, about: About) -> About:
    if about.system is None:
        raise UsageError(
            f"{folder} does not say by which system and settings it was fitted: fit again, or give another {{fitted}}."
        )
    if (other := about.system.card.verb) != verb:
        raise UsageError(
            f"{folder} holds what {about.slug} fitted, a system of {other}, and this is a board of {verb}: give "
            f"another {{fitted}}."
        )
    return about


def backbone_of(folders: Sequence[Path], abouts: Sequence[About]) -> str | None:
    """Return the name of the backbone on which all folders were fitted; None where they name none.

    Raises:
        UsageError: they name several; a board has one.
    """
    names = {about.backbone: folder for folder, about in zip(folders, abouts, strict=True) if about.backbone}
    if len(names) > 1:
        raise UsageError(
            f"The folders were fitted on several backbones, {first_of([f'{f} on {n}' for n, f in names.items()])}: a "
            f"board has one backbone, so give each {{fitted}} a board of its own."
        )
    return next(iter(names), None)


def loaded_arms(bench: Reader, folders: Sequence[Path], abouts: Sequence[About]) -> list[Arm]:
    """Return one arm for each folder, which is read here, so that what does not fit is refused before any row is run.

    Args:
        bench: reads each with the parts of its board.
        folders: that ``artefacts.save`` wrote.
        abouts: what each says, of ``stated_of``.

    Raises:
        UsageError: a folder was fitted on another backbone, or does not answer for the classes of the data.
        DataError: a folder is damaged.
    """
    arms = []
    for folder, about in zip(folders, abouts, strict=True):
        fitted = bench.read(folder, about)
        arms.append(Arm(about.slug, loaded=Loaded(str(folder), portable.checksum(folder), about, fitted)))
    return arms
