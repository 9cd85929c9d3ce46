"""One result as data: a JSON per run that CLIP_benchmark's ``build`` reads too, with all that repeats it."""

from __future__ import annotations

import csv
import io
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import DataError
from diptych.core.entry_points import installed_version
from diptych.data.files import plain, write_whole

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone, Run, Runner, Spec

PACKAGES = (
    "diptych", "torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnxruntime", "numpy",
    "scikit-learn",
)  # fmt: skip
ZERO_SHOT = "zeroshot_classification"
FEW_SHOT = "fewshot_classification"


@dataclass(frozen=True)
class About:
    """What a record says besides its numbers.

    Args:
        dataset: as CLIP_benchmark names it.
        source: what ``open_data`` was given; ``data_hash``: of the files and labels behind it.
        method: slug of the system; ``variant``: its row on the board, "" for the default.
        shots, seed, val: protocol; ``val`` is "coop", "full" or "" for rows without choices.
        texts: source of the pool that the system read, "" if none; ``texts_hash``: of what it held.
        unlabelled: source of images without labels that were given apart, "" if none, or those of train;
            ``unlabelled_hash``: of what it held.
        images, extra_texts: how many images (train, val, unlabelled) and texts of the pool fit was given.
        skipped: names of unreadable items and why.
        fitted: what was loaded instead of fitting: "folder", "sha256" of its description, "system" with its settings,
            "backbone" and the version "diptych" that wrote it; {}: the system was fitted.
    """

    dataset: str = ""
    source: str = ""
    data_hash: str = ""
    method: str = ""
    variant: str = ""
    shots: int = 0
    seed: int = 0
    val: str = ""
    texts: str = ""
    texts_hash: str = ""
    unlabelled: str = ""
    unlabelled_hash: str = ""
    images: int = 0
    extra_texts: int = 0
    command: str = ""
    skipped: tuple[str, ...] = ()
    fitted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record(About):
    """The result of one method on one data set with one seed. Metrics are fractions; NaN is written as null.

    Args:
        model, pretrained, task, metrics, language: as CLIP_benchmark names them.
        classnames, templates: as CLIP_benchmark names them.
        ci95: metric -> (low, high), the 95 % interval over the test items.
        backbone: canonical name of the backbone; ``fingerprint``: of its weights, tokenizer and pixel recipe.
        held: metrics on labelled items apart from test ("acc1", "nll", "items", "seen": fit had seen them); what
            choices between rows read.
        acting: what probabilities came to on test after calibration on the held items, see ``Calibration.report``, and
            "risk80": the share of wrong answers among the surest 80 %.
        seconds: "fit", "predict", "encode" wall seconds, apart.
        peak_memory_mib: largest resident memory of the process so far.
        device, threads, versions, machine, command, date: where, how and when.
        engine, precision: what made the vectors, see ``engine_of`` and ``precision_of``.
        precision_asked: what the run asked for; towers and trainings, which no engine runs, keep to it.
    """

    dataset: str = field()
    method: str = field()
    model: str
    pretrained: str
    task: str
    metrics: Mapping[str, float | None]
    language: str = "en"
    classnames: Sequence[str] = ()
    templates: Sequence[str] = ()
    ci95: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    backbone: str = ""
    fingerprint: str = ""
    template_hash: str = ""
    items: int = 0
    held: Mapping[str, float | None] = field(default_factory=dict)
    acting: Mapping[str, float | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_mib: float = 0.0
    device: str = "cpu"
    precision: str = "fp32"
    precision_asked: str = ""
    engine: str = "torch"
    threads: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    date: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Return the record that ``as_dict`` described; unknown keys are ignored.

        Raises:
            DataError: a key without a default is missing.
        """
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{k: v for k, v in data.items() if k in known})
        except TypeError as error:
            raise DataError("This is not a result of diptych: it lacks dataset, model, metrics or method.") from error

    def row(self) -> dict[str, Any]:
        """Return the flat row that CLIP_benchmark's ``build`` makes of this record, without the long lists."""
        flat = self.as_dict()
        metrics = flat.pop("metrics")
        intervals = {
            f"{name}_{end}": value
            for name, pair in flat.pop("ci95").items()
            for end, value in zip(("low", "high"), pair, strict=True)
        }
        seconds = {f"seconds_{name}": value for name, value in flat.pop("seconds").items()}
        for long in ("classnames", "templates", "versions"):
            flat.pop(long)
        for part in ("held", "acting"):
            flat |= {f"{part}_{name}": value for name, value in flat.pop(part).items()}
        flat["skipped"] = len(self.skipped)
        flat |= {f"fitted_{name}": flat["fitted"][name] for name in ("folder", "sha256") if name in self.fitted}
        del flat["fitted"]
        return {**metrics, **intervals, **flat, **seconds, "model_fullname": f"{self.model} {self.pretrained}"}


def write_table(path: Path, lines: Sequence[Mapping[str, Any]], *, overwrite: bool = False) -> None:
    """Write lines, column -> value, as CSV; a line that lacks a column is empty there. See ``write_whole``."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for line in lines for name in line)))
    writer.writeheader()
    writer.writerows(lines)
    write_whole(path, text.getvalue(), overwrite=overwrite)


def model_names(spec: Spec) -> tuple[str, str]:
    """Return CLIP_benchmark's (model, pretrained): "openclip:ViT-B-32/openai" gives ("ViT-B-32", "openai")."""
    model, slash, tag = spec.name.removeprefix("openclip:").partition("/")
    if spec.family == "openclip" and slash:
        return model, tag
    return spec.name, spec.weights[:12]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on, without importing them."""
    packages = {name: version for name in PACKAGES if (version := installed_version(name))}
    return {"python": platform.python_version(), **packages}


def deciding_versions() -> dict[str, str]:
    """Return the versions of what measures: a row that others measured is measured again."""
    return {name: version for name, version in versions().items() if name in ("diptych", "torch")}


def machine() -> str:
    """Return the processor, its cores and the system in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} cores, {platform.system()}"


