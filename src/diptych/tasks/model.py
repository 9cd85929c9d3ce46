"""A fitted classifier as a folder that another machine can use: the fitted object, its calibration, and what they
depend on.

The folder holds what ``features.portable`` writes (tensors in safetensors, the rest in JSON) and ``model.json``: the
spec of the backbone with its preprocessing, the hashes of data, templates and texts, and the row of the board that it
was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Samples
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import FittedClassifier, Scores
from diptych.core.run import Run
from diptych.data.files import drafted, read_json, write_json
from diptych.data.folders import ImageFiles
from diptych.features import portable
from diptych.features.heads import logits_of
from diptych.tasks.calibrate import Calibration
from diptych.tasks.record import Record, now, versions

SCHEMA = 1
ABOUT = "model.json"


@dataclass(frozen=True)
class Calibrated:
    """A fitted classifier and its calibration; what is saved.

    Args:
        fitted: says what is on a photo.
        calibration: says how far to believe it; None: there were no labelled items apart from those it was fitted on.
    """

    fitted: Any
    calibration: Calibration | None


@dataclass(frozen=True)
class Model:
    """A classifier that is ready to use.

    Args:
        fitted: the classifier.
        calibration: of its probabilities; None: it has none.
        backbone: what both were fitted on.
        about: what ``model.json`` says.
    """

    fitted: FittedClassifier
    calibration: Calibration | None
    backbone: Backbone
    about: Mapping[str, Any]

    @property
    def classes(self) -> ClassNames:
        """Names and templates."""
        return self.fitted.classes

    def probabilities(
        self, photos: Samples[Any] | Sequence[str | Path], run: Run | None = None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the (N, K) probabilities of N photos that can all be read, calibrated where the model is.

        Args:
            photos: samples, or paths of pictures.
            run: device and cache; None: a plain CPU run.

        Raises:
            UnreadableItem: a photo cannot be read.
        """
        samples = photos if isinstance(photos, Samples) else ImageFiles(photos)
        return self.spoken(self.fitted.scores(samples, run or Run()))

    def spoken(self, scores: Scores) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the (N, K) probabilities of the classifier's scores."""
        if self.calibration is None:
            found: np.ndarray[Any, np.dtype[np.float64]] = (
                logits_of(scores, self.backbone).double().softmax(dim=1).numpy()
            )
            return found
        return self.calibration.probabilities(scores, self.backbone)

    def need(self) -> Calibration:
        """Return the calibration.

        Raises:
            UsageError: the model has none.
        """
        if self.calibration is None:
            raise UsageError(
                "This model was exported without calibration items, so it cannot promise sets or an unknown: give its "
                "data a val split,"
                " or more train items than shots, and export again."
            )
        return self.calibration


def export(
    fitted: FittedClassifier,
    calibration: Calibration | None,
    backbone: Backbone,
    record: Record,
    folder: Path,
    *,
    overwrite: bool = False,
) -> None:
    """Write a fitted classifier to a folder.

    Args:
        fitted: the classifier.
        calibration: of its probabilities, or None.
        backbone: what it was fitted on.
        record: the row of the board that it was: protocol, hashes and numbers.
        folder: to write.
        overwrite: replace a model that was exported there before.

    Raises:
        UsageError: the folder exists and ``overwrite`` is False, or it holds something else than a model.
    """
    if folder.exists() and overwrite and not (folder / ABOUT).is_file():
        raise UsageError(f"{folder} exists and holds no exported model: name another folder.")
    row = record.as_dict()
    wanted = (
        "dataset",
        "source",
        "data_hash",
        "method",
        "variant",
        "shots",
        "seed",
        "val",
        "texts",
        "texts_hash",
        "template_hash",
    )
    with drafted(folder, overwrite=overwrite) as draft:
        portable.save(Calibrated(fitted, calibration), draft)
        write_json(
            draft / ABOUT,
            {
                "schema": SCHEMA,
                "kind": "classifier",
                "classes": fitted.classes.names,
                "spec": backbone.spec.as_dict(),
                "fingerprint": backbone.fingerprint,
                **{name: row[name] for name in wanted},
                "held": row["held"],
                "test": {"metrics": row["metrics"], "ci95": row["ci95"], "items": row["items"]},
                "calibration": None
                if calibration is None
                else {
                    "temperature": calibration.temperature,
                    "items": len(calibration.labels),
                    "seen_by_fit": calibration.seen,
                },
                "fitted_sha256": portable.checksum(draft),
                "versions": versions(),
                "date": now(),
            },
        )


def load(folder: str | Path, backbone: Backbone | None = None, *, device: str = "cpu") -> Model:
    """Read a model that ``diptych board classify --export`` wrote.

    Args:
        folder: treated as untrusted: nothing in it is run.
        backbone: the one it was fitted on; None loads it by its name.
        device: of the backbone that is loaded.

    Raises:
        UsageError: another schema, or another backbone than the one it was fitted on: weights, tokenizer and
            preprocessing must be equal.
        DataError: no such folder, or its files do not belong together.
        NotAvailable: the backbone is not on this machine.
    """
    folder = Path(folder)
    about = read_about(folder)
    if about.get("fitted_sha256") != portable.checksum(folder):
        raise DataError(
            f"{folder / ABOUT} and the fitted model beside it were not written together: export the model again."
        )
    if backbone is None:
        from diptych.backbones.sources.load import load as load_backbone

        backbone = load_backbone(str(about["spec"]["name"]), device=device)
    held = portable.load(folder, Kit({"main": backbone}))
    if not isinstance(held, Calibrated) or not isinstance(held.fitted, FittedClassifier):
        raise DataError(f"{folder} holds no classifier: give a folder that 'diptych board classify --export' wrote.")
    if held.fitted.classes.names != tuple(about.get("classes", ())):
        raise DataError(f"{folder / ABOUT} names other classes than the fitted model: export it again.")
    return Model(held.fitted, held.calibration, backbone, about)


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` says.

    Raises:
        DataError: the folder holds no exported model.
        UsageError: it has another schema.
    """
    if not (folder / ABOUT).is_file():
        raise DataError(
            f"{folder} holds no exported model: give a folder that 'diptych board classify --export' wrote."
        )
    about = read_json(folder / ABOUT)
    if about.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} has schema {about.get('schema')}, and this version reads {SCHEMA}: export again, or use the "
            f"version that wrote it."
        )
    if not isinstance(about.get("spec"), dict) or "name" not in about["spec"]:
        raise DataError(f"{folder / ABOUT} names no backbone: export the model again.")
    return about
