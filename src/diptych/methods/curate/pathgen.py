"""PathGen picks the telling tiles of slides by words and by clusters, and has agents write their captions.

    a_i = max_j 100 z_i . w_j       w_j: attributes that tissue of this kind may have
    r_i = sum_j 100 z_i . v_j       v_j: findings in the slide's own report
    k   = ceil(sqrt(1.6 n / b))     clusters of k-means over the z of the slide

    picked: the T tiles of largest a, the T of largest r, and floor(C / k) tiles of each cluster, C in all;
    a tile whose cosine to one that was picked before is above 0.88 is left out

z_i: (D,) unit embedding of tile i of the n tiles of a slide
w_j, v_j: (D,) unit embeddings of phrases
T: 64, C: 256, b: 1 (a setting: the released code counts batches of 128 tiles)
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, Curator, Kit, Plan, Run, Stream, Texts, UnreadableItem, UsageError, Verdict, Writer
from diptych.core.curate import NAMED
from diptych.core.ranges import at_least, between, check
from diptych.data.memory import InMemory
from diptych.data.words.textfiles import read_text
from diptych.features.embed import embed, embed_readable
from diptych.features.picked_tiles import Floats, PickedTiles, picked, read_tiles
from diptych.nn.text.agents import AGENTS, Requests, write_chain
from diptych.store.layers import shared_vectors

CHUNK = 256
"""Tiles that are decoded for one call of the encoder."""
ASKED = 32
"""Tiles whose captions are asked for together."""

DESCRIBE = (
    "This is a tile of a stained tissue slide, seen through a microscope. Describe what is visible: tissue, cells, "
    "nuclei, arrangement, stroma, and anything out of the ordinary. Say nothing that the picture does not show."
)
REVISE = (
    "Here is a description of this tile of a tissue slide: {text}\n\nAdd what is missing, remove what the picture does "
    "not show, and correct what is wrong. Answer with the corrected description alone."
)
JUDGE = "Does this text describe the picture without mistakes? Answer yes or no.\n\n{text}"
SHORTEN = "Say this in at most {words} words, as the caption of a picture. Answer with the caption alone.\n\n{text}"


@dataclass(frozen=True)
class PathGen(Curator):
    """Pick tiles of slides, and write captions for them.

    Use it to make image-text pairs from slides that have none. ``plan`` picks tiles, and ``apply`` asks the writers of
    the kit: "describe", and where they are given "revise", "judge" and "shorten".

    Args:
        attributes: file with one phrase per line, such as "necrosis: tissue without nuclei"; "": none. Findings are
            the lines of a .txt file beside the slide.
        top: T, >= 0; 64 (the paper's).
        sampled: C, >= 0; 256 (the paper's).
        cluster_batch: b, >= 1; 1 (ours).
        limit: largest cosine of two picked tiles, in [-1, 1]; 0.88 (the paper's). 1 keeps all.
        words: of a caption, >= 1; 50 (ours, so that CLIP's 77 tokens are enough).
        describe: what the describing agent is asked; here and below the texts are ours.
        revise: of the revising agent.
        judge: of the judge, who answers yes or no.
        shorten: of the agent that shortens.

    Raises:
        UsageError: a number is out of its range.

    Source: Sun et al. 2025, section 3; the numbers of the released selection script.

    Example:
        Four tiles, two of them alike; the attribute is the second axis:

        >>> z = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
        >>> picked(z, z[2:3], z[:0], top=1, sampled=3, batch=1, limit=0.88, seed=0)[0]
        (2, 'attribute')
    """

    attributes: str = ""
    top: int = 64
    sampled: int = 256
    cluster_batch: int = 1
    limit: float = 0.88
    words: int = 50
    describe: str = DESCRIBE
    revise: str = REVISE
    judge: str = JUDGE
    shorten: str = SHORTEN

    creates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, at_least(0), "top", "sampled")
        check(self, at_least(1), "cluster_batch", "words")
        check(self, between(-1, 1), "limit")

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> PickedTiles:
        """Embed the tiles of each slide and pick some, with the embeddings of one slide in memory.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: items are not of slides, or there is no such file of attributes.
        """
        backbone = kit.need(Backbone)
        text = read_text(self.attributes, "attributes") if self.attributes else ""
        phrases = [line.strip() for line in text.splitlines() if line.strip()]
        attributes = _phrases(backbone, phrases, run)
        plan, stored = PickedTiles(backbone.fingerprint, self._settings(phrases), {}), shared_vectors(run)
        with run.track("pick tiles") as bar:
            for slide, tiles in itertools.groupby((item for _, item in stream), key=_slide):
                names, z, unread = [], [np.zeros((0, backbone.image.dim), np.float32)], dict[str, str]()
                while some := list(itertools.islice(tiles, CHUNK)):
                    tiles_of = InMemory(some, [t.name for t in some])
                    seen = embed_readable(backbone.image, tiles_of, run, vectors=stored)
                    names += [some[i].name for i in seen.kept]
                    z.append(normalize(seen.values, dim=-1).numpy())
                    lost = [t.name for i, t in enumerate(some) if i not in set(seen.kept.tolist())]
                    unread |= dict(zip(lost, (e.reason for e in seen.failed), strict=True))
                    bar.advance(len(some))
                vectors, findings = np.concatenate(z), _phrases(backbone, slide.findings(), run)
                chosen = picked(
                    vectors, attributes, findings, self.top, self.sampled, self.cluster_batch, self.limit, seed=0
                )
                reasons = tuple((names[i], why) for i, why in chosen)
                broken = tuple(unread.items())[:NAMED]
                count = len(names) + len(unread)
                plan = plan.merge(
                    PickedTiles(plan.backbone, plan.settings, {slide.path: reasons}, count, len(unread), broken)
                )
        return plan

    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        """Yield a verdict for each tile: kept where it was picked and has a caption; why it was picked is its label.

        The score is 1 for tiles that were picked and 0 for others. ``texts`` hold the caption and what it came
        from. A tile that cannot be read or described is dropped, and its verdict holds the reason.

        Raises:
            MissingPart: the kit has no writer "describe".
            UsageError: the plan is of another system, or the writer refuses.
            NotAvailable: the writer cannot be reached.
        """
        agents = {name: kit.need(Writer, name) for name in AGENTS if name == AGENTS[0] or name in kit.parts}
        if not isinstance(plan, PickedTiles):
            raise UsageError("The plan is from another system: plan and apply with pathgen.")
        why = {name: reason for tiles in plan.tiles.values() for name, reason in tiles}
        requests = Requests(self.describe, self.revise, self.judge, self.shorten, self.words)
        source = iter(stream)
        while some := list(itertools.islice(source, ASKED)):
            verdicts = {p: Verdict(p, False, 0.0) for p, tile in some if tile.name not in why}
            pictures = []
            for position, tile in some:
                if position not in verdicts:
                    try:
                        pictures.append((position, tile.name, tile.image()))
                    except UnreadableItem as error:
                        verdicts[position] = Verdict(position, False, math.nan, error.reason)
            written = write_chain(agents, [(name, image) for _, name, image in pictures], requests)
            for (position, name, _), result in zip(pictures, written, strict=True):
                unjudged = "" if result.asked else result.refused
                score = math.nan if unjudged else float(not result.refused)
                verdicts[position] = Verdict(position, not result.refused, score, unjudged, (why[name],), result.texts)
            yield from (verdicts[position] for position, _ in some)

    def read_plan(self, path: Path) -> PickedTiles:
        """Read what ``PickedTiles.write`` wrote; see ``Curator.read_plan``."""
        return read_tiles(path, "pathgen")

    def _settings(self, phrases: Sequence[str]) -> str:
        return json.dumps([self.top, self.sampled, self.cluster_batch, self.limit, list(phrases)])


def _phrases(backbone: Backbone, phrases: Sequence[str], run: Run) -> Floats:
    """Return the (J, D) unit embeddings of phrases."""
    if not phrases:
        return np.zeros((0, backbone.image.dim), np.float32)
    with torch.no_grad():
        unit: Floats = normalize(embed(backbone.text, Texts(tuple(phrases)), run), dim=-1).numpy()
    return unit


def _slide(item: Any) -> Any:
    slide = getattr(item, "slide", None)
    if slide is None:
        raise UsageError("pathgen picks tiles of slides, and this pool has none: give slides, such as SLIDE.svs.")
    return slide
