"""A proof of what was fitted before: the artefact stands in the place of the fit, where the proof measures one fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import Card, Method, UsageError
from diptych.core.wording import first_of
from diptych.evaluation.arms import Arm, Bench, Loaded
from diptych.evaluation.few_shot.loaded import stated
from diptych.features import portable
from diptych.features.artefacts import About
from proofs.trial import Tabled, Trial


def check(slug: str, card: Card, trial: Trial, folder: Path) -> About:
    """Return what a folder says of its content, where the proof of a system can measure one artefact.

    Args:
        slug: of the system, or SLUG:ROW.
        card: of the system.
        trial: its proof.
        folder: of the artefact.

    Raises:
        UsageError: the proof needs several trainings or draws, or the folder holds what another system fitted.
        DataError: it holds nothing fitted.
    """
    about = stated(folder)
    if about.slug != card.slug:
        raise UsageError(
            f"{folder} holds what {about.slug or 'an unnamed system'} fitted, and the proof is of {card.slug}: give "
            f"another {{fitted}}."
        )
    if about.system is None:
        raise UsageError(f"{folder} does not say with which settings {about.slug} was fitted: fit again.")
    board = f"measure it by 'diptych board {card.verb} DATA --fitted {folder}'"
    shots = [claim.shots for claim in trial.claims if claim.shots]
    if shots:
        raise UsageError(
            f"The proof of {slug} fits on {shots[0]} items per class that each seed draws anew, and {folder} is one "
            f"fit: {board}, or leave out {{fitted}}."
        )
    if card.seeded:
        raise UsageError(
            f"The proof of {slug} needs a training for each of its seeds, which decide {card.draws or 'its start'}, "
            f"and {folder} is one training: {board}, or leave out {{fitted}}."
        )
    return about


def read(slug: str, trial: Trial, folder: Path, about: About, bench: Bench) -> Loaded:
    """Return the artefact of a folder as a bench measures it.

    Args:
        slug: of the system, or SLUG:ROW.
        trial: its proof.
        folder: of the artefact.
        about: of ``check``.
        bench: on which the proof is judged.

    Raises:
        UsageError: the bench measures more than one fit, or the artefact has other settings than the proof, another
            backbone or other classes.
        DataError: the folder is damaged.
    """
    reader: Any = bench
    if isinstance(bench, Tabled) or not hasattr(bench, "read"):
        raise UsageError(
            f"The proof of {slug} measures several fits in one pass ({type(bench).__name__}), so no artefact can stand "
            f"in the place of one: leave out {{fitted}}."
        )
    for arm in trial.proved(about.slug):
        wanted = _method(arm, bench)
        if wanted != about.system:
            pairs = [
                (f.name, getattr(about.system, f.name), getattr(wanted, f.name)) for f in dataclasses.fields(wanted)
            ]
            other = [f"its {name} is {before!r}, not {now!r}" for name, before, now in pairs if before != now]
            raise UsageError(
                f"{folder} was fitted with other settings than the proof of {slug} has: {first_of(other)}; give "
                f"another {{fitted}}."
            )
    return Loaded(str(folder), portable.checksum(folder), about, reader.read(folder, about))


def _method(arm: Arm, bench: Any) -> Any:
    """Return the system of a proved arm with the settings that its bench gives it."""
    known = arm.system if isinstance(arm.system, Method) else catalog.row(catalog.find(arm.system), arm.variant)
    method: Any = known
    names = {f.name for f in dataclasses.fields(method)}
    given = {**getattr(bench, "settings", {}), **({"thing": bench.thing} if hasattr(bench, "thing") else {})}
    return dataclasses.replace(method, **{name: value for name, value in given.items() if name in names})
