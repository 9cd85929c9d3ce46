from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from diptych.serve.protocols.label_config import LARGEST, brush_runs, chosen, controls_of
from diptych.serve.refusals import Refusal


def unpacked(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the bits one by one, as Label Studio's editor does."""
    bits = "".join(f"{byte:08b}" for byte in runs)
    place = 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        return int(bits[place - size : place], 2)

    count, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < count:
        assert read(1) == 1, "a run"
        length = read(sizes[read(2)]) + 1
        out += [read(word)] * length
    return np.array(out).reshape(*shape, 4)[..., 3] > 0


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (200, 300)])
def test_run_lengths_give_the_mask_back(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    mask[: shape[0] // 2] = True
    assert np.array_equal(unpacked(brush_runs(mask), shape), mask)
    assert np.array_equal(unpacked(brush_runs(~mask), shape), ~mask)


def test_controls_of_other_kinds_are_left_out() -> None:
    xml = (
        '<View><Image name="i" value="$photo"/><Text name="t" value="$text"/>'
        '<Choices name="a" toName="i" choice="multiple"><Choice value="x"/></Choices>'
        '<Choices name="b" toName="t"><Choice value="x"/></Choices>'
        '<BrushLabels name="c" toName="i"><Label value="sky"/></BrushLabels><!-- a remark --></View>'
    )
    found = controls_of(xml)
    assert [(c.name, c.kind, c.several) for c in found] == [("a", "choices", True), ("c", "brushlabels", False)]


@pytest.mark.parametrize(
    "xml",
    ["", "<View>", "<View/>", '<!DOCTYPE x [<!ENTITY a "b">]><View/>', '<View><Image name="i" value="$a"/></View>'],
)
def test_other_configs_get_a_sentence(xml: str) -> None:
    with pytest.raises(Refusal):
        controls_of(xml)


def test_choices_of_an_annotation_are_those_of_the_control() -> None:
    xml = '<View><Image name="i" value="$p"/><Choices name="a" toName="i"><Choice value="x"/></Choices></View>'
    (control,) = controls_of(xml)
    part = {"from_name": "a", "type": "choices", "value": {"choices": ["x", "gone"]}}
    assert chosen([{"from_name": "b", "type": "choices", "value": {"choices": ["x"]}}, part], control) == ["x"]
    assert chosen([], control) == []
    assert chosen([part["value"], 3, {**part, "value": {"choices": 3}}], control) == []
    assert chosen("none", control) == []


def test_an_xml_that_is_read_slowly_is_refused() -> None:
    deep = "<a>" * 30_000 + "</a>" * 30_000
    nested = '<Choices name="a" toName="i">' * 101 + "</Choices>" * 101
    assert len(deep) < LARGEST
    with pytest.raises(Refusal, match="no Choices"):
        controls_of(deep)
    with pytest.raises(Refusal, match="at most 100 Choices"):
        controls_of(nested)
    with pytest.raises(Refusal, match="at most 262,144 characters"):
        controls_of(deep + " " * LARGEST)
