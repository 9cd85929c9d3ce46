from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diptych.core import AuditData, ClassNames, Column, Control, Example, Finding, Probe, Subject, Table
from diptych.tasks.audit.blame import Blame, Blamed, Confusion
from diptych.tasks.audit.report import Bound, Report, Verdict
from diptych.tasks.audit.report_page import html
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures(tuple(picture(i % 2, i) for i in range(4)))
TABLE = Table(PHOTOS, {"label": Column("label", np.array([0, 1, 0, 1]))})
DATA = AuditData(
    {"own <i>": Probe(TABLE, "id", ClassNames(("a", "b"))), "shots": Probe(TABLE, "train", ClassNames(("a", "b")))}
)
DROP = Finding(
    "small", "drop", 0.25, (0.1, 0.4), "darker", count=4, harm=0.1, says="Accuracy falls <much>.", advice="Add light.",
    control=Control("drop_random", 0.0, (-0.1, 0.1)), examples=(Example("own <i>", PHOTOS.key(1), "b, taken for a"),),
)  # fmt: skip
DOUBTED = Finding("small", "other", 0.25, (0.1, 0.4), harm=0.1, says="x", control=Control("c", 0.2, (0.1, 0.3)))
BLAME = Blame(
    0.75, 4, 4,
    (Confusion("b", "a", 1, 2, (PHOTOS.key(1),), (Blamed("shots", PHOTOS.key(0), "secret.jpg", "a", 1),)),),
    (Blamed("shots", PHOTOS.key(2), "secret.jpg", "a", 0, "b", 1.0),),
)  # fmt: skip


@pytest.fixture
def made() -> Report:
    other = Finding("second", "drop", 0.5, (0.4, 0.6), "darker", count=4)
    verdict = Verdict(Bound("drop", "", "at most", 0.2), "small", True, "drop about darker is 0.25.")
    silent = Finding.not_testable("small", "shape_bias", "At chance.")
    subjects = {"small": Subject.of(SmallBackbone()), "second": Subject.of(SmallBackbone())}
    return Report(
        "audit & co", subjects, DATA, {"one": (DROP, DOUBTED, other, silent)}, {"two": "No groups."}, BLAME, (verdict,)
    )


def test_the_page_says_effect_interval_count_control_and_remedy(made: Report) -> None:
    page = html(made)
    for words in (
        "Accuracy falls &lt;much&gt;.",
        "25.0 [10.0, 40.0] %, from 4 pictures.",
        "second: 50.0 [40.0, 60.0] %.",
        "Control, where there is nothing to find (drop random): 0.0 [-10.0, 10.0]. It found nothing, as it must.",
        "training picture of a, 1 vote<",
        "do not rely on this finding",
        "<b>What to do:</b> Add light.",
        "1 of 2 pictures of b are taken for a.",
        "labelled a, near b",
        "drop at most 0.2",
        "two</b> was not run: No groups.",
        "At chance.",
        "own &lt;i&gt; (4 test pictures)",
        "drop, darker: 25.0",
    ):
        assert words in page, words
    assert page.index("Accuracy falls") < page.index("Measured besides") < page.index("do not rely")
    for foreign in ("<script", "http://", "https://", 'src="/', "url("):
        assert foreign not in page


def test_every_measure_of_the_audits_is_explained(made: Report) -> None:
    """Who is handed the page knows no names of measures; those of findings in words say it there."""
    besides = Finding("small", "place_recall", 0.9, (0.8, 1.0))
    page = html(replace(made, findings={"one": (besides,)}))
    assert "<b>place recall:</b> share of places in a picture" in page
    assert "<b>drop:</b>" not in page


def test_without_pictures_there_are_neither_pictures_nor_file_names(made: Report) -> None:
    page = html(made, images=False)
    assert "<img" not in page
    assert "data:image" not in page
    assert "secret.jpg" not in page
    assert "<img" in html(made)


def test_pictures_are_small_and_carry_nothing_of_their_file(made: Report) -> None:
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "the owner's garden"
    PHOTOS[1].resize((900, 600)).save(content, "JPEG", exif=exif, comment=b"the owner's garden")
    marked = Pictures((PHOTOS[0], Image.open(content), PHOTOS[2], PHOTOS[3]))
    data = AuditData({"own <i>": Probe(Table(marked, TABLE.columns), "id", ClassNames(("a", "b")))})
    example = Example("own <i>", marked.key(1), "b")
    finding = Finding("small", "drop", 0.25, harm=0.1, says="x", examples=(example,))
    page = html(Report("t", {"small": made.subjects["small"]}, data, {"one": (finding,)}, {}))
    (source,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    shown = base64.b64decode(source)
    assert b"garden" not in shown
    image = Image.open(io.BytesIO(shown))
    assert max(image.size) == 240
    assert not image.getexif()
    assert "comment" not in image.info
