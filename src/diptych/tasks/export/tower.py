"""A backbone's encoders as files for other programs: their parity beside torch, and the image encoder's accuracy as a
gate.

    out/image/model.onnx      pixels (B, 3, S, S), normalised -> vectors (B, D), not normalised
        text/model.onnx       token ids (B, L) [and mask] -> vectors (B, D); left out where the tower cannot be exported
        export.json           spec with the pixel recipe, scale and bias, what was measured, versions

OpenVINO's graphs are model.xml with their weights in model.bin. All is written aside and moved to its place when it is
whole and measured.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from diptych.backbones.engines.export import to_onnx
from diptych.backbones.engines.quantise import quantise
from diptych.backbones.engines.runners import EXACT, INT8
from diptych.backbones.engines.runtimes.onnx import OnnxRunner
from diptych.backbones.engines.runtimes.openvino import OpenVinoRunner, openvino, openvino_version
from diptych.backbones.engines.runtimes.report import GRAPH, IR, RuntimeReport
from diptych.core import (
    Backbone,
    ClassNames,
    DiptychError,
    Encoder,
    MissingExtra,
    Run,
    Runner,
    Samples,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.errors import need_onnx
from diptych.data.files import drafted, write_json
from diptych.tasks.export.gate import Gate, Parity, Pictures, gate, parity, readable
from diptych.tasks.record import now, versions

Form = Literal["onnx", "openvino", "int8"]
FORMS: tuple[Form, ...] = ("onnx", "openvino", "int8")
ABOUT = "export.json"


@dataclass(frozen=True)
class Graph:
    """An encoder as a file.

    Args:
        modality: "image" or "text".
        path: of the graph.
        parity: cosines of its vectors to torch's.
    """

    modality: str
    path: Path
    parity: Parity

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"modality": self.modality, "path": str(self.path), **asdict(self.parity)}


@dataclass(frozen=True)
class Exported:
    """What was written and how good it is.

    Args:
        form: "onnx", "openvino" or "int8" (OpenVINO's, weights and activations of the image encoder; texts stay
            float32).
        parity: modality -> cosines.
        refused: modality -> why it has no file.
        gate: accuracy; None without labelled images.
        skipped: images and labelled ones that could not be read.
    """

    out: Path
    form: Form
    parity: Mapping[str, Parity]
    refused: Mapping[str, str]
    gate: Gate | None
    skipped: tuple[UnreadableItem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "form": self.form,
            "parity": {modality: asdict(p) for modality, p in self.parity.items()},
            "refused": dict(self.refused),
            "gate": asdict(self.gate) if self.gate else None,
            "skipped": [e.as_dict() for e in self.skipped],
            "broken": self.broken(),
        }

    def graphs(self, folder: Path) -> list[Graph]:
        """Return the encoders that have a file below the folder."""
        name = GRAPH if self.form == "onnx" else IR
        return [Graph(modality, folder / modality / name, p) for modality, p in self.parity.items()]

    def broken(self) -> str:
        """Return which bound does not hold; "" where all hold."""
        for modality, p in self.parity.items():
            quantised = self.form == "int8" and modality == "image"
            cosine, bound, what = (p.mean, INT8, "mean") if quantised else (min(p.least, p.least_alone), EXACT, "least")
            if cosine < bound:
                return f"The {modality} vectors have a {what} cosine of {cosine:.6f} to torch's, below {bound}"
            if p.mates < EXACT:
                return f"The {modality} vectors depend on their batch mates, cosine {p.mates:.6f}"
        # 0.5 - 0.497 is a little more than 0.003
        if self.gate and self.gate.torch - self.gate.exported > self.gate.allowed + 1e-9:
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
        out: folder to write.
        form: "onnx" and "openvino" are float32; "int8" quantises the image encoder for OpenVINO, calibrated on
            ``images``.
        run: cache, for the class head, and progress.
        images: the user's own, for parity and calibration; None: fixed pictures (float32 only).
        labelled: images with labels, for the accuracy gate; None: no gate.
        classes: names of the labels.
        allowed: greatest drop of top-1, a fraction.
        limit: images of each kind that are used, evenly spread.
        overwrite: replace an earlier export, once the new one is whole.

    Returns:
        What was written; ask it what is ``broken`` before you use the files.

    Raises:
        UsageError: the folder holds an export or other files, an unknown form, int8 without images, or none that can be
            read.
        DataError: ``labelled`` has no label column.
        MissingExtra: OpenVINO's forms without it, int8 without NNCF.
        DiptychError: the package onnx is absent, the image encoder cannot be exported, or the folder cannot be written.
    """
    if form not in FORMS:
        raise UsageError(f"The form {form!r} is unknown: use {', '.join(FORMS)}.")
    if form != "onnx" and not openvino_version():
        raise MissingExtra("openvino", "openvino", f"The form {form!r}")
    if form == "int8" and images is None:
        raise UsageError("int8 needs images to calibrate on: give {images}.")
    need_onnx()
    check_target(out, overwrite)
    _check_device(backbone)
    if labelled is not None:
        labelled.labels()  # what has none is told before the work
    skipped: dict[str, UnreadableItem] = {}
    pictures = readable(images, limit, skipped) if images is not None else None
    cosines: dict[str, Parity] = {}
    refused: dict[str, str] = {}
    runners: dict[str, Runner] = {}
    with _writing(out) as draft:
        for encoder in (backbone.image, backbone.text):
            folder, items = draft / encoder.modality, pictures if encoder.modality == "image" else None
            folder.mkdir()
            try:
                runners[encoder.modality] = _written(encoder, folder, form, pictures)
                cosines[encoder.modality] = parity(encoder, runners[encoder.modality], items, run)
            except (DiptychError, OSError):
                raise
            except Exception as error:  # exporter and runtime refuse with whatever exception comes up
                _check_space(draft)
                shutil.rmtree(folder)
                refused[encoder.modality] = (
                    f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:160]}"
                )
        if "image" in refused:
            raise DiptychError(
                f"The image encoder of {backbone.spec.name} cannot be exported ({refused['image']}): use another "
                f"backbone."
            )
        counted = None
        if labelled is not None and classes is not None:
            counted = gate(backbone, runners["image"], labelled, classes, run, limit, allowed, skipped)
        exported = Exported(out, form, cosines, refused, counted, tuple(skipped.values()))
        scale, bias = (float(number.detach()) for number in backbone.scale("image", "text"))
        facts = {
            "kind": "export", "spec": backbone.spec.as_dict(), "fingerprint": backbone.fingerprint, "scale": scale,
            "bias": bias,
        }  # fmt: skip
        write_json(
            draft / ABOUT,
            {**facts, "score": backbone.activation, **exported.as_dict(), "versions": versions(), "date": now()},
        )
        _bring(out, draft)
    return exported


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds other files, or an export that may not be replaced; raises UsageError."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a folder.")
    if (out / ABOUT).exists() and not overwrite:
        raise UsageError(f"{out} holds an export: give another {{out}} or {{overwrite}}.")
    if out.is_dir() and not (out / ABOUT).exists() and any(out.iterdir()):
        raise UsageError(f"{out} holds other files: name a new folder.")


