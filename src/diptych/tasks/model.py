"""A fitted classifier as a folder that another machine can use: the fitted object, its calibration, and what they
depend on.

The folder holds what ``features.portable`` writes (tensors in safetensors, the rest in JSON) and ``model.json``: the
spec of the backbone with its preprocessing, the hashes of data, templates and texts, and the row of the board that it
was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from diptych.core import (
    Backbone,
    ClassNames,
    DataError,
    FittedClassifier,
    Kit,
    Reason,
    Run,
    Scores,
    UnreadableItem,
    UsageError,
    name_today,
)
from diptych.core.wording import Guided, number_of
from diptych.data.files import drafted, read_json, write_json
from diptych.data.samples import as_samples, as_table
from diptych.data.words.classnames import tidy
from diptych.features import portable
from diptych.features.embed import embed_readable
from diptych.features.heads import logits_of
from diptych.tasks.calibrate import Calibration
from diptych.tasks.classify import with_store
from diptych.tasks.kept.classifier import about_kept, is_kept, read_kept
from diptych.tasks.read_rows import OnError, ReadRows, check_on_error, read_rows
from diptych.tasks.record import now, versions

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
class Predictor(Guided):
    """A classifier that is ready to use: fitted in Python, or read from a folder.

    Args:
        calibration: of its probabilities; None: it has none.
        about: what ``model.json`` says, or will say.
        failed: labelled photos that could not be read when it was fitted, and why.
    """

    fitted: FittedClassifier
    calibration: Calibration | None
    backbone: Backbone
    about: Mapping[str, Any]
    run: Run = field(default_factory=Run, repr=False)
    failed: tuple[UnreadableItem, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        method, names = self.about.get("method", type(self.fitted).__name__), self.classes.names
        shown = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
        chosen = ", ".join(f"{name}={value:g}" for name, value in self.about.get("chosen", {}).items())
        chosen = f"; {chosen} chosen on {self.about.get('val', 'val')}" if chosen else ""
        count = number_of(len(names), "class", "classes")
        return f"Predictor({method} on {self.backbone.spec.name}, {count}: {shown}{chosen})"

    @property
    def classes(self) -> ClassNames:
        """Names and templates."""
        return self.fitted.classes

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The K names in the order of the columns of ``predict_proba``, as scikit-learn's classifiers have them."""
        return np.array(self.classes.names)

    @overload
    def predict(self, photos: object) -> NDArray[np.str_]: ...
    @overload
    def predict(self, photos: object, *, on_error: Literal["raise"]) -> NDArray[np.str_]: ...
    @overload
    def predict(self, photos: object, *, on_error: Literal["skip"]) -> ReadRows: ...
    def predict(self, photos: object, *, on_error: OnError = "raise") -> NDArray[np.str_]:
        """Return the class names of N photos, in whatever form ``data.samples.as_samples`` takes them.

        Args:
            photos: the photos.
            on_error: "raise" where a photo cannot be read; "skip" leaves its row out: ``failed`` of what is returned
                names it, and ``kept`` has the positions of the rows.

        Raises:
            UnreadableItem: a photo cannot be read, and ``on_error`` is "raise".
            DataError: none can be read.
            UsageError: ``on_error`` has another value.

        Example:
            >>> import diptych
            >>> from PIL import Image
            >>> photos = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "red", "blue")]
            >>> model = diptych.load("tiny", engine="torch", cache=False)
            >>> probe = diptych.systems.LinearProbe(C=10.0).fit(model, photos, ["red", "blue", "red", "blue"])
            >>> rows = probe.predict([*photos[:2], "lost.jpg"], on_error="skip")
            >>> rows.tolist(), rows.kept.tolist(), rows.failed[0].name
            (['red', 'blue'], [0, 1], 'lost.jpg')
        """
        return self._rows(photos, on_error, lambda scores: np.array(self.classes.names)[scores.predicted().numpy()])

    @overload
    def predict_proba(self, photos: object) -> NDArray[np.float64]: ...
    @overload
    def predict_proba(self, photos: object, *, on_error: Literal["raise"]) -> NDArray[np.float64]: ...
    @overload
    def predict_proba(self, photos: object, *, on_error: Literal["skip"]) -> ReadRows: ...
    def predict_proba(self, photos: object, *, on_error: OnError = "raise") -> NDArray[np.float64]:
        """Return the (N, K) probabilities of N photos, calibrated where the classifier is.

        Args:
            photos: the photos.
            on_error: as for ``predict``.

        Raises:
            UnreadableItem, DataError, UsageError: as ``predict`` does.
        """
        return self._rows(photos, on_error, self.probabilities_of)

    def score(self, labelled: object, labels: object = None) -> float:
        """Return the share of labelled photos that are named right, in [0, 1].

        Args:
            labelled: labelled photos, see ``data.samples.as_table``; or photos, with their ``labels`` beside them.
            labels: names of classes, or their positions.

        Raises:
            DataError: the labels count other classes than the classifier's.
            UnreadableItem: a photo cannot be read.
        """
        table = as_table(labelled if labels is None else (labelled, labels), names=self.classes.names)
        known = {name: k for k, name in enumerate(self.classes.names)}
        places = [known.get(c, known.get(tidy(c), -1)) for c in table.classes]
        if -1 in places and len(places) != len(known):
            lost = table.classes[places.index(-1)]
            raise DataError(
                f"{lost!r} is not a class of this classifier: it knows {', '.join(self.classes.names[:5])}."
            )
        labels = table.labels() if -1 in places or not places else np.array(places)[table.labels()]
        return float(np.mean(self._scores(table.items).predicted().numpy() == labels))

    def explain(self, photos: object, n: int = 5) -> list[list[Reason]]:
        """Return the n strongest reasons for the class of each photo.

        Raises:
            MissingHook: the system gives no reasons.
            UnreadableItem: a photo cannot be read.
        """
        return [reasons[:n] for reasons in self.fitted.explain(as_samples(photos), self.run)]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the classifier to a folder, which ``diptych.load_classifier`` and ``classify --model`` read.

        Raises:
            UsageError: the folder exists and ``overwrite`` is False, or it holds something else than a model.
        """
        folder, calibration = Path(folder), self.calibration
        if folder.exists() and overwrite and not (folder / ABOUT).is_file():
            raise UsageError(f"{folder} exists and holds no exported model: name another folder.")
        facts = {
            "schema": SCHEMA, "kind": "classifier", "classes": self.classes.names, "spec": self.backbone.spec.as_dict(),
            "fingerprint": self.backbone.fingerprint,
        }  # fmt: skip
        with drafted(folder, overwrite=overwrite) as draft:
            portable.save(Calibrated(self.fitted, self.calibration), draft)
            held = None if calibration is None else {
                "temperature": calibration.temperature, "items": len(calibration.labels),
                "seen_by_fit": calibration.seen,
            }  # fmt: skip
            end = {
                "calibration": held, "fitted_sha256": portable.checksum(draft), "versions": versions(), "date": now(),
            }  # fmt: skip
            write_json(draft / ABOUT, {**facts, **{k: v for k, v in self.about.items() if k not in facts}, **end})

    def _rows(self, photos: object, on_error: OnError, rows_of: Callable[[Scores], NDArray[Any]]) -> NDArray[Any]:
        """Return a row for each photo; where unreadable ones are skipped, a ``ReadRows``."""
        check_on_error(on_error)
        if on_error == "raise":
            return rows_of(self._scores(photos))
        samples = as_samples(photos)
        with with_store(self.run) as stored:
            readable = embed_readable(self.backbone.image, samples, stored).some("photos")
            scores = self.fitted.checked_scores(readable.of(samples), stored)
        return read_rows(rows_of(scores), readable.kept, readable.failed, ReadRows)

    def _scores(self, photos: object) -> Scores:
        return self.fitted.checked_scores(as_samples(photos), self.run)

    def probabilities_of(self, scores: Scores) -> NDArray[np.float64]:
        """Return the (N, K) probabilities of the classifier's scores."""
        if self.calibration is None:
            factors = 1 if scores.sharpness is None else scores.sharpness[:, None]
            return (logits_of(scores, self.backbone).double() * factors).softmax(dim=1).numpy()
        return self.calibration.probabilities(scores, self.backbone)

    def require_calibration(self) -> Calibration:
        """Return the calibration.

        Raises:
            UsageError: the model has none.
        """
        if self.calibration is None:
            raise UsageError(
                "This classifier is kept without calibration items, so it cannot promise sets or an unknown: export "
                "one with 'diptych board classify', on data with a val split or with more train items than shots."
            )
        return self.calibration


