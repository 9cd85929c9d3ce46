"""Short names of the classes that are saved, which outlive a move of their modules.

"gda:FittedGDA" is the class FittedGDA of the file of the system "gda", ours or an outsider's, and "ClassNames" stands
in ``SHARED``. A folder is untrusted: a name leads to fitted classes alone.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diptych.core import DataError, Space, UsageError, plugins

_NAME = re.compile(r"(?:([^:]+):)?([A-Za-z_]\w*)", re.ASCII)  # slug of a system, class
_METHODS = Path(__file__).parents[1] / "methods"

SHARED: Mapping[str, str] = MappingProxyType(
    {
        "AdaptedClouds": "diptych.nn.spaces.view_adapters",
        "Anomaly": "diptych.core.method",
        "Calibrated": "diptych.tasks.model",
        "Calibration": "diptych.tasks.calibrate",
        "ClipSpace": "diptych.features.clips",
        "CloudSpace": "diptych.features.depth_views",
        "ConvInverter": "diptych.backbones.generators.load",
        "ClassNames": "diptych.core.data",
        "ClassWords": "diptych.nn.dense.mask_training",
        "FactorGenerator": "diptych.backbones.generators.factors",
        "DenoiserLayout": "diptych.backbones.diffusion.patch_denoiser",
        "SmallDiffusion": "diptych.backbones.diffusion.small",
        "FittedCache": "diptych.nn.cache_model",
        "FusedStars": "diptych.nn.spaces.fused_stars",
        "HeadedSpace": "diptych.nn.spaces.headed_space",
        "ILASpace": "diptych.nn.spaces.aligned_clips",
        "PromptedClips": "diptych.nn.prompts.prompted_clips",
        "SparseAutoencoder": "diptych.nn.sparse_autoencoder",
        "Panoptic": "diptych.nn.dense.segments",
        "Segment": "diptych.nn.dense.segments",
        "Segmented": "diptych.tasks.label_maps.segmented",
        "SpaceClassifier": "diptych.tasks.space_classifier",
        "StarSpace": "diptych.nn.spaces.star_space",
        "StoredSpace": "diptych.features.spaces",
        "StyleGAN2": "diptych.backbones.generators.stylegan2",
        "MaskLayout": "diptych.nn.dense.mask_queries",
        "Text": "diptych.core.data",
        "TextReading": "diptych.core.diffusion",
        "ThreeMapInverter": "diptych.backbones.generators.maps",
        "TunedStars": "diptych.nn.spaces.star_space",
        "Ready": "diptych.tasks.detect",
        "Refinement": "diptych.nn.dense.prompted",
        "Windows": "diptych.nn.dense.label_maps",
    }
)
"""Classes that fitted objects hold and that are in no system's file -> their modules. A name stays for good; a module
may move.
"""
RETIRED: Mapping[str, str] = MappingProxyType(
    {
        "ClipClassifier": "run 'diptych extend' with ila on its clips again",
        "CloudClassifier": "run 'diptych extend' on its point clouds again",
        "StarClassifier": "run 'diptych extend' on its light curves again",
    }
)
"""Classes of earlier versions, which are no longer read -> how to write what they held anew."""


def is_frozen(kind: type) -> bool:
    """Return whether a class is a frozen dataclass, whose fields can be written."""
    return dataclasses.is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def is_built(kind: type[Any]) -> bool:
    """Return whether a class is a space that is put together from its parts."""
    return issubclass(kind, Space) and kind.of_parts.__func__ is not Space.of_parts.__func__  # type: ignore[attr-defined]


def short_name(kind: type[Any]) -> str:
    """Return the short name of a frozen dataclass, or of a space that has parts.

    Raises:
        UsageError: it has none.
    """
    if SHARED.get(kind.__qualname__) == kind.__module__:
        return kind.__qualname__
    for slug, module in _systems():
        if module == kind.__module__:
            return f"{slug}:{kind.__qualname__}"
    raise UsageError(
        f"{kind.__qualname__} of {kind.__module__} cannot be saved: it is in no system's file and "
        f"not in saved_classes.SHARED."
    )


def class_named(name: str, folder: Path) -> type[Any]:
    """Return the frozen dataclass, or the space that has parts, of a short name."""
    if name in RETIRED:
        raise UsageError(f"{folder} was written by an earlier version, and is no longer read: {RETIRED[name]}.")
    match = _NAME.fullmatch(name)
    if match is not None:
        slug, attribute = match.groups()
        module = SHARED.get(attribute) if slug is None else dict(_systems()).get(slug)
        try:
            kind = module and getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            kind = None
        if isinstance(kind, type) and kind.__module__ == module and (is_frozen(kind) or is_built(kind)):
            return kind
    raise DataError(
        f"{folder} names the class {name!r}, which is no fitted class of diptych or of an installed method: install "
        f"its package, or fit again and save anew."
    )


def _systems() -> Iterator[tuple[str, str]]:
    """Yield (slug, module) of every system: the slug is the name of its file, or of its package's entry point."""
    ours = {path.stem.replace("_", "-"): path for path in sorted(_METHODS.glob("*/[a-z]*.py"))}
    yield from ((slug, f"diptych.methods.{path.parent.name}.{path.stem}") for slug, path in ours.items())
    for slug, point in plugins.points(ours).items():
        yield slug, point.value.partition(":")[0].strip()