def threads() -> int:
    """Return the number of threads torch computes with."""
    import torch

    return torch.get_num_threads()


def engine_of(backbone: Backbone | CachedBackbone, run: Run) -> str:
    """Return what makes a backbone's vectors: "torch" or a runtime; each with its modality where they differ."""
    return _named(
        {m: runner.facts.get("engine", "torch") if runner else "torch" for m, runner in _runners(backbone, run).items()}
    )


def precision_of(backbone: Backbone | CachedBackbone, run: Run) -> str:
    """Return the precision of a backbone's encoders, which an engine may raise; by modality where they differ."""
    return _named({m: runner.precision if runner else run.precision for m, runner in _runners(backbone, run).items()})


def _runners(backbone: Backbone | CachedBackbone, run: Run) -> dict[str, Runner | None]:
    encoders: Mapping[str, Any] = backbone.encoders
    return {m: run.engine.runner(encoder, run) if run.engine else None for m, encoder in encoders.items()}


def _named(parts: Mapping[str, str]) -> str:
    return (
        next(iter(parts.values()))
        if len(set(parts.values())) == 1
        else ", ".join(f"{name} ({m})" for m, name in sorted(parts.items()))
    )


def circumstances(backbone: Backbone, run: Run, command: str) -> dict[str, Any]:
    """Return what a result says beside its numbers: backbone, device, threads, versions, machine, command, date."""
    return {
        "backbone": backbone.spec.name, "fingerprint": backbone.fingerprint, "device": run.device,
        "precision": precision_of(backbone, run), "precision_asked": run.precision, "engine": engine_of(backbone, run),
        "threads": threads(), "versions": versions(), "machine": machine(), "command": command, "date": now(),
    }  # fmt: skip


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
