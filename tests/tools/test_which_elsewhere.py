"""The section on models that no board measured is made from cards alone."""

from __future__ import annotations

from typing import Any

from tools.which_elsewhere import elsewhere, memory, quoted


def figure(shots: int, value: float, backbone: str = "RN50", **other: Any) -> dict[str, Any]:
    words = f"mean of 11 data sets, {shots} shot{'s' * (shots > 1)}"
    return {"dataset": words, "backbone": backbone, "metric": "top-1", "value": value, **other}


CARDS = [
    {"slug": "tip-adapter", "headlines": [figure(1, 62.33), figure(16, 70.32)]},
    {"slug": "gda", "headlines": [figure(1, 62.19), figure(16, 76.05), figure(16, 81.85, "ViT-B/16")]},
    {"slug": "nola", "headlines": [figure(1, 3.6, metric="gain in top-1"), figure(1, 60.0, dataset="ImageNet")]},
]


def test_means_alone_are_quoted() -> None:
    assert quoted(CARDS) == {
        "RN50": {"tip-adapter": {1: 62.33, 16: 70.32}, "gda": {1: 62.19, 16: 76.05}},
        "ViT-B/16": {"gda": {16: 81.85}},
    }


def test_the_highest_is_named_where_systems_can_be_compared() -> None:
    text = "\n".join(elsewhere(["lite", "tiny"], CARDS))
    assert "The boards here are of `lite`, `tiny`." in text
    assert "| RN50 | `gda` | 62.19 | 76.05 |" in text
    assert "| ViT-B/16 | `gda` | – | 81.85 |" in text
    assert "Highest on RN50, of those quoted: `tip-adapter` at 1, `gda` at 16." in text
    assert "Highest on ViT-B/16" not in text


def test_there_is_no_section_without_figures() -> None:
    assert list(elsewhere(["lite"], [{"slug": "gda", "headlines": []}])) == []


def test_the_catalogue_quotes_several_systems_on_one_model() -> None:
    text = "\n".join(elsewhere(["lite"]))
    assert "Highest on CLIP RN50, of those quoted:" in text


def test_memory_is_the_largest_peak_of_the_boards() -> None:
    assert "up to 2.0 GiB" in memory([{"peak_memory_mib": 1024.0}, {"peak_memory_mib": 2048.0}, {}])
    assert memory([{}, {"peak_memory_mib": 0.0}]) == ""
