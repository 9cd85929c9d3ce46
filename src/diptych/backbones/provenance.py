"""How a backbone was made, as far as its name says: training data, their number, fine-tuning."""

from __future__ import annotations

import re

from diptych.backbones.names import parse
from diptych.core import Backbone, Kit, ModelRecord, Spec, Subject, UsageError

EMBEDDED = {
    "lite": ModelRecord("supervised", "imagenet1k", 1_281_167, "efficientnet_lite0"),
    "tiny": ModelRecord("clip", "scenes"),
}
"""The models that ship: the image tower of lite is trained on the labels of ImageNet, tiny on drawn scenes."""
SIZES = {"openai": 400_000_000}
"""Training pairs of sources whose name does not say them. Source: Radford et al., 2021, section 2.2."""
_RUN = re.compile(r"_(e\d+|s\d+[mb].*|ft.*|augreg.*)$")
_SIZE = re.compile(r"(\d+)([mb])$")
_TUNED = re.compile(r"^(.+)_finetuned_(.+)$")


def record_of(spec: Spec) -> ModelRecord:
    """Return what the name of a checkpoint says about its training.

    Published OpenCLIP weights name their source in the tag, such as "laion2b_s34b_b79k": "laion2b", with 2 billion
    pairs. Where the name says nothing, the fields are empty; a caller who knows more gives a ``ModelRecord``.
    """
    if spec.family in EMBEDDED:
        return EMBEDDED[spec.family]
    try:
        tag = parse(spec.name).tag
    except UsageError:
        tag = ""
    source, size, finetuned = source_of(tag)
    return ModelRecord("clip", source, size, spec.architecture, finetuned, spec.score)


def subject_of(backbone: Backbone) -> Subject:
    """Return a backbone as the subject of an audit, with what its name says about its training."""
    return Subject(Kit.of(backbone), record_of(backbone.spec))


def source_of(tag: str) -> tuple[str, int | None, str]:
    """Return the training data of a tag, their number (None: the name does not say it), and the fine-tuning data.

    Args:
        tag: OpenCLIP's name of published weights; "" gives nothing.

    Example:
        >>> source_of("mscoco_finetuned_laion2b_s13b_b90k"), source_of("laion400m_e32")
        (('laion2b', 2000000000, 'mscoco'), ('laion400m', 400000000, ''))
    """
    tuned = _TUNED.match(tag)
    source = _RUN.sub("", tuned[2] if tuned else tag)
    size = _SIZE.search(source)
    count = int(size[1]) * {"m": 10**6, "b": 10**9}[size[2]] if size else SIZES.get(source)
    return source, count, tuned[1] if tuned else ""
