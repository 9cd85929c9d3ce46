from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest

from diptych.core import UnreadableItem
from diptych.data.formats.articles import (
    MAX_DEPTH,
    MAX_XML,
    article_facts,
    contexts,
    graphics,
    licence_group,
    parse,
    plain_text,
)

PAPERS = Path(os.environ.get("DIPTYCH_DATA", "absent")) / "jats_papers"
LINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def test_captions_are_those_around_and_contexts_cite() -> None:
    root = parse(
        f"""<article {LINK}><body>
        <p>As <xref ref-type="fig" rid="F1">Fig. 1</xref> and <xref ref-type="fig" rid="F1 F2">2</xref> show.</p>
        <p>No figure, only <xref ref-type="bibr" rid="B1">[1]</xref>.</p>
        <fig-group id="G"><caption><p>Both.</p></caption>
          <fig id="F1"><label>Figure 1</label><caption><title>Cells</title><p>at <italic>20 x</italic>&#8722;<xref
            ref-type="fig" rid="F1">see</xref> <tex-math>\\alpha</tex-math></p></caption><graphic xlink:href="a"/></fig>
          <fig id="F2"><alternatives><graphic xlink:href="b.tif"/></alternatives></fig>
        </fig-group>
        <p>A formula <graphic xlink:href="c"/></p></body></article>""".encode(),
        "x",
    )
    found = list(graphics(root))
    assert [href for href, _ in found] == ["a", "b.tif", "c"]
    assert plain_text(found[0][1].find("caption")) == "Cells at 20 x−see"  # type: ignore[union-attr]
    assert plain_text(found[1][1].find("caption")) == "Both."  # type: ignore[union-attr]
    assert found[2][1] is None
    assert contexts(root) == {"F1": ["As Fig. 1 and 2 show."], "F2": ["As Fig. 1 and 2 show."]}


def test_entities_and_bombs_are_refused_and_html_names_are_read() -> None:
    with pytest.raises(UnreadableItem, match=r"declares an entity of its own \('x'\)"):
        parse(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "x")
    with pytest.raises(UnreadableItem, match="damaged XML"):
        parse(b"<a><b></a>", "x")
    with pytest.raises(UnreadableItem, match=f"more than {MAX_DEPTH} elements inside each other"):
        parse(b"<a>" * (MAX_DEPTH + 1), "x")
    with pytest.raises(UnreadableItem, match="more than the limit"):
        parse(b" " * (MAX_XML + 1), "x")
    assert parse(b'<!DOCTYPE a SYSTEM "none.dtd"><a>5 &mu;m</a>', "x").text == "5 μm"


def test_licences_fall_into_the_groups_of_pubmed_central() -> None:
    assert licence_group("http://creativecommons.org/licenses/by/2.0") == "commercial"
    assert licence_group("https://creativecommons.org/publicdomain/zero/1.0/") == "commercial"
    assert licence_group("http://creativecommons.org/licenses/by-nc-nd/4.0/") == "noncommercial"
    assert licence_group("all rights reserved") == "other"


@pytest.mark.data
@pytest.mark.skipif(not PAPERS.is_dir(), reason="DIPTYCH_DATA has no jats_papers")
def test_real_papers_equal_regular_expressions() -> None:
    """The oracle reads no tree: what stands between tags of the raw file."""
    counts = {}
    for path in sorted(PAPERS.glob("*.nxml")):
        raw, root = path.read_text(), parse(path.read_bytes(), path.name)
        figures = re.findall(r"<fig [^>]*>.*?</fig>", raw, re.S)
        said = [re.search(r"<caption>(.*?)</caption>", f, re.S)[1] for f in figures]  # type: ignore[index]
        ours = [plain_text(a.find("caption")) for _, a in graphics(root) if a is not None and a.tag == "fig"]
        squeezed = [re.sub(r"\s", "", html.unescape(re.sub(r"<[^>]*>", "", text))) for text in said]
        assert [re.sub(r"\s", "", text) for text in ours] == squeezed
        counts[path.stem] = (len(ours), len(list(graphics(root))))
        assert article_facts(root)["article"].startswith("10.")
    assert counts == {
        "1471-2180-11-174": (4, 4), "1472-6831-8-11": (0, 0), "6605965a": (0, 0), "mds526": (2, 2),
        "pntd.0002065": (1, 6),
    }  # fmt: skip
