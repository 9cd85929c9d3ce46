"""Models and classifiers by name, folder or backbone; the model of the last name stays loaded."""

from __future__ import annotations

import functools
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from diptych.api.elsewhere import OF_LOAD, answers_for
from diptych.api.model import Model, ModelLike
from diptych.core import Backbone, Run, UsageError
from diptych.tasks.model import Predictor
from diptych.tasks.model import load as load_predictor
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import EngineKind, Precision, cache_folder, device_named, make_run, random_remark, served


@answers_for(OF_LOAD)
def load(
    name: str | Path = "lite",
    pretrained: str | None = None,
    *,
    device: str = "cpu",
    precision: Precision = "exact",
    engine: EngineKind = "auto",
    cache: str | Path | bool = True,
    weights: Literal["required", "random"] = "required",
    seed: int = 0,
    truncate: bool = False,
    allow_pickle: bool = False,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Model:
    """Load a model, in eval mode.

    Args:
        name: "lite", "tiny", "ViT-B-32/laion2b_s34b_b79k" in any spelling, "hf:org/name", "hf-hub:org/name",
            "local:PATH", or a Path; "space:FOLDER" for a space that ``extend`` fitted.
        pretrained: tag of the published weights, or a weight file, where ``name`` is an architecture of open_clip.
        device: of torch: "cpu", "cuda", "cuda:1", "mps"; "auto" takes a GPU if there is one.
        precision: of the towers: "exact" (fp32), "fast" (bf16), or "int8", which needs the extra ``openvino``.
        engine: what encodes on the CPU: "auto" takes the fastest that gives torch's vectors, and prepares it once;
            "torch", "onnx" and "openvino" insist on one.
        cache: folder of embeddings and prepared encoders; True: that of the command line; False keeps no embeddings.
        weights: "required", or "random" weights drawn from ``seed`` (open_clip architectures only).
        seed: of random weights.
        truncate: cut texts that are longer than the tower reads, instead of raising.
        allow_pickle: run pickles and TorchScript archives; only for files that you trust.
        offline: never touch the network; None: as HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE say.
        progress: show bars of long work with this model; None shows them in terminals and notebooks, unless the
            environment variable DIPTYCH_PROGRESS is 0.

    Raises:
        UsageError: the name, device, precision or engine is unknown, or a file would run code.
        NotAvailable: something is not on this machine, and may not or cannot be fetched.
        DataError: a file is damaged, of another format, or lacks tensors.
        MissingExtra: what the engine or the precision needs is not installed.

    Warns:
        UserWarning: once for a name, of weights that are random, or that were trained with QuickGELU though the name
            does not say so.
    """
    from diptych.backbones.names import activation_remark
    from diptych.backbones.sources import load as source
    from diptych.backbones.sources.load_options import split_name

    if not isinstance(name, (str, Path)):
        raise UsageError(f"A model is loaded by its name, such as 'lite', not a {type(name).__name__}.")
    name = f"local:{name}" if isinstance(name, Path) else name
    run = _run(device_named(device), precision, engine, cache, progress)
    if name.startswith("space:"):
        from diptych.tasks.space_classifier import open_space

        folder = Path(name.removeprefix("space:")).expanduser()
        return Model(open_space(folder, lambda base: source.load(base, device=run.device)), replace(run, engine=None))
    if remark := activation_remark(split_name(name if pretrained is None else f"{name},{pretrained}")[0]):
        _warn(remark)
    loaded = source.load(
        name if pretrained is None else f"{name},{pretrained}", offline=offline, weights=weights, seed=seed,
        device=run.device, truncate=truncate, allow_pickle=allow_pickle,
    )  # fmt: skip
    if remark := random_remark(loaded):
        _warn(remark)
    return Model(served(loaded, run), run)


@functools.cache
def _warn(remark: str) -> None:
    """Warn once a process, whatever filters are set."""
    warnings.warn(remark, UserWarning, stacklevel=3)


def load_classifier(folder: str | Path, model: ModelLike = None, *, device: str = "cpu") -> Predictor:
    """Load a classifier that ``diptych board classify --export`` or ``Predictor.save`` wrote.

    Args:
        folder: treated as untrusted: nothing in it is run.
        model: the one it was fitted on, or its name; None loads it by the name that the folder holds.
        device: of the model that is loaded, see ``load``.

    Raises:
        UsageError: another schema, or another model than the one it was fitted on.
        DataError: no such folder, or its files do not belong together.
        NotAvailable: the model is not on this machine.
    """
    opened = None if model is None else model_of(model)
    predictor = load_predictor(folder, opened, device=device_named(device))
    return predictor if opened is None else replace(predictor, run=opened.run)


_LAST: dict[tuple[str, str, Any], Model] = {}
"""The model that was loaded last by its name."""


def model_of(model: object) -> Model:
    """Return a model: by its name, a backbone with the run that ``load`` gives it, or ``lite``.

    The model that was loaded last by a published name stays loaded, so that calls by name load it once. Files that a
    name such as ``local:PATH`` leads to may change, and are read again.
    """
    if model is None or isinstance(model, str):
        from diptych.backbones.sources import load as source

        name = model or "lite"
        if name.startswith(("local", "space:")) or "/" in name or "\\" in name:
            return load(name)
        key = (name, str(cache_folder()), source.load)
        if key not in _LAST:
            loaded = load(name)
            _LAST.clear()
            _LAST[key] = loaded
        return _LAST[key]
    if isinstance(model, Model):
        return model
    if not isinstance(model, Backbone):
        raise UsageError(
            f"A model cannot be a {type(model).__name__}: give a name, or what diptych.load returned, as in "
            f"fit(model, train){'; embeddings go to diptych.sklearn.EmbeddingClassifier' * hasattr(model, 'ndim')}."
        )
    device = next((str(p.device) for p in model.module().parameters()), "cpu")
    return Model(model, _run(device, "exact", "torch", False))


def _run(
    device: str, precision: Precision, engine: EngineKind, cache: str | Path | bool, progress: bool | None = None
) -> Run:
    folder = cache_folder() if cache is True else cache_folder(cache) if cache is not False else None
    report = logging.getLogger("diptych").info
    return make_run(
        device=device, precision=precision, engine=engine, cache=folder, report=report, progress=progress_of(progress)
    )
