"""What a system fitted, as a folder that says which system fitted it, with which settings and on which backbone.

``features.portable`` writes the object itself. What is added here is a part ``about`` of its description: the system
with its settings, the names of the classes, the version, and whatever a verb needs to go on, such as the name of a
proposer. Every system of every verb is kept so; a folder without that part, of an earlier version, is read too.

Example:
    A classifier, kept and read again:

    >>> import tempfile
    >>> from diptych.backbones.sources.load import load as backbone
    >>> from diptych.core import ClassNames, Evidence, Run
    >>> from diptych.methods.classify.zero_shot import ZeroShot
    >>> kit = Kit({"main": backbone("tiny")})
    >>> fitted = ZeroShot().fit(kit, ClassNames(("cat", "dog")), Evidence(), Run())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(fitted, Path(folder) / "pets", ZeroShot())
    ...     about = stated(Path(folder) / "pets")
    ...     load(Path(folder) / "pets", kit).classes == fitted.classes
    True
    >>> about.slug, about.classes, about.backbone
    ('zero-shot', ('cat', 'dog'), 'tiny')
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych import __version__
from diptych.core import DataError, Kit, Method, UsageError, name_today
from diptych.core.wording import first_of
from diptych.features import packing, portable, spaces

_MEMORY = frozenset({"chunk"})
"""Settings that change no result."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""In the words for an object: another one in each process."""


@dataclass(frozen=True)
class About:
    """What a folder says of its content, without loading it.

    Args:
        slug: of the system that fitted it; "": the folder does not say.
        system: that system with its settings; None: the folder does not say.
        classes: names of the classes; () where it has none.
        backbone: name of the first backbone; "": there is none.
        version: of diptych that wrote it; "": an earlier one.
        facts: what a verb needs beside the fitted object, by name.
    """

    slug: str
    system: Any = None
    classes: tuple[str, ...] = ()
    backbone: str = ""
    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def source(self, folder: str, sha256: str) -> dict[str, str]:
        """Return what a result says of the folder that was measured in place of fitting.

        Args:
            folder: its path, as the user gave it.
            sha256: see ``portable.checksum``.
        """
        system = self.slug if self.system is None else repr(self.system)
        of = {"system": system, "backbone": self.backbone, "diptych": self.version}
        return {"folder": folder, "sha256": sha256, **of}


@dataclass(frozen=True)
class Read:
    """What a folder held.

    Args:
        fitted: what ``fit`` returned.
        about: what the folder says of it.
    """

    fitted: Any
    about: About


def save(fitted: Any, folder: Path, system: Method, **facts: Any) -> None:
    """Write what a system fitted to a new folder, whole or not at all.

    Args:
        fitted: what ``fit`` returned, see ``features.portable``.
        folder: new.
        system: that fitted it.
        facts: what a verb needs to go on: plain values and frozen dataclasses of such, such as ``ClassNames``.

    Raises:
        UsageError: the folder exists, or something cannot be written.
    """
    portable.save(fitted, folder, described(fitted, system, facts))


def read_or_fit(
    folder: Path | None, kit: Callable[[], Kit], system: Method, fit: Callable[[], Any], **facts: Any
) -> tuple[Any, bool]:
    """Return what a system fits, read from a folder where it is there, and else written to it; None keeps nothing.

    Args:
        folder: of the fitted object.
        kit: gives the parts on which it was fitted; called only where the folder is there.
        system: that fits.
        fit: fits; called only where the folder is not there.
        facts: see ``save``.

    Returns:
        The fitted object, and whether it was read.

    Raises:
        UsageError: the folder holds what another system fitted, or this one with other settings or on other parts.
        DataError: the folder holds nothing fitted, or is damaged.
    """
    if folder is None or not folder.exists():
        fitted = fit()
        if folder is not None:
            save(fitted, folder, system, **facts)
        return fitted, False
    check_system(folder, system)
    return load(folder, kit()), True


def begins(system: Any, parts: Mapping[str, Any] | None = None, /, **facts: Any) -> dict[str, str]:
    """Return what a training that was stopped must begin with to go on, see ``train.parameters.resumable``.

    Args:
        system: that fits, or a recipe of a training, a frozen dataclass with a card.
        parts: on which it is fitted, by name; those with a fingerprint count.
        facts: whatever else decides, by name, such as the names of classes.

    Example:
        >>> from diptych.methods.classify.zero_shot import ZeroShot
        >>> begins(ZeroShot(), backbone="lite")
        {'method': 'zero-shot', 'templates': 'None', 'backbone': "'lite'"}
    """
    settings = {f.name: getattr(system, f.name) for f in dataclasses.fields(system) if f.name not in _MEMORY}
    prints = {name: str(part.fingerprint) for name, part in (parts or {}).items() if hasattr(part, "fingerprint")}
    words = {name: _ADDRESS.sub("", repr(value)) for name, value in (*settings.items(), *facts.items())}
    return {"method": system.card.slug, **words, **prints}


