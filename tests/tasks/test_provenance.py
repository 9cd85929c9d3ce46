from __future__ import annotations

import io
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from diptych.tasks.provenance import CHANGED, MADE, film, marked, origin


def test_the_packet_is_xml_that_says_what_was_asked_and_leaves_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(marked([Image.fromarray(pixels)], CHANGED, 'source: <a> & "b"; target: c'))) as found:
        found.load()
        assert (np.asarray(found) == pixels).all()
        assert origin(found) == CHANGED
        assert str(found.info["Software"]).startswith("diptych ")
        tree = ElementTree.fromstring(str(found.info["XML:com.adobe.xmp"]))
    assert 'source: <a> & "b"; target: c' in "".join(tree.itertext())
    sources = [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("DigitalSourceType")]
    assert sources == ["http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"]


def test_frames_are_an_animated_picture_that_says_so_too() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "red", "blue")]
    with Image.open(io.BytesIO(marked(frames, MADE, "a cat"))) as found:
        assert (found.n_frames, origin(found)) == (2, MADE)  # equal frames are one, shown longer
        assert found.info["duration"] == 500
        found.seek(1)
        assert found.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_a_film_has_all_frames_and_says_so_too() -> None:
    av = pytest.importorskip("av")
    colours = ["red", "red", "lime", "blue"]
    content = film([Image.new("RGB", (65, 48), colour) for colour in colours], CHANGED, "source: a; target: b")
    assert content is not None
    with av.open(io.BytesIO(content)) as container:
        assert "compositeWithTrainedAlgorithmicMedia; source: a; target: b" in container.metadata["comment"]
        frames = [frame.to_image() for frame in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == 4
    assert [frame.size for frame in frames] == [(64, 48)] * 4
    for frame, colour in zip(frames, colours, strict=True):
        shade = np.asarray(Image.new("RGB", (1, 1), colour), dtype=float)[0, 0]
        assert np.abs(np.asarray(frame, dtype=float).mean((0, 1)) - shade).max() < 30


def test_without_pyav_there_is_no_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert film([Image.new("RGB", (8, 8))], MADE, "a") is None


def test_a_photo_has_no_such_origin() -> None:
    assert origin(Image.new("RGB", (2, 2))) is None
    assert MADE != CHANGED
