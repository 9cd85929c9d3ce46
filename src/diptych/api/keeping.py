"""Fitted systems as folders: ``save`` of what ``fit`` returned, and ``diptych.systems.X.load(folder)`` for every X.

One kind of folder serves Python, the command line (``--fitted``) and the server, see ``features.artefacts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.api.loading import load as load_model
from diptych.api.loading import model_of
from diptych.api.model import Model, ModelLike
from diptych.backbones.sources.proposers import AUTO
from diptych.backbones.sources.save import save as save_backbone
from diptych.core import Curator, Kit, Method, Objective, Plan, Recipe, Segmenter, Space, Trained, UsageError
from diptych.data.files import refuse
from diptych.features import artefacts
from diptych.features.artefacts import About
from diptych.features.spaces import StoredSpace
from diptych.tasks.curate.plan import read_plan
from diptych.tasks.detect import Ready
from diptych.tasks.model import ABOUT, Predictor, read_about
from diptych.tasks.model import load as load_predictor
from diptych.tasks.segment import TEACHER, teach
from diptych.tasks.space_classifier import SpaceClassifier


def save(fitted: Any, folder: object, system: Method | None, **facts: Any) -> None:
    """Write what a system fitted to a new folder, whole or not at all: a trained model as ``pretrain`` does, the plan
    of a curator as ``curate`` does, and all else with its provenance.

    Raises:
        UsageError: the folder exists, the system is unknown, or something cannot be written.
    """
    if system is None:
        raise UsageError("Nothing says which system fitted this: save what fit returned.")
    if isinstance(fitted, Trained):
        save_backbone(fitted.space, Path(str(folder)), fitted.parts)
        return
    if isinstance(fitted, Plan):
        refuse(Path(str(folder)), overwrite=False)
        fitted.write(Path(str(folder)))
        return
    whole = StoredSpace(fitted) if isinstance(fitted, Space) else fitted
    artefacts.save(whole, Path(str(folder)), system, **facts)


def load(kind: type[Method], folder: object, model: ModelLike, parts: Mapping[str, Any] | None) -> Loaded:
    """Read what a system fitted from a folder, which is treated as untrusted: nothing in it is run.

    Args:
        kind: the system.
        folder: that ``save`` or ``--fitted`` wrote.
        model: on which it was fitted, or its name; None: loaded by the name in the folder, where there is one.
        parts: beside the model, by name, such as a SAM: ``{"masks": sam}``.

    Raises:
        UsageError: no such folder, or what it holds was fitted by another system or on another model.
        DataError: it holds nothing fitted, or is damaged.
        NotAvailable: the model is not on this machine.
    """
    path = Path(str(folder))
    if issubclass(kind, (Objective, Recipe)):
        return Loaded(load_model(path), None, About(kind.card.slug))
    if issubclass(kind, Curator):
        return Loaded(read_plan(kind(), path), None, About(kind.card.slug))
    about = artefacts.stated(path)
    if about.slug and about.slug != kind.card.slug:
        raise UsageError(
            f"{path} holds what {about.slug} fitted, and not {kind.card.slug}: load it with that system, or name "
            f"another folder."
        )
    name = about.backbone
    opened = model_of(model if model is not None else name or None) if model is not None or name else None
    kit = _kit(kind, opened, about, parts or {})
    fitted = artefacts.load(path, kit)
    if isinstance(fitted, (StoredSpace, SpaceClassifier)):
        fitted = fitted.space
    return Loaded(fitted, opened, about)


class Loaded:
    """What a folder held.

    Args:
        fitted: the object; of a space, the space itself.
        model: on which it was fitted; None: on none.
        about: what the folder says.
    """

    def __init__(self, fitted: Any, model: Model | None, about: About) -> None:
        self.fitted, self._model, self.about = fitted, model, about

    @property
    def model(self) -> Model:
        """The model on which it was fitted, or the usual one."""
        return self._model or model_of(None)


def _kit(kind: type[Method], model: Model | None, about: About, parts: Mapping[str, Any]) -> Kit:
    if model is None:
        return Kit(dict(parts))
    if not issubclass(kind, Segmenter):
        return Kit({**parts, "main": model})
    teacher, proposer = (
        str(about.facts.get(name, usual)) for name, usual in (("teacher", TEACHER), ("proposer", AUTO))
    )
    kit, _ = teach(kind, model, lambda: None, teacher, proposer, parts.get("masks"))
    return Kit({**kit.parts, **parts})


def load_classifier(kind: type[Method], folder: object, model: ModelLike, parts: Mapping[str, Any] | None) -> Predictor:
    """Read a classifier: that was exported with its calibration, or any that ``save`` wrote.

    Raises:
        UsageError, DataError, NotAvailable: see ``load``.
    """
    path = Path(str(folder))
    if (path / ABOUT).is_file():
        slug = str(read_about(path).get("method", ""))
        if slug.partition(" ")[0] != kind.card.slug:
            raise UsageError(
                f"{path} holds what {slug} fitted, and not {kind.card.slug}: load it with that system, or name another "
                f"folder."
            )
        opened = None if model is None else model_of(model)
        predictor = load_predictor(path, opened)
        return predictor if opened is None else replace(predictor, run=opened.run)
    fitted = load(kind, folder, model, parts)
    return Predictor(fitted.fitted, None, fitted.model, {"method": kind.card.slug}, fitted.model.run)


def detector(loaded: Loaded) -> Any:
    """Return the detector of a folder, without the threshold that it may have been kept with."""
    return Ready.of(loaded.fitted).fitted