def load(folder: Path, kit: Kit) -> Any:
    """Read what was fitted, and build from it all that it would build when it is first used, so that weights which
    do not fit are refused here.

    Args:
        folder: that ``save`` or ``portable.save`` wrote; it is treated as untrusted.
        kit: holds the parts on which the object was fitted, under any name.

    Raises:
        UsageError: the kit holds no part of the fingerprint, or the folder has another schema.
        DataError: tensors are missing, unknown or of another shape, or the folder does not hold what it says.
    """
    fitted = portable.load(folder, kit)
    try:
        _build(fitted)
    except DataError as error:
        raise DataError(f"{folder} does not fit: {error}") from error
    return fitted


def _build(fitted: Any) -> None:
    """Ask a fitted object, and those that it holds, for what they build once."""
    for kind in type(fitted).__mro__:
        for name, value in vars(kind).items():
            if isinstance(value, cached_property):
                getattr(fitted, name)
    for f in dataclasses.fields(fitted):
        inner = getattr(fitted, f.name)
        if type(inner).__name__.startswith("Fitted") and dataclasses.is_dataclass(inner):
            _build(inner)


def stated(folder: Path) -> About:
    """Return what a folder says of its content.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds nothing that was fitted, or names a system that is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: name one in which a fitted system was kept.")
    description = spaces.stated(folder)
    fitted = description.get("fitted")
    if not isinstance(fitted, Mapping) or not isinstance(fitted.get("class"), str):
        raise DataError(f"{folder} holds no fitted system: name a folder in which one was kept.")
    backbones, fingerprints = spaces.backbones_of(description), spaces.fingerprints_of(description)
    about = description.get("about", {})
    try:
        system = packing.plain(about["system"] if "system" in about else fitted["fields"]["method"], folder)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        system = None
    system = system if isinstance(system, Method) else None
    try:
        facts = {name: packing.plain(value, folder) for name, value in about.get("facts", {}).items()}
        classes = tuple(map(str, about.get("classes", ())))
        backbone, version = (str(about.get(key, "")) for key in ("backbone", "diptych"))
        backbone = backbone or (backbones[0] if backbones else "")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / portable.DESCRIPTION} is damaged: fit again and save anew.") from error
    for fingerprint in fingerprints:
        backbone = name_today(backbone, fingerprint)
    slug = system.card.slug if system is not None else fitted["class"].partition(":")[0]
    return About(
        slug if system is not None or ":" in fitted["class"] else "",
        system, classes, backbone, version, facts,
    )  # fmt: skip


def check_system(folder: Path, system: Method) -> About:
    """Refuse a folder that another system wrote, or the same with other settings.

    Raises:
        UsageError: the systems differ; the sentence names both, or the first three settings that differ.
        DataError: see ``stated``.
    """
    about = stated(folder)
    if about.slug and about.slug != system.card.slug:
        raise UsageError(
            f"{folder} holds nothing fitted as asked: {about.slug} fitted it, and not {system.card.slug}; give "
            f"{{method}} so, or another {{fitted}}."
        )
    if about.system is not None and about.system != system:
        raise UsageError(
            f"{folder} holds nothing fitted as asked: {first_of(_differences(about.system, system))}; give the same "
            f"{{method}}, {{variant}} and {{settings}}, or another {{fitted}}."
        )
    return about


def _differences(saved_system: Any, system: Any) -> list[str]:
    pairs = [(f.name, getattr(saved_system, f.name), getattr(system, f.name)) for f in dataclasses.fields(system)]
    return [f"its {name} is {before!r}, not {now!r}" for name, before, now in pairs if before != now]


def described(fitted: Any, system: Method, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the description of a folder says beside the object, as ``save`` writes it."""
    classes = getattr(fitted, "classes", None) or getattr(getattr(fitted, "fitted", None), "classes", None)
    backbone = getattr(fitted, "backbone", None) or getattr(getattr(fitted, "fitted", None), "backbone", None)
    return {
        "diptych": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": system.card.slug,
        "verb": system.card.verb,
        "backbone": getattr(getattr(backbone, "spec", None), "name", ""),
        "classes": list(getattr(classes, "names", ())),
        "system": packing.packed_plain(system, "system"),
        "facts": {name: packing.packed_plain(value, name) for name, value in facts.items()},
    }
