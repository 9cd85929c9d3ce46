"""Our systems, each with settings that make its training short, and what each of them is asked."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import catalog
from diptych.backbones.generators.load import load_generator, load_maps
from diptych.backbones.language_text import LanguageText
from diptych.nn.dense.label_maps import Windows
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.nn.text.agents import AGENTS
from diptych.nn.vector_head import VectorHead
from diptych.testing import checks
from diptych.testing.contract import Check, Exam, exams
from diptych.testing.parts import Echo
from diptych.testing.roles.training import LANGUAGE
from tests.support.checkpoints import small_tokenizer
from tests.support.language import tiny_llama

MASKS = {"side": 32, "crop": 32, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 2}
SHORT: dict[str, dict[str, Any]] = {
    "a-clip": {"hidden": 8, "out": 4},
    "astrom3": {
        "grid": (4000.0, 5000.0, 256),
        "width": 16,
        "layers": 1,
        "heads": 2,
        "hidden": 16,
        "facts": 16,
        "dim": 16,
    },
    "clap": {"epochs": 10},
    "clip-dinoiser": {"windows": Windows(32, 32, 16), "photos": 3, "steps": 2},
    "clip-moe": {"experts": 2, "clusters": 1},
    "clipinverter": {"steps": 2, "refine": 1, "batch": 4, "groups": 8, "width": 8, "rate": 1e-2},
    "coop": {"epochs": 5},
    "dn-cbm": {"epochs": 4, "probe_epochs": 20, "vocabulary": ("fox", "tree", "cup")},
    "fc-clip": MASKS,
    "galip": {
        "size": 16,
        "noise": 4,
        "width": 8,
        "least": 4,
        "bridge": 4,
        "inner": 4,
        "judge": 8,
        "batch": 5,
        "steps": 2,
    },
    "glsim": {"epochs": 3},
    "grain": {"width": 8, "depth": 1, "heads": 2, "hidden": 8},
    "long-clip": {"components": 2},
    "maft-plus": {**MASKS, "tuning": 2, "width": 8},
    "mocoop": {"epochs": 3},
    "nola": {"epochs": 3, "views": 2},
    "ovseg": {"side": 32, "epochs": 1, "regions": 4},
    "rs-m-clip": {"crops": 1, "hidden": 8, "bottleneck": 4, "prototypes": 6},
    "sam-clip": {"side": 64, "taught_side": 64, "prompts": 2, "batch": 4, "probe_epochs": 1, "epochs": 1, "hidden": 24},
    "sycoca": {"paint_width": 16, "paint_depth": 1},
    "trident": {"windows": Windows(40, 32, 16)},
    "uf-fgtg": {"epochs": 2, "batch": 4, "warmup": 0, "width": 16, "layers": 1, "read": 16, "choices": 3, "limit": 10},
    "vr-lwf": {"size": 20},
}
"""Settings of single systems: what every system promises holds at any length."""
READERS: dict[str, Any] = {
    "layers": 1, "least": 1, "gap": 0.0, "t": 2.0, "queries": 2, "width": 16, "lm_width": 16, "epochs": 1, "batch": 2,
    "copies": 2, "tries": 2, "lm_epochs": 1, "mapping": 1, "fusion": 1, "rewarded": 2, "beams": 2,
}  # fmt: skip
EDITORS: dict[str, Any] = {"bank": 12, "passes": 2, "batch": 4, "width": 8, "probes": 2, "steps": 2, "side": 16}
OF_VERB: dict[str, dict[str, Any]] = {
    "detect": {"epochs": 1},
    "retrieve": {"epochs": 1},
    "extend": {"epochs": 2, "batch": 4, "frames": 2, "length": 2, "adapter_epochs": 2},
    "edit": {**EDITORS, "crops": 2, "crop": 0.5},
    "audit": READERS,
    "curate": READERS,
    "caption": READERS,
}
"""Settings of every system of a verb that has such a parameter."""
EXCUSED: dict[str, dict[str, str]] = {
    "pathgen": {"a_missing_part_is_named": "its writers have names of their own, and those but one may be missing"},
}
"""Slug -> promise that is not asked -> why."""


@functools.cache
def head_file() -> str:
    """A head for the vectors of the small CLIP."""
    path = Path(tempfile.mkdtemp()) / "head.safetensors"
    VectorHead(((np.linspace(-1, 1, 12)[None], np.zeros(1)),)).save(path)
    return str(path)


def short(slug: str) -> dict[str, Any]:
    """Settings that make a system quick."""
    system = catalog.find(slug)
    fields = getattr(system, "__dataclass_fields__", {})
    general = {name: value for name, value in OF_VERB.get(system.card.verb, {}).items() if name in fields}
    return {**general, **SHORT.get(slug, {}), **({"head": head_file()} if slug == "vector-head" else {})}


@functools.cache
def language() -> LanguageText:
    """A language model of transformers with random weights, which can be written."""
    from transformers import AutoTokenizer

    folder = Path(tempfile.mkdtemp())
    small_tokenizer(folder, bos="<s>")
    return LanguageText.of(tiny_llama(20), AutoTokenizer.from_pretrained(str(folder)))


def parts(slug: str) -> dict[str, Any]:
    """Parts of which there is no small one in ``diptych.testing``."""
    if slug == "clipinverter":
        return {"generator": load_generator("small")[0], "maps": load_maps("small")}
    if slug == "llm2clip":
        return {LANGUAGE: language()}
    return dict.fromkeys(AGENTS, Echo()) if slug == "pathgen" else {}


def promises(*verbs: str) -> list[Any]:
    """The promises of our systems of these verbs, as parameters of a test."""
    slugs = [card["slug"] for card in catalog.cards() if card["verb"] in verbs]
    asked: list[tuple[str, str, Check]] = [
        (slug, name, check)
        for slug in slugs
        for name, check in checks(
            catalog.find(slug), settings=short(slug), parts=parts(slug), excused=EXCUSED.get(slug)
        )
    ]
    return [pytest.param(check, id=f"{slug}-{name}") for slug, name, check in asked]


def exams_of(device: str, *verbs: str, rows: tuple[str, ...] = ()) -> list[tuple[str, Exam]]:
    """An exam of the first row of each of our systems of these verbs, and of every row of some verbs, on a device."""
    cards = [card for card in catalog.cards() if card["verb"] in verbs]
    asked = {
        card["slug"]: exams(
            catalog.find(card["slug"]), settings=short(card["slug"]), parts=parts(card["slug"]), device=device
        )[: None if card["verb"] in rows else 1]
        for card in cards
    }
    return [(slug, exam) for slug, of_slug in asked.items() for exam in of_slug]


def on(device: str, *verbs: str, rows: tuple[str, ...] = ()) -> list[Any]:
    """These exams, as parameters of a test."""
    return [pytest.param(exam, id=f"{slug}-{exam.variant}") for slug, exam in exams_of(device, *verbs, rows=rows)]