def _check_device(backbone: Backbone) -> None:
    parameter = next(backbone.module().parameters(), None)
    if parameter is not None and parameter.device.type != "cpu":
        raise UsageError(f"An export starts on the CPU, and this model is on {parameter.device}: load it there.")


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` to write to, gone after the block; what the system refuses is a named error."""
    try:
        with drafted(out.absolute(), overwrite=True) as draft:
            draft.mkdir()
            yield draft
    except OSError as error:
        reason = error.strerror or str(error)
        raise DiptychError(
            f"Cannot write {out} ({reason}): free space, set its permissions, or name another {{out}}."
        ) from error


def _check_space(folder: Path) -> None:
    """Raise OSError where nothing can be written any more: the runtimes' own errors do not say so."""
    probe = folder / "probe"
    probe.write_bytes(bytes(2**20))
    probe.unlink()


def _bring(out: Path, draft: Path) -> None:
    """Copy what lies in a folder beside an earlier export to the draft that takes its place."""
    ours = {ABOUT, *(f"{part}/{name}" for part in ("image", "text") for name in (GRAPH, IR, "model.bin"))}
    for file in out.rglob("*") if out.is_dir() else ():
        name = file.relative_to(out)
        if file.is_file() and name.as_posix() not in ours:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, draft / name)


def _written(encoder: Encoder[Any], folder: Path, form: Form, pictures: Pictures | None) -> Runner:
    """Write an encoder's graph and return what runs it."""
    inputs = to_onnx(encoder, folder / GRAPH)
    if form == "onnx":
        return OnnxRunner(RuntimeReport(folder, True, inputs=inputs))
    whole = form == "openvino" or encoder.modality != "image"
    if whole:
        ov = openvino()
        ov.save_model(ov.Core().read_model(str(folder / GRAPH)), str(folder / IR), compress_to_fp16=False)
    else:
        quantise(folder / GRAPH, folder / IR, encoder, pictures or ())
    (folder / GRAPH).unlink()
    return OpenVinoRunner(RuntimeReport(folder, True, inputs=inputs, file=IR), "fp32" if whole else "int8")