def load(folder: str | Path, backbone: Backbone | None = None, *, device: str = "cpu") -> Predictor:
    """Read a model that ``diptych board classify --export`` wrote, or a classifier that ``features.artefacts`` keeps,
    as released files become; the folder is untrusted, and nothing in it is run. Without the backbone that it was fitted
    on, that is loaded by its name onto the device.

    Raises:
        UsageError: another schema, or another backbone than the one it was fitted on: weights, tokenizer and
            preprocessing must be equal.
        DataError: no such folder, or its files do not belong together.
        NotAvailable: the backbone is not on this machine.
    """
    folder = Path(folder)
    about = read_about(folder)
    exported = (folder / ABOUT).is_file()
    if exported and about.get("fitted_sha256") != portable.checksum(folder):
        raise DataError(
            f"{folder / ABOUT} and the fitted model beside it were not written together: export the model again."
        )
    if backbone is None:
        from diptych.backbones.sources.load import load as load_backbone

        backbone = load_backbone(str(about["spec"]["name"]), device=device)
    if not exported:
        return Predictor(read_kept(folder, backbone), None, backbone, about)
    held = portable.load(folder, Kit.of(backbone))
    if not isinstance(held, Calibrated) or not isinstance(held.fitted, FittedClassifier):
        raise DataError(f"{folder} holds no classifier: give a folder that 'diptych board classify' exported.")
    if held.fitted.classes.names != tuple(about.get("classes", ())):
        raise DataError(f"{folder / ABOUT} names other classes than the fitted model: export it again.")
    return Predictor(held.fitted, held.calibration, backbone, about)


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` says, or the same of a classifier that ``features.artefacts`` keeps.

    Raises:
        DataError: the folder holds no exported model and nothing that was fitted.
        UsageError: there is no such folder, the model has another schema, or what was fitted is no classifier.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: name one that 'diptych board classify' exported.")
    if not (folder / ABOUT).is_file():
        if is_kept(folder):
            return about_kept(folder)
        raise DataError(
            f"{folder} holds no exported model: give a folder that 'diptych board classify' exported; a backbone "
            f"goes to {{backbone}}."
        )
    about = read_json(folder / ABOUT)
    if about.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} has schema {about.get('schema')}, and this version reads {SCHEMA}: export again, or use the "
            f"version that wrote it."
        )
    if not isinstance(about.get("spec"), dict) or "name" not in about["spec"]:
        raise DataError(f"{folder / ABOUT} names no backbone: export the model again.")
    spec: dict[str, Any] = about["spec"]
    spec["name"] = name_today(str(spec["name"]), str(about.get("fingerprint")))
    return about
