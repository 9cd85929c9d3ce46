"""Label Studio's XML: which controls a project has, and its brush masks as run lengths."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diptych.serve.refusals import Refusal

Kind = Literal["choices", "brushlabels", "rectanglelabels"]
KINDS: dict[str, Kind] = {"Choices": "choices", "BrushLabels": "brushlabels", "RectangleLabels": "rectanglelabels"}
LARGEST, MOST = 2**18, 100
"""Characters of an XML, and controls in it: enough for a thousand labels, and read in milliseconds."""
SIZES = (3, 4, 8, 16)
"""Bits of the length of a run, of which each run names one."""


@dataclass(frozen=True)
class Control:
    """A control that pictures are labelled with.

    Args:
        name: of the control, "from_name" of results.
        to: name of the picture, "to_name" of results.
        kind: "choices" for labels of the picture, "brushlabels" for masks, "rectanglelabels" for boxes.
        words: the labels in words.
        values: the labels as results name them, one per word.
        column: of a task's data with the picture.
        several: whether more than one choice may be made.
    """

    name: str
    to: str
    kind: Kind
    words: tuple[str, ...]
    values: tuple[str, ...]
    column: str
    several: bool = False


def controls_of(config: str) -> list[Control]:
    """Return the controls of a project's XML that belong to pictures.

    Raises:
        Refusal: no XML, a document type, or no control for a picture.

    Example:
        >>> xml = ('<View><Image name="i" value="$photo"/><Choices name="kind" toName="i">'
        ...        '<Choice value="a cat" alias="cat"/><Choice value="a dog"/></Choices></View>')
        >>> controls_of(xml)[0].words, controls_of(xml)[0].values, controls_of(xml)[0].column
        (('a cat', 'a dog'), ('cat', 'a dog'), 'photo')
    """
    if len(config) > LARGEST:
        raise Refusal(
            413, f"A label config has at most {LARGEST:,} characters, not {len(config):,}: send a smaller one."
        )
    if "<!" in config.replace("<!--", ""):
        raise Refusal(400, "A label config has no document type and no entities: leave them out.")
    try:
        root = ET.fromstring(config)
    except ET.ParseError as error:
        raise Refusal(
            400, f"The label config is not XML ({error}): send the labelling interface of the project."
        ) from None
    columns = {node.get("name", ""): node.get("value", "").lstrip("$") for node in root.iter("Image")}
    controls: list[Control] = []
    nodes = [node for node in root.iter() if node.tag in KINDS]
    if len(nodes) > MOST:
        raise Refusal(
            400, f"A label config has at most {MOST} Choices, BrushLabels and RectangleLabels, not {len(nodes)}."
        )
    for node in nodes:
        kind, to = KINDS[node.tag], node.get("toName", "")
        labels = [x for x in node.iter() if x.tag in ("Choice", "Label") and x.get("value")]
        if to not in columns or not labels:
            continue
        words = tuple(str(x.get("value")) for x in labels)
        values = tuple(str(x.get("alias") or x.get("value")) for x in labels)
        several = node.get("choice", "single") == "multiple"
        controls.append(Control(node.get("name", ""), to, kind, words, values, columns[to], several))
    if not controls:
        raise Refusal(
            400, "The label config has no Choices, BrushLabels or RectangleLabels for an Image: add one of them."
        )
    return controls


def brush_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return a mask as Label Studio's run lengths: four bytes per pixel, 255 inside and 0 outside.

    The bits are: 32 of the number of bytes, 5 of the bits of a byte less 1, four times 4 of the sizes of lengths less
    1; then for each run a bit 1, two that choose the size, the length less 1, and the byte.

    Args:
        mask: (H, W) bool.

    Source: the format of the package rle-pack, which Label Studio's editor reads.
    """
    flat = np.repeat(mask.astype(np.uint8).ravel() * 255, 4)
    bits = [_bits(len(flat), 32), _bits(7, 5), *(_bits(size - 1, 4) for size in SIZES)]
    ends = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate(([0], ends))
    for start, stop in zip(starts.tolist(), [*ends.tolist(), len(flat)], strict=True):
        value, left = int(flat[start]), stop - start
        while left:
            length = min(left, 1 << SIZES[-1])
            number = next(i for i, size in enumerate(SIZES) if length <= 1 << size)
            bits += ["1", _bits(number, 2), _bits(length - 1, SIZES[number]), _bits(value, 8)]
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def _bits(value: int, size: int) -> str:
    return f"{value:0{size}b}"


def chosen(result: object, control: Control) -> list[str]:
    """Return the choices of an annotation for a control, those that its XML names."""
    for part in result if isinstance(result, list) else ():
        value = part.get("value") if isinstance(part, dict) else None
        if isinstance(value, dict) and (part.get("from_name"), part.get("type")) == (control.name, "choices"):
            choices = value.get("choices")
            return [str(v) for v in choices if str(v) in control.values] if isinstance(choices, list) else []
    return []
