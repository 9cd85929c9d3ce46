"""Pairs of a region and a noun, mined from captioned photos by CLIP itself (OVSeg).

    pairs = (x_q, w): of each noun w of a caption, the region q with the highest cos(f(x_q), t_w)

x_q: masked crop of region q;  f: image encoder;  t_w: unit embedding of "a photo of a w."
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, Column, DataError, MaskProposer, Proposals, Run, Samples, Table
from diptych.data.words.nouns import Tagger, nouns
from diptych.data.words.templates import SINGLE
from diptych.data.words.wordnet import WordNet
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.nn.contrastive import softmax_pairs
from diptych.nn.dense.mask_adapted import MaskedEncoder
from diptych.nn.dense.masked_crops import CroppedRegions


def named(captioned: Table[Any], tagger: Tagger = "wordnet") -> list[tuple[str, ...]]:
    """Return the things that the first caption of each photo names.

    Args:
        captioned: photos with the column "captions".
        tagger: see ``data.words.nouns``.

    Raises:
        DataError: there are no captions, or they name nothing that WordNet knows.
    """
    if "captions" not in captioned.columns:
        raise DataError("Nouns are mined from captions, and the rows have none: give a column 'caption'.")
    wordnet = WordNet.load()
    names = [nouns(next(iter(texts), ""), wordnet, tagger) for texts in captioned.columns["captions"].values]
    if not any(names):
        raise DataError(f"The captions of {len(names)} photos name nothing that WordNet knows: give others.")
    return names


def mined(
    photos: Samples[Any],
    names: Sequence[Sequence[str]],
    proposer: MaskProposer,
    backbone: Backbone,
    run: Run,
    *,
    threshold: float = 0.4,
    regions: int = 32,
    side: int = 640,
) -> Table[Any]:
    """Return pairs of a region and a noun: for each noun of a photo the region whose crop CLIP likes best.

    Args:
        photos: N photos.
        names: N lists of nouns; photos without one are not read.
        proposer: of the regions.
        backbone: compares crops with nouns.
        run: device and cache.
        threshold: see ``OVSeg``, as for the next two.
        regions: of a photo.
        side: of its reduction.

    Returns:
        ``CroppedRegions`` with the column "captions", one noun each. They may be given as evidence in the place of
        captioned photos.

    Raises:
        UnreadableItem: a photo cannot be read.
    """
    encoder, words = MaskedEncoder.of(backbone, {}, run.device), sorted({w for things in names for w in things})
    texts = dict(zip(words, text_head(backbone, ClassNames(tuple(words), SINGLE).prompts(), run), strict=True))
    rows, captions = list[tuple[int, Tensor]](), list[tuple[str]]()
    with run.track("mine", len(photos)) as bar:
        for i, things in enumerate(names):
            bar.advance()
            masks = torch.zeros(0, 1, 1)
            if things:
                masks, _ = surest(proposer.propose(photos[i], things), regions)
            masks = masks > threshold
            masks = masks[masks.flatten(1).any(1)]
            if len(masks):
                crops = CroppedRegions(photos, tuple((i, m) for m in masks), side)
                z = normalize(embed(encoder, crops, replace(run, engine=None)), dim=-1)
                for word, q in zip(
                    things, (torch.stack([texts[w] for w in things]) @ z.T).argmax(1).tolist(), strict=True
                ):
                    rows.append((i, masks[q]))
                    captions.append((word,))
    return Table(CroppedRegions(photos, tuple(rows), side), {"captions": Column("captions", tuple(captions))})


def surest(proposals: Proposals, most: int) -> tuple[Tensor, Tensor]:
    """Return the masks, (Q, h, w), and scores, (Q,), of at most ``most`` regions, those of the highest scores first.

    Regions of one score stay in the order of their proposer, which may be by size.
    """
    order = proposals.scores.argsort(descending=True, stable=True)[:most]
    return proposals.masks[order], proposals.scores[order]


def pair_loss(z: Tensor, t: Tensor, scale: Tensor, noun: Tensor) -> Tensor:
    """Return CLIP's loss of pairs, where the same noun elsewhere in the batch is no negative.

    Args:
        z: (B, D) embeddings of crops, not normalised.
        t: (B, D) unit embeddings of their nouns.
        scale: scalar.
        noun: (B,) numbers of the nouns.
    """
    z, other = normalize(z, dim=-1), noun[:, None] != noun[None]
    return (softmax_pairs(z, t, scale, seen=other) + softmax_pairs(t, z, scale, seen=other)) / 2


def ensemble(crops: Tensor, proposer: Tensor, sure: Tensor, share: float) -> Tensor:
    """Return the log of p_q = v_q b_q^(1 - lambda) c_q^lambda of Q masks, (Q, K), finite.

    Args:
        crops: (Q, K) log c, class probabilities of the masked crops; 0 for an empty mask, whose crop says nothing.
        proposer: (Q, K) log b, those of the proposer.
        sure: (Q,) v, how sure the proposer is, in [0, 1].
        share: lambda, share of the crops.

    Example:
        >>> half = torch.tensor([[0.5, 0.5]]).log()
        >>> ensemble(torch.tensor([[0.9, 0.1]]).log(), half, torch.ones(1), 1.0).exp()  # the crops alone
        tensor([[0.9000, 0.1000]])
    """
    tiny = torch.finfo(crops.dtype).tiny
    return (1 - share) * proposer + share * crops + sure.clamp_min(tiny).log()[:, None]
