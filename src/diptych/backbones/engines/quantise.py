"""Quantisation of an encoder's graph to int8 products, for OpenVINO.

Ranges are calibrated on pictures beforehand, so that a vector does not depend on the other items of its batch.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.backbones.engines.runtimes.openvino import openvino, without
from diptych.backbones.engines.runtimes.signal_stack import separate_signal_stack
from diptych.core import Encoder, MissingExtra
from diptych.data.folders import class_folder
from diptych.data.named_sets import demo_folder

FITTED, JUDGED = 56, 24
"""Packaged clothes that ranges are fixed on, beside all packaged photos, and others that the vectors are compared on.
"""


def quantise(graph: Path, target: Path, encoder: Encoder[Any], pictures: Iterable[Image.Image]) -> None:
    """Write a float32 graph with int8 products as ``target`` (.xml, its weights beside it as .bin).

    Weights have a scale a channel, activations one a tensor. Where most products are matrix products (ViTs),
    activations are smoothed into the weights first, since a few channels of theirs are a hundred times as large as the
    rest (Xiao et al. 2023, SmoothQuant). Depthwise convolutions stay float: their channels never meet, so nothing
    averages the error of one scale for all of them, and they are a small part of the work. The biases then take up what
    rounding shifted.

    Args:
        graph: ONNX, of an image encoder.
        target: file to write.
        encoder: gives the inputs.
        pictures: what the ranges are fixed on; one at a time is in memory, and all of their inputs.

    Raises:
        MissingExtra: OpenVINO or NNCF is not installed.
    """
    ov, nncf = openvino(), _nncf()
    model = ov.Core().read_model(str(graph))
    kinds = [op.get_type_name() for op in model.get_ops()]
    transformer = kinds.count("MatMul") > kinds.count("Convolution") + kinds.count("GroupConvolution")
    inputs = [np.asarray(encoder.inputs([picture])) for picture in pictures]
    with (
        contextlib.redirect_stdout(io.StringIO()),
        separate_signal_stack(),
    ):  # bars; NNCF compiles the graph to see its values
        small = nncf.quantize(
            model, nncf.Dataset(inputs), subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=nncf.IgnoredScope(types=["GroupConvolution"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=_extremes()),
        )  # fmt: skip
    ov.save_model(small, str(target), compress_to_fp16=False)


def fixed_pictures() -> list[Image.Image]:
    """Return the packaged photos and clothes that ranges are fixed on where the user gave none."""
    photos, clothes = (class_folder(demo_folder(name)) for name in ("photos", "clothes"))
    return [
        *(p for table in photos.splits.values() for p in _some(table.items, len(table.items))),
        *_some(clothes.splits["train"].items, FITTED),
    ]


def other_pictures() -> list[Image.Image]:
    """Return packaged clothes that no range was fixed on."""
    return list(_some(class_folder(demo_folder("clothes")).splits["test"].items, JUDGED))


def _some(items: Any, count: int) -> Iterator[Image.Image]:
    for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)):
        yield items[int(i)]


def _extremes() -> Any:
    """Return the rule that a range includes all calibration values.

    NNCF's default, the mean of the pictures' extremes, cuts many values off.
    """
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return RangeEstimatorParametersSet.MINMAX


def _nncf() -> Any:
    """Import NNCF, quiet, and without the telemetry that it would send."""
    try:
        with without("openvino_telemetry"):
            import nncf
    except ImportError as error:
        raise MissingExtra("nncf", "openvino", "int8") from error
    logging.getLogger("nncf").setLevel(
        logging.ERROR
    )  # its own set_log_level would silence every handler that others hung there
    return nncf
