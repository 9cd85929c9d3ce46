from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.backbones.provenance import record_of, source_of
from tests.support.backbone import SmallBackbone


@pytest.mark.parametrize(
    ("tag", "known"),
    [
        ("laion2b_s34b_b79k", ("laion2b", 2 * 10**9, "")),
        ("laion400m_e31", ("laion400m", 400 * 10**6, "")),
        ("datacomp_xl_s13b_b90k", ("datacomp_xl", None, "")),
        ("dfn5b", ("dfn5b", 5 * 10**9, "")),
        ("openai", ("openai", 400 * 10**6, "")),
        ("mscoco_finetuned_laion2b_s13b_b90k", ("laion2b", 2 * 10**9, "mscoco")),
        ("laion2b_s29b_b131k_ft_soup", ("laion2b", 2 * 10**9, "")),
        ("", ("", None, "")),
    ],
)
def test_tags_of_published_weights(tag: str, known: tuple[str, int | None, str]) -> None:
    assert source_of(tag) == known


def test_a_name_without_a_tag_says_nothing_and_models_that_ship_are_known() -> None:
    spec = SmallBackbone().spec
    assert record_of(replace(spec, name="openclip:ViT-B-32/laion2b_s34b_b79k")).source == "laion2b"
    assert (record_of(spec).source, record_of(spec).size) == ("", None)
    assert record_of(replace(spec, name="lite", family="lite")).family == "supervised"
