"""The rotation of ``lite`` that puts the directions that matter most first: the first 512 numbers stand for all.

python -m recipes.lite_rotation --data DATA      writes assets/lite/rotation.safetensors

    R = the first d eigenvectors of  M_image + M_text,      M = mean of x x^T over unit vectors x

M_image: of photos, each source counting the same; M_text: of nouns of WordNet in a prompt. The second moments are not
centred, since a cosine is not either: of all d directions these lose least of the squared length of both.

The photos are those of ``recipes.lite_pictures``, without labels.

The rotated vectors are shorter, so that their cosines are larger. Their scale s is that whose logits are nearest to
those of ``lite``, sum (s c' - 23 c)^2 over photos and nouns, c and c' the cosines less the mean of a photo; the mean
over sources.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.lite import Lite, load_lite
from diptych.backbones.lite_files import ROTATION
from diptych.backbones.spec import file_hash
from diptych.core import Run
from diptych.data.words.wordnet import WordNet
from diptych.tasks.record import now, versions
from recipes.lite_names import image_vectors, photos_by_source

WIDTH = 512
"""Numbers that remain. Chosen by the mean top-1 on 400 test photos each of caltech40_large, cifar10_large,
clothing_large and the photos of pacs_large: 66.7 % with all 2,664, and with 128, 256, 512, 768 and 1,024 numbers 60.9,
63.8, 65.8, 66.7 and 67.0.
"""
NOUNS, PROMPT = 4_000, "a photo of a {}."


def second_moment(x: Tensor) -> Tensor:
    """Return the (D, D) mean of x x^T over the rows of x, scaled to length 1.

    Example:
        >>> second_moment(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    unit = normalize(x, dim=1).double()
    return unit.T @ unit / len(unit)


def rotation(moments: Sequence[Tensor], width: int) -> Tensor:
    """Return the (D, width) leading eigenvectors of the sum of moments, the largest component of each positive."""
    vectors: Tensor = torch.linalg.eigh(torch.stack(list(moments)).sum(0)).eigenvectors
    leading = vectors.flip(1)[:, :width]
    return leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()


def nearest_scale(x: Tensor, t: Tensor, turn: Tensor, scale: float) -> float:
    """Return the scale of rotated vectors whose logits are nearest to those of the whole ones.

    Args:
        x: (N, D) vectors of photos.
        t: (K, D) vectors of texts.
        turn: (D, d) rotation.
        scale: of the logits of whole vectors.
    """
    whole, few = (
        (c - c.mean(1, keepdim=True)).double()
        for c in (normalize(a, dim=1) @ normalize(b, dim=1).T for a, b in ((x, t), (x @ turn, t @ turn)))
    )
    return scale * float((whole * few).sum() / few.square().sum())


def fit(lite: Lite, data: Path, seed: int = 0) -> tuple[Tensor, float]:
    """Return the (2664, 512) rotation, and its scale.

    Args:
        lite: the backbone.
        data: folder of the development sets, of which photos are read without labels.
        seed: draws the nouns.
    """
    photos = [image_vectors(lite, paths) for paths in photos_by_source(data).values()]
    nouns = WordNet.load().general_words()
    order = torch.randperm(len(nouns), generator=Run(seed=seed).generator("nouns"))[:NOUNS].tolist()
    texts = [PROMPT.format(nouns[i]) for i in order]
    t = torch.cat([lite.text.encode(lite.text.inputs(texts[i : i + 64])) for i in range(0, len(texts), 64)])
    turn = rotation([torch.stack([second_moment(x) for x in photos]).mean(0), second_moment(t)], WIDTH).float()
    scales = [nearest_scale(x, t, turn, float(lite.scale()[0])) for x in photos]
    return turn, sum(scales) / len(scales)


def main(words: Sequence[str] | None = None) -> None:
    """Fit, write, and print what was done."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_rotation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--out", type=Path, default=ROTATION, help="where the rotation is written")
    given = parser.parse_args(words)
    lite = load_lite()
    with torch.inference_mode():
        turn, scale = fit(lite, given.data)
    save_file({"rotation": turn.half().contiguous()}, given.out)
    facts: dict[str, Any] = {"width": WIDTH, "nouns": NOUNS, "scale": scale, "sha256": file_hash(given.out)}
    sys.stdout.write(json.dumps({**facts, "date": now(), "versions": versions()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
