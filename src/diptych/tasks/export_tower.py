"""A backbone as ONNX files for other programs, measured: cosines on the user's images, accuracy on labelled ones.

OUT/image/model.onnx   pixels (B, 3, S, S), normalised -> vectors (B, D), not normalised
OUT/text/model.onnx    token ids (B, L) (and a mask, where the tower reads one) -> vectors (B, D)
OUT/export.json        pixel recipe, scale and bias, what was measured, versions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engine import EXACT
from diptych.backbones.export import cosines, rows, to_onnx
from diptych.backbones.runtimes.made import GRAPH, Made
from diptych.backbones.runtimes.onnx import OnnxRunner
from diptych.core.backbone import Backbone, Encoder
from diptych.core.data import ClassNames, Samples, Table
from diptych.core.errors import BoundBroken, DiptychError, MissingExtra, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.features.heads import text_head
from diptych.tasks.record import now, versions, write_json

Form = Literal["onnx", "int8"]
FORMS: tuple[Form, ...] = ("onnx", "int8")
INT8 = 0.98
"""Least mean cosine of int8 vectors, ours: below it something is broken; the accuracy gate decides on the rest."""
BATCH = 16


@dataclass(frozen=True)
class Parity:
    """Cosines of exported to torch's float32 vectors.

    Args:
        items: how many.
        least, mean: over items that ran together.
        least_alone: over the same items, each alone: a vector must not depend on its batch mates.
    """

    items: int
    least: float
    mean: float
    least_alone: float


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
        form: "onnx" or "int8" (weights and activations of the image encoder; texts stay float32).
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
    """Write a backbone's encoders as ONNX and measure them.

    Args:
        backbone: float32, on the CPU.
        out: folder to write; the files stay where a bound is broken, and the report says so.
        form: "onnx" is float32; "int8" quantises the image encoder, calibrated on ``images``.
        run: cache, for the class head.
        images: the user's own, for parity and calibration; None: fixed pictures (float32 only).
        labelled: images with labels, for the accuracy gate; None: no gate.
        classes: names of the labels.
        allowed: greatest drop of top-1, a fraction.
        limit: images of each kind that are used, evenly spread.
        overwrite: replace an earlier export.

    Raises:
        UsageError: the folder holds an export, an unknown form, or int8 without images.
        MissingExtra: int8 without the package onnx.
        BoundBroken: a cosine or the accuracy fell below its bound.
    """
    if form not in FORMS:
        raise UsageError(f"The form {form!r} is unknown: use {' or '.join(FORMS)}.")
    if form == "int8" and images is None:
        raise UsageError("int8 needs images to calibrate on: give --images FOLDER.")
    if (out / "export.json").exists() and not overwrite:
        raise UsageError(f"{out} holds an export: give another --out or --overwrite.")
    pictures = _readable(images, limit) if images is not None else None
    parity: dict[str, Parity] = {}
    refused: dict[str, str] = {}
    runners: dict[str, OnnxRunner] = {}
    for encoder in (backbone.image, backbone.text):
        folder, items = out / encoder.modality, pictures if encoder.modality == "image" else None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            runner = OnnxRunner(Made(folder, True, inputs=to_onnx(encoder, folder / GRAPH)))
            if form == "int8" and encoder.modality == "image":
                _quantise(folder / GRAPH, runner.made.inputs[0], encoder, pictures or [])
            parity[encoder.modality] = _parity(encoder, runner, items)
            runners[encoder.modality] = runner
        except DiptychError:
            raise
        except Exception as error:  # exporter and runtime refuse with whatever exception comes up
            (folder / GRAPH).unlink(missing_ok=True)
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


def _readable(images: Samples[Any], limit: int) -> list[Any]:
    found = []
    for i in _spread(len(images), limit):
        try:
            found.append(images[i])
        except UnreadableItem:
            continue
    if not found:
        raise UsageError("None of the images can be read: give a folder of photos.")
    return found


def _spread(count: int, limit: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, limit)).round())] if count else []


def _parity(encoder: Encoder[Any], forward: Callable[[Any], NDArray[np.float32]], items: list[Any] | None) -> Parity:
    chunks = [None] if items is None else [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    together, alone = (np.concatenate(parts) for parts in zip(*(cosines(encoder, forward, c) for c in chunks), strict=True))
    return Parity(len(together), float(together.min()), float(together.mean()), float(alone.min()))


def _gate(backbone: Backbone, forward: OnnxRunner, labelled: Table[Any], classes: ClassNames, run: Run, limit: int, allowed: float) -> Gate:
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


def _quantise(path: Path, name: str, encoder: Encoder[Any], pictures: list[Any]) -> None:
    """Replace a float32 graph by int8: weights a channel, activations by ranges fixed on the pictures, so that no vector sees its mates."""
    try:
        import onnx  # noqa: F401 - onnxruntime's quantiser imports it
    except ImportError as error:
        raise MissingExtra("onnx", "export", "int8 export") from error
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest: Iterator[dict[str, NDArray[np.float32]]] = (
                {name: np.asarray(encoder.inputs(pictures[i : i + 1]))} for i in range(len(pictures))
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._rest, None)

    plain, small = path.with_suffix(".plain"), path.with_suffix(".int8")
    try:
        quant_pre_process(str(path), str(plain), skip_symbolic_shape=True)
        quantize_static(
            str(plain), str(small), Pictures(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        )  # fmt: skip
        small.replace(path)
    finally:
        plain.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
