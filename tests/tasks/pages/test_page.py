from __future__ import annotations

import re

from diptych.tasks.pages.page import CLOSING, TABLE_END, opening, table


def test_a_page_loads_nothing_and_escapes_its_title() -> None:
    page = opening("<b>Cats</b>", '<p class="lead">two</p>', style=".mine { color: red }") + CLOSING
    assert '<h1>&lt;b&gt;Cats&lt;/b&gt;</h1><p class="lead">two</p></header>' in page
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert page.index(".mine { color: red }") < page.index("</style>")
    assert not re.search(r"<script|https?://|@import", page)
    assert page.endswith("</main></html>")


def test_a_page_without_pictures_may_show_none() -> None:
    assert "img-src" not in opening("Ranks", pictures=False)


def test_a_table_scrolls_and_names_its_columns() -> None:
    page = table(["system", "<i>acc</i>", "note"], left=(0, 2), caption="In percent.") + TABLE_END
    assert page.startswith('<div class="scroll"><table><caption><span>In percent.</span></caption><thead>')
    assert re.findall(r'<th scope="col"( class="left")?>(.*?)</th>', page) == [
        (' class="left"', "system"), ("", "<i>acc</i>"), (' class="left"', "note"),
    ]  # fmt: skip
    assert "<caption>" not in table(["system"])
