"""A backbone's encoders as files for other programs: their parity beside torch, and the image encoder's accuracy as a gate.

    out/image/model.onnx        pixels (B, 3, S, S), normalised -> vectors (B, D), not normalised
        text/model.onnx         token ids (B, L) [and mask] -> vectors (B, D); left out where the tower cannot be exported
        export.json             spec with the pixel recipe, scale and bias, what was measured, versions

OpenVINO's graphs are model.xml with their weights in model.bin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engine import EXACT, INT8
from diptych.backbones.export import to_onnx
from diptych.backbones.parity import compared, rows
from diptych.backbones.quantise import quantise
from diptych.backbones.runtimes.made import GRAPH, IR, Made
from diptych.backbones.runtimes.onnx import OnnxRunner
from diptych.backbones.runtimes.openvino import OpenVinoRunner, openvino, openvino_version
from diptych.core.backbone import Backbone, Encoder
from diptych.core.data import ClassNames, Samples, Table
from diptych.core.errors import BoundBroken, DiptychError, MissingExtra, UnreadableItem, UsageError
from diptych.core.run import Run, Runner
from diptych.features.heads import text_head
from diptych.tasks.record import now, versions, write_json

Form = Literal["onnx", "openvino", "int8"]
FORMS: tuple[Form, ...] = ("onnx", "openvino", "int8")
BATCH = 16


@dataclass(frozen=True)
class Parity:
    """Cosines of exported to torch's float32 vectors.

    Args:
        items: how many.
        least, mean: over items that ran together.
        least_alone: over the same items, each alone.
        mates: least cosine of an item's two vectors to each other: a vector must not depend on its batch mates.
    """

    items: int
    least: float
    mean: float
    least_alone: float
    mates: float


@dataclass(frozen=True)
class Gate:
    """Zero-shot top-1 on labelled images, fractions.

    Args:
        items: labelled images.
        torch: of torch's vectors.
        exported: of the exported image encoder's, with torch's class head.
        allowed: greatest drop that is allowed.
    """

    items: int
    torch: float
    exported: float
    allowed: float


@dataclass(frozen=True)
class Exported:
    """What was written and how good it is.

    Args:
        out: the folder.
        form: "onnx", "openvino" or "int8" (OpenVINO's, weights and activations of the image encoder; texts stay float32).
        parity: modality -> cosines.
        refused: modality -> why it has no file.
        gate: accuracy; None without labelled images.
    """

    out: Path
    form: Form
    parity: dict[str, Parity]
    refused: dict[str, str]
    gate: Gate | None

    def broken(self) -> str:
        """Return which bound does not hold; "" where all hold."""
        for modality, p in self.parity.items():
            quantised = self.form == "int8" and modality == "image"
            found, bound, what = (p.mean, INT8, "mean") if quantised else (min(p.least, p.least_alone), EXACT, "least")
            if found < bound:
                return f"The {modality} vectors have a {what} cosine of {found:.6f} to torch's, below {bound}"
            if p.mates < EXACT:
                return f"The {modality} vectors depend on their batch mates, cosine {p.mates:.6f}"
        if self.gate and self.gate.torch - self.gate.exported > self.gate.allowed + 1e-9:  # 0.5 - 0.497 is a little more than 0.003
            before, after = 100 * self.gate.torch, 100 * self.gate.exported
            return f"Top-1 falls from {before:.2f} to {after:.2f}, more than {100 * self.gate.allowed:g} points"
        return ""


def export(
    backbone: Backbone,
    out: Path,
    form: Form,
    run: Run,
    *,
    images: Samples[Any] | None = None,
    labelled: Table[Any] | None = None,
    classes: ClassNames | None = None,
    allowed: float = 0.003,
    limit: int = 256,
    overwrite: bool = False,
) -> Exported:
    """Write a backbone's encoders and measure them.

    Args:
        backbone: float32, on the CPU.
        out: folder to write; the files stay where a bound is broken, and the report says so.
        form: "onnx" and "openvino" are float32; "int8" quantises the image encoder for OpenVINO, calibrated on ``images``.
        run: cache, for the class head.
        images: the user's own, for parity and calibration; None: fixed pictures (float32 only).
        labelled: images with labels, for the accuracy gate; None: no gate.
        classes: names of the labels.
        allowed: greatest drop of top-1, a fraction.
        limit: images of each kind that are used, evenly spread.
        overwrite: replace an earlier export.

    Raises:
        UsageError: the folder holds an export, an unknown form, or int8 without images.
        MissingExtra: OpenVINO's forms without it, int8 without NNCF.
        BoundBroken: a cosine or the accuracy fell below its bound.
    """
    if form not in FORMS:
        raise UsageError(f"The form {form!r} is unknown: use {', '.join(FORMS)}.")
    if form != "onnx" and not openvino_version():
        raise MissingExtra("openvino", "openvino", f"--to {form}")
    if form == "int8" and images is None:
        raise UsageError("int8 needs images to calibrate on: give --images FOLDER.")
    if (out / "export.json").exists() and not overwrite:
        raise UsageError(f"{out} holds an export: give another --out or --overwrite.")
    pictures = _readable(images, limit) if images is not None else None
    parity: dict[str, Parity] = {}
    refused: dict[str, str] = {}
    runners: dict[str, Runner] = {}
    for encoder in (backbone.image, backbone.text):
        folder, items = out / encoder.modality, pictures if encoder.modality == "image" else None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            runner = _written(encoder, folder, form, pictures)
            parity[encoder.modality] = _parity(encoder, runner, items)
            runners[encoder.modality] = runner
        except DiptychError:
            raise
        except Exception as error:  # exporter and runtime refuse with whatever exception comes up
            _clear(folder)
            refused[encoder.modality] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else ''}"
    gate = None
    if labelled is not None and classes is not None and "image" in runners:
        gate = _gate(backbone, runners["image"], labelled, classes, run, limit, allowed)
    made = Exported(out, form, parity, refused, gate)
    scale, bias = backbone.scale("image", "text")
    write_json(
        out / "export.json",
        {
            "kind": "export", "form": form, "spec": backbone.spec.as_dict(), "fingerprint": backbone.fingerprint, "scale": float(scale),
            "bias": float(bias), "score": backbone.score, "parity": {m: asdict(p) for m, p in parity.items()}, "refused": refused,
            "gate": asdict(gate) if gate else None, "broken": made.broken(), "versions": versions(), "date": now(),
        },
        overwrite=True,
    )  # fmt: skip
    if "image" in refused:
        raise DiptychError(f"The image encoder of {backbone.spec.name} cannot be exported ({refused['image']}): use another backbone.")
    if made.broken():
        raise BoundBroken(f"{made.broken()}: do not use {out}, or choose another form.")
    return made


def _written(encoder: Encoder[Any], folder: Path, form: Form, pictures: _Pictures | None) -> Runner:
    """Write an encoder's graph and return what runs it."""
    _clear(folder)
    inputs = to_onnx(encoder, folder / GRAPH)
    if form == "onnx":
        return OnnxRunner(Made(folder, True, inputs=inputs))
    whole = form == "openvino" or encoder.modality != "image"
    if whole:
        ov = openvino()
        ov.save_model(ov.Core().read_model(str(folder / GRAPH)), str(folder / IR), compress_to_fp16=False)
    else:
        quantise(folder / GRAPH, folder / IR, encoder, pictures or ())
    (folder / GRAPH).unlink()
    return OpenVinoRunner(Made(folder, True, inputs=inputs, file=IR), "fp32" if whole else "int8")


def _clear(folder: Path) -> None:
    for name in (GRAPH, IR, "model.bin"):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Pictures:
    """Readable images, read again whenever they are asked for: hundreds of full-size photos do not fit into memory.

    Args:
        images: the user's.
        chosen: positions of those that can be read.
    """

    images: Samples[Any]
    chosen: tuple[int, ...]

    def __iter__(self) -> Iterator[Any]:
        return (self.images[i] for i in self.chosen)

    def chunks(self) -> Iterator[list[Any]]:
        """Yield them, some at a time."""
        for start in range(0, len(self.chosen), BATCH):
            yield [self.images[i] for i in self.chosen[start : start + BATCH]]


def _readable(images: Samples[Any], limit: int) -> _Pictures:
    found = []
    for i in _spread(len(images), limit):
        try:
            images[i]
        except UnreadableItem:
            continue
        found.append(i)
    if not found:
        raise UsageError("None of the images can be read: give a folder of photos.")
    return _Pictures(images, tuple(found))


def _spread(count: int, limit: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, limit)).round())] if count else []


def _parity(encoder: Encoder[Any], forward: Callable[[Any], NDArray[np.float32]], items: _Pictures | None) -> Parity:
    found = [compared(encoder, forward, c) for c in (items.chunks() if items else [None])]
    together, alone, mates = (np.concatenate([getattr(f, name) for f in found]) for name in ("together", "alone", "mates"))
    return Parity(len(together), float(together.min()), float(together.mean()), float(alone.min()), float(mates.min()))


def _gate(backbone: Backbone, forward: Runner, labelled: Table[Any], classes: ClassNames, run: Run, limit: int, allowed: float) -> Gate:
    head = text_head(backbone, classes.prompts(), replace(run, engine=None)).numpy()
    labels, chosen = labelled.labels(), _spread(len(labelled), limit)
    right = np.zeros(2)
    for start in range(0, len(chosen), BATCH):
        some = chosen[start : start + BATCH]
        x = backbone.image.inputs([labelled.items[i] for i in some])
        for which, vectors in enumerate((rows(backbone.image, x), forward(x))):
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            right[which] += ((unit @ head.T).argmax(1) == labels[some]).sum()
    return Gate(len(chosen), float(right[0] / len(chosen)), float(right[1] / len(chosen)), allowed)
