from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from diptych.core import UnreadableItem, UsageError
from diptych.data.formats.jats import ArticleStream, open_articles
from diptych.data.load import open_stream

ARTICLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>
<article-id pub-id-type="pmc">12</article-id></article-meta></front><body>{}</body></article>"""
FIGURE = '<fig id="F{0}"><label>Figure {0}</label><caption><p>Cells {0}.</p></caption><graphic xlink:href="{1}"/></fig>'


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    for name, hrefs in (("a", ["a1", "a2.tif", "../secret", "absent"]), ("b", ["b1"])):
        figures = "".join(FIGURE.format(i + 1, href) for i, href in enumerate(hrefs))
        (tmp_path / f"{name}.nxml").write_text(ARTICLE.format(figures))
    (tmp_path / "c.xml").write_text("<html/>")
    (tmp_path / "b").mkdir()
    for name in ("a1.jpg", "a2.jpg", "a1.gif", "b/b1.png"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / name)
    return tmp_path


def test_figures_come_with_pictures_beside_the_article_or_in_its_folder(papers: Path) -> None:
    stream = open_stream(str(papers))
    assert isinstance(stream, ArticleStream)
    found = list(stream.outcomes())
    read = [item for _, item in found if not isinstance(item, UnreadableItem)]
    assert [Path(item.name).relative_to(papers).as_posix() for item in read] == ["a1.jpg", "a2.jpg", "b/b1.png"]
    assert [item.text() for item in read] == ["Cells 1.", "Cells 2.", "Cells 1."]
    assert read[0].image().size == (40, 30)
    assert read[0].facts["article"] == "PMC12"
    reasons = [item.reason for _, item in found if isinstance(item, UnreadableItem)]
    assert reasons[0] == "its name leads outside the folder of the article"
    assert reasons[1] == "there is no such picture beside the article"
    assert reasons[2] == "is no JATS article: its root is 'html'"
    with pytest.raises(UnreadableItem, match="leads outside"):
        list(stream)


def test_parts_and_seeks_give_the_same_positions(papers: Path) -> None:
    whole = open_articles(papers)
    positions = [position for position, _ in whole.outcomes()]
    parts = whole.parts(2)
    assert [p for part in parts for p, _ in part.outcomes()] == positions
    assert [p for p, _ in whole.seek(positions[2]).outcomes()] == positions[2:]
    assert len(whole.parts(99)) == 3


def test_a_folder_without_articles_and_an_article_that_is_gone(papers: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="There are no articles below"):
        open_articles(tmp_path / "empty")
    stream = open_articles(papers / "a.nxml")
    (papers / "a.nxml").unlink()
    ((_, error),) = stream.outcomes()
    assert isinstance(error, UnreadableItem)
    assert isinstance(error.__cause__, OSError)
