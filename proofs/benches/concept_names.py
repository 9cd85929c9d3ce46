"""The proof of DN-CBM's names: do the photos that show a concept most belong to the class that it is named after?

    purity_k = share of the n photos with the largest f_k > 0 whose label is name_k
    base_k   = mean of the shares of the same photos over the names of all concepts: names permuted among them

f_k: strength of concept k; where fewer than n photos show a concept, purity and base are 1 / K
name_k: the nearest of the K class names to the concept's direction, without a template
n: 20, or half of the mean number of photos per class where that is less

Concepts are learnt on the train split, whose labels are not read, and measured on the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import Backbone, Run, Texts
from diptych.data.load import open_data
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Arm, Floats
from diptych.features.embed import embed
from diptych.methods.classify.dn_cbm import DNCBM
from diptych.nn.sparse_autoencoder import nearest_words
from proofs.trial import Claim, Tabled, Trial, each_seed, hash_of, over

SMALL = DNCBM(expansion=0.1, epochs=40)
"""The row of the board."""
STRONGEST = 20
NAMES, UNTRAINED, SCATTERED = "names", "untrained dictionary", "dictionary of permuted dimensions"
PERMUTED = {word: f"{word}, permuted" for word in (NAMES, UNTRAINED, SCATTERED)}


def purities(codes: Tensor, names: Tensor, labels: Tensor, classes: int, strongest: int) -> tuple[Floats, Floats]:
    """Return purity and base of m concepts, (m,) each.

    Args:
        codes: (N, m) strengths, >= 0.
        names: (m,) class positions.
        labels: (N,) class positions.
        classes: K.
        strongest: n, <= N.

    Example:
        >>> codes = torch.tensor([[3.0, 0.0], [2.0, 0.1], [0.0, 5.0]])
        >>> own, base = purities(codes, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), 2, 1)
        >>> own.tolist(), base.tolist()
        ([1.0, 1.0], [0.5, 0.5])
    """
    values, rows = codes.topk(strongest, dim=0)
    shares = one_hot(labels[rows], classes).double().mean(dim=0)  # (m, K)
    named = shares.gather(1, names[:, None])[:, 0]
    base = shares[:, names].mean(dim=1)
    silent = values[-1] <= 0
    named[silent] = base[silent] = 1 / classes
    return named.numpy(), base.numpy()


def scattered(x: Tensor, run: Run) -> Tensor:
    """Return (N, D) embeddings, each of whose dimensions is permuted over the items apart from the others."""
    g = run.generator("permuted dimensions")
    return torch.stack([column[torch.randperm(len(x), generator=g)] for column in x.T], dim=1)


def open_names(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the purity of named concepts; seeds start and order the training of dictionaries.

    Raises:
        NotAvailable: the data set is not on this machine.
    """
    data = open_data(name, need="classes")
    train, test = data.split("train").items, data.split("test")
    pool, x = (embed(backbone.image, items, run) for items in (train, test.items))
    words = normalize(embed(backbone.text, Texts(tuple(tidy(c) for c in data.classes)), run), dim=-1)
    labels, classes = torch.tensor(test.labels()), len(data.classes)
    strongest = min(STRONGEST, max(1, len(test) // (2 * classes)))

    def once(seeded: Run) -> Mapping[str, Floats]:
        arms = {
            NAMES: (SMALL, pool, x),
            UNTRAINED: (replace(SMALL, epochs=0), pool, x),
            SCATTERED: (SMALL, scattered(pool, seeded), scattered(x, seeded)),
        }
        table: dict[str, Floats] = {}
        for word, (method, seen, wanted) in arms.items():
            dictionary = method._dictionary(seen, seeded)
            named = nearest_words(dictionary.decoder, words)[0]
            table[word], table[PERMUTED[word]] = purities(dictionary.codes(wanted), named, labels, classes, strongest)
        return table

    values = each_seed(once, run, seeds)
    facts = {
        "data_hash": hash_of(train, test.items),
        "items": int(values[NAMES].shape[1]),
        "classes": classes,
        "strongest": strongest,
        "composite": "concepts",
    }
    return Tabled(backbone, run, seeds, "purity", facts, values)


TRIAL = Trial(
    (
        over(PERMUTED[NAMES], NAMES, "names, over permuted names"),
        Claim(
            UNTRAINED,
            arm=Arm(NAMES),
            base=Arm(UNTRAINED),
            less=(Arm(PERMUTED[NAMES]), Arm(PERMUTED[UNTRAINED])),
            name="gain over permuted names, over that of an untrained dictionary",
        ),
    ),
    controls=(
        over(PERMUTED[NAMES], SCATTERED, "dictionary of permuted dimensions, over the permuted names of the claim"),
        over(PERMUTED[SCATTERED], SCATTERED, "dictionary of permuted dimensions, over its own permuted names"),
    ),
    beside={"untrained dictionary, over permuted names": over(PERMUTED[UNTRAINED], UNTRAINED)},
    bench=open_names,
)
