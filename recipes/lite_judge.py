"""What ``lite:2026-11`` reaches: zero-shot top-1 beside every ConSE variant, on photos that no training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.lite import PIXELS, Lite, load_lite
from diptych.backbones.pixels import image_batch
from diptych.core import PixelRecipe, Table
from diptych.data.words.classnames import tidy
from diptych.data.words.sentences import article
from diptych.data.words.wordnet import WordNet
from diptych.metrics.interval import paired_bootstrap
from recipes.lite_heads import described, imagenet
from recipes.photo_sets import SETS, photos


def judge(data: Path, seed: int = 0) -> dict[str, Any]:
    """Measure zero-shot top-1 beside all ConSE variants, with paired 95 % intervals.

    Args:
        data: folder of the development sets.
        seed: of the bootstrap.

    Returns:
        Set -> items, top-1 of ``lite`` and of each ConSE variant, gain over each with its interval; and the means over
        sets.
    """
    lite = load_lite("lite:2026-11")
    published = replace(PIXELS, interpolation="bicubic", crop=0.875)
    heads = _conse_heads(lite)
    out: dict[str, Any] = {}
    for name, part in SETS.items():
        table, classes = photos(data, name, part)
        y = table.labels()
        names = [tidy(c) for c in classes]
        prompts = [f"a photo of {article(n)}." for n in names]
        hits: dict[str, NDArray[np.float64]] = {}
        for pixels, recipe in (("published pixels", published), ("our pixels", PIXELS)):
            p, lite_p = _class_probabilities(lite, table, recipe)
            if recipe is PIXELS:
                head = F.normalize(_encode_texts(lite, prompts), dim=-1)
                hits["lite"] = (lite_p @ head.T).argmax(1).numpy() == y
            for source, (vectors, middle) in heads.items():
                for texts, words in (("prompt", prompts), ("name", names)):
                    t = _minilm(lite, words)
                    scores = F.normalize(p @ (vectors - middle), dim=-1) @ F.normalize(t - middle, dim=-1).T
                    hits[f"ConSE {source}, {texts}, {pixels}"] = scores.argmax(1).numpy() == y
        gains = {k: asdict(paired_bootstrap(hits["lite"], v, seed)) for k, v in hits.items() if k != "lite"}
        out[name] = {"items": len(y), "top1": {k: float(v.mean()) for k, v in hits.items()}, "gain": gains}
    rows = list(out["cifar10_small"]["top1"])
    return {"sets": out, "mean": {k: float(np.mean([s["top1"][k] for s in out.values()])) for k in rows}}


@torch.inference_mode()
def _class_probabilities(lite: Lite, table: Table[Any], recipe: PixelRecipe) -> tuple[Tensor, Tensor]:
    """Return Lite0's (N, 1000) probabilities and ``lite``'s (N, D) unit vectors under a pixel recipe."""
    module = lite.module()
    pooled = torch.cat(
        [
            module.image(image_batch([table.items[j] for j in range(i, min(i + 32, len(table)))], recipe))
            for i in range(0, len(table), 32)
        ]
    )
    return module.image_head.classifier(pooled).softmax(-1), F.normalize(module.image_head(pooled), dim=-1)


@torch.inference_mode()
def _encode_texts(lite: Lite, texts: Sequence[str]) -> Tensor:
    return lite.text.encode(lite.text.inputs(list(texts)))


@torch.inference_mode()
def _minilm(lite: Lite, texts: Sequence[str]) -> Tensor:
    """Return MiniLM's (N, 384) unit vectors."""
    tower = lite.tower("text")
    return F.normalize(tower.pooled(tower.blocks(tower.start(lite.text.inputs(list(texts))))), dim=-1)


def _conse_heads(lite: Lite) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the ConSE variants: source of the class texts, centred or not -> (vectors (1000, 384), what is
    subtracted).
    """
    words = WordNet.load()
    synsets = [words.wnid(w) for w in imagenet()]
    out = {}
    for source, texts in {
        "names": [", ".join(s.lemmas) for s in synsets],
        "names + glosses": [described(s) for s in synsets],
    }.items():
        vectors = torch.cat([_minilm(lite, texts[i : i + 64]) for i in range(0, 1000, 64)])
        out[source] = (vectors, torch.zeros(384))
        out[f"{source} centred"] = (vectors, vectors.mean(0))
    return out
