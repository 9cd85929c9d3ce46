"""Proofs of what trains on pairs: recall on held-out photos over a baseline, and the same training spoiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from diptych.core import Ask, Backbone, Run, Table, Text
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.tune import BEFORE, Training
from diptych.evaluation.boards.tune_parts import RANK
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.cloc import CLOC
from diptych.methods.pretrain.cloob import CLOOB
from diptych.methods.pretrain.grain import GRAIN
from diptych.methods.pretrain.laclip import LaCLIP
from diptych.methods.pretrain.long_clip import LongCLIP
from diptych.methods.pretrain.quality_captions import QualityCaptions
from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from proofs.benches.training.bilingual import DC_CLIP
from proofs.benches.training.caption_quality import SHARES, cells_right, open_quality, permuted_synthetic
from proofs.benches.training.caption_tuning import LLM2CLIP_TRIAL
from proofs.benches.training.coca import open_captioning
from proofs.benches.training.detail_pairs import DIVA_TRIAL
from proofs.benches.training.experts import CLIP_MOE
from proofs.benches.training.kept_patches import open_kept
from proofs.benches.training.languages import ENGLISH_ALONE, open_named
from proofs.benches.training.masked_words import FIRST, open_words
from proofs.benches.training.painted_scenes import COVERED, open_painted
from proofs.benches.training.pairs import FRESH, NewHeads, open_pairs, shuffled_captions, with_captions
from proofs.benches.training.region_pairs import (
    CROP,
    IOU,
    PICTURE,
    PLACELESS,
    AlignedCLOC,
    Elsewhere,
    UntoldCLOC,
    open_regions,
    permuted_boxes,
)
from proofs.benches.training.scene_pairs import (
    FURTHER,
    OTHER_ENDS,
    SHORT,
    open_long_captions,
    permuted_ends,
)
from proofs.benches.training.slot_pairs import IOU as BOX_IOU
from proofs.benches.training.slot_pairs import ONE, SAME_BOXES, SMALL, ImageAlone, open_slots
from proofs.trial import Claim, Trial, over

R1, R5 = "recall_at_1", "recall_at_5"


class People:
    """A writer that knows how other people worded a photo's first caption.

    Args:
        captions: of each photo; the first is asked about, the others are the answers.
        order: whose other captions a photo gets.
    """

    def __init__(self, captions: Any, order: Sequence[int]) -> None:
        self.known = {c[0]: tuple(captions[i][1:]) for c, i in zip(captions, order, strict=True)}

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return the other captions, in order."""
        return [[Text(t, "people") for t in self.known[a.about][: a.n]] for a in asks]


def first_captions(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the first caption of each photo."""
    return with_captions(table, [c[:1] for c in table.columns["captions"].values])


def people(space: Backbone, table: Table[Any], run: Run) -> dict[str, Any]:
    """Return the writer of the photos' own captions."""
    return {"writer": People(table.columns["captions"].values, range(len(table)))}


def other_people(space: Backbone, table: Table[Any], run: Run) -> dict[str, Any]:
    """Return a writer that answers with captions of another photo."""
    order = np.random.default_rng(run.integer("rewrites")).permutation(len(table)).tolist()
    return {"writer": People(table.columns["captions"].values, order)}


LONG = Training(LongCLIP())
NO_SHORT_TERM = replace(LONG, method=LongCLIP(weight=0.0))
STRETCHED = replace(LONG, fit=replace(FURTHER, steps=1, lr=1e-12))
"""The longer position table alone: one step that moves no weight by more than rounding."""
TRUNCATED = Claim("clip-loss, truncated", base=Arm(Training(CLIPLoss())))
CLIP = Training(CLIPLoss(), start=NewHeads())
SIGLIP = Training(SigLIPLoss(), start=NewHeads(scale=10.0, bias=-10.0))
NO_BIAS = replace(SIGLIP, start=NewHeads(scale=10.0), learns=lambda name: not name.endswith("logit_bias"))
CLOOB_ARM = replace(CLIP, method=CLOOB())
LACLIP = replace(CLIP, method=LaCLIP(rewrites=2), rows=first_captions, kit=people)
CLIP_SHUFFLED, SIGLIP_SHUFFLED = (Arm(replace(how, rows=shuffled_captions)) for how in (CLIP, SIGLIP))
CLIP_16, SIGLIP_16 = (Arm(replace(how, fit=replace(FRESH, batch=16))) for how in (CLIP, SIGLIP))
NO_MEMORY, NO_LOOKUP = (Arm(replace(CLOOB_ARM, method=CLOOB(beta=beta))) for beta in (0.0, None))
CLIP_AT_30 = replace(CLIP, start=NewHeads(scale=30.0), learns=lambda name: not name.endswith("logit_scale"))
"""CLIP's loss at the fixed scale that CLOOB has: what a sharper contrast alone does."""
ORIGINAL, BOTH = (replace(CLIP, method=QualityCaptions(mode=mode)) for mode in ("original", "both"))
SCORED, MIXED, SYNTHETIC = (
    Arm(replace(CLIP, method=QualityCaptions(**QualityCaptions.card.variants[v])))
    for v in ("scored", "mix", "synthetic")
)
TO_ORIGINAL = Claim("original captions", base=Arm(ORIGINAL), part=R1)
PERMUTED = Arm(replace(BOTH, rows=permuted_synthetic))
PROMPTED, MISLED = Training(CLOC()), Training(CLOC(), rows=permuted_boxes)
SCENES_ONLY = Claim("", on=("scenes",))
NOT_THERE = replace(SCENES_ONLY, over="told another box of the picture", base=Arm(Elsewhere(PROMPTED)))
ALIGNED = replace(SCENES_ONLY, over="RoI-align, same loss", base=Arm(Training(AlignedCLOC())))
UNTOLD = replace(SCENES_ONLY, over="told the whole picture", base=Arm(Training(UntoldCLOC())))
SLOTS = Training(GRAIN(**SMALL))
PERMUTED_SLOTS = replace(SLOTS, rows=permuted_boxes)
OTHER_SLOT = Claim("another region's slot", base=Arm(Elsewhere(SLOTS)))
OVER_PERMUTED = Claim("slots of permuted descriptions", base=Arm(PERMUTED_SLOTS))
IMAGE_SLOT = Claim("image slot, captions alone", base=Arm(Training(ImageAlone(**SMALL, boxes=0.0, descriptions=0.0))))
FIXED_BOXES = Claim(SAME_BOXES, part=BOX_IOU)
OF_CLIP = Claim("clip-loss", base=Arm(CLIP), part=R1)
OVER_CLIP = Claim("clip-loss")
"""On benches that measure all arms in one pass."""
TO_ONE = Claim("clip-loss, one caption", base=Arm(replace(CLIP, rows=first_captions)), part=R1)

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "clip-loss": Trial(
            (Claim(CHANCE, part=R1), Claim(CHANCE, part=R5)),
            arm=Arm(CLIP),
            controls=(Claim(CHANCE, arm=CLIP_SHUFFLED, part=R1), Claim(CHANCE, arm=CLIP_SHUFFLED, part=R5)),
        ),
        "siglip-loss": Trial(
            (
                Claim(CHANCE, part=R1),
                Claim("clip-loss", arm=SIGLIP_16, base=CLIP_16, less=(Arm(SIGLIP), Arm(CLIP)), part=R1),
            ),
            arm=Arm(SIGLIP),
            controls=(
                Claim(CHANCE, arm=SIGLIP_SHUFFLED, part=R1),
                Claim("bias learnt from -10", arm=Arm(NO_BIAS), base=Arm(SIGLIP), part=R1),
            ),
            beside={"clip-loss": OF_CLIP},
        ),
        "coca-loss": Trial(
            (Claim(CHANCE),), arm=Arm("own"), controls=(Claim(CHANCE, arm=Arm("shuffled")),), bench=open_captioning
        ),
        "a-clip": Trial(
            (
                Claim("random half", arm=Arm("attentive, untrained"), base=Arm("random, untrained"), name="kept half"),
                Claim("random masks", base=Arm("random"), name="after training"),
            ),
            arm=Arm("attentive"),
            controls=(
                Claim("random half", arm=Arm("least, untrained"), base=Arm("random, untrained"), name="kept half"),
                Claim("random masks", arm=Arm("least"), base=Arm("random"), name="after training"),
            ),
            beside={
                "clip-loss": OVER_CLIP,
                "kept half, of the whole": Claim(
                    "whole picture", arm=Arm("attentive, untrained"), base=Arm("whole, untrained")
                ),
            },
            bench=open_kept,
        ),
        "lightclip": Trial(
            (
                Claim(CHANCE, name="masked words"),
                replace(OVER_CLIP, part=FIRST, name="matched tokens"),
            ),
            arm=Arm("own"),
            controls=(
                Claim(CHANCE, arm=Arm("shuffled"), name="masked words, shuffled captions"),
                replace(OVER_CLIP, arm=Arm("shuffled"), part=FIRST, name="matched tokens, shuffled captions"),
            ),
            beside={
                "recall at 1": replace(OVER_CLIP, part=R1),
                "recall at 1, of tiny": Claim("before", part=R1),
                "relaxed over exact matching": Claim("exact", base=Arm("own, exact"), part=FIRST),
                "matched tokens, of tiny": Claim("before", part=FIRST),
            },
            bench=open_words,
        ),
        "sycoca": Trial(
            (
                Claim("random masks", base=Arm("random"), part=COVERED, name="hidden objects"),
                Claim(CHANCE, name="guided painting"),
                Claim("random masks", base=Arm("random"), name="guided painting"),
            ),
            arm=Arm("own"),
            controls=(Claim(CHANCE, arm=Arm("shuffled"), name="guided painting, shuffled captions"),),
            bench=open_painted,
        ),
        "rs-m-clip": Trial(
            (Claim(ENGLISH_ALONE),),
            arm=Arm("own"),
            controls=(Claim(CHANCE, arm=Arm("permuted"), name="permuted translations"),),
            beside={
                "without crops": Arm("no crops"),
                "English names, of English alone": Claim(
                    ENGLISH_ALONE, arm=Arm("own in English"), base=Arm("English in English")
                ),
            },
            bench=open_named,
        ),
        "cloob": Trial(
            (
                replace(OF_CLIP, part=RANK),
                Claim("clip-loss at CLOOB's scale", base=Arm(CLIP_AT_30), part=RANK),
                Claim("heads that learnt nothing", base=NO_MEMORY, part=RANK),
            ),
            arm=Arm(CLOOB_ARM),
            controls=(
                Claim(CHANCE, arm=NO_MEMORY, part=R1, name="recall without memory"),
                Claim("heads that learnt nothing", arm=Arm(CLIP), base=NO_MEMORY, part=RANK, name="rank of clip-loss"),
            ),
            beside={
                "recall of clip-loss": OF_CLIP,
                "rank without look-up": replace(OF_CLIP, arm=NO_LOOKUP, part=RANK),
            },
        ),
        "cloc": Trial(
            (NOT_THERE, *(replace(SCENES_ONLY, over=name) for name in (PLACELESS, CROP))),
            arm=Arm(PROMPTED),
            controls=(replace(NOT_THERE, arm=Arm(MISLED), base=Arm(Elsewhere(MISLED)), name="permuted boxes"),),
            beside={
                "RoI-align": ALIGNED,
                "told the whole picture": UNTOLD,
                "of permuted boxes": replace(SCENES_ONLY, over="permuted boxes", base=Arm(MISLED)),
                "boxes drawn for phrases, of permuted": replace(
                    SCENES_ONLY, over="permuted boxes", base=Arm(MISLED), part=IOU
                ),
                "crops over whole pictures": over(PICTURE, CROP),
            },
            bench=open_regions,
        ),
        "grain": Trial(
            (OTHER_SLOT, OVER_PERMUTED, FIXED_BOXES),
            arm=Arm(SLOTS),
            controls=(
                replace(OTHER_SLOT, arm=Arm(PERMUTED_SLOTS), base=Arm(Elsewhere(PERMUTED_SLOTS)), name="permuted"),
            ),
            beside={
                "image slot": IMAGE_SLOT,
                PLACELESS: Claim(PLACELESS),
                "scenes of one object, by the image slot": replace(IMAGE_SLOT, part=ONE),
            },
            bench=open_slots,
        ),
        "long-clip": Trial(
            (TRUNCATED, Claim("no short term", base=Arm(NO_SHORT_TERM), part=SHORT)),
            arm=Arm(LONG),
            controls=(replace(TRUNCATED, arm=Arm(LONG), part=OTHER_ENDS, name="test captions with other ends"),),
            beside={
                "stretched, not trained": Claim("stretched, not trained", base=Arm(STRETCHED)),
                "ends permuted in training": Claim("ends permuted", base=Arm(replace(LONG, rows=permuted_ends))),
                "tiny, truncated": Claim("before", base=BEFORE),
                "short captions, of tiny": Claim("before", base=BEFORE, part=SHORT),
            },
            bench=open_long_captions,
        ),
        "quality-captions": Trial(
            (
                TO_ORIGINAL,
                replace(TO_ORIGINAL, arm=SCORED, name="best-scored originals"),
                replace(TO_ORIGINAL, part=cells_right(0.1), name="dense transfer"),
            ),
            arm=Arm(BOTH),
            controls=(
                replace(TO_ORIGINAL, arm=PERMUTED, name="permuted"),
                replace(TO_ORIGINAL, arm=PERMUTED, part=cells_right(0.1), name="permuted, dense transfer"),
            ),
            beside={
                "mix": replace(TO_ORIGINAL, arm=MIXED),
                "synthetic alone": replace(TO_ORIGINAL, arm=SYNTHETIC),
                **{f"dense transfer, {s:.0%} of the labels": replace(TO_ORIGINAL, part=cells_right(s)) for s in SHARES},
            },
            bench=open_quality,
        ),
        "clip-moe": CLIP_MOE,
        "dc-clip": DC_CLIP,
        "diva": DIVA_TRIAL,
        "llm2clip": LLM2CLIP_TRIAL,
        "laclip": Trial(
            (TO_ONE,),
            arm=Arm(LACLIP),
            controls=(replace(TO_ONE, arm=Arm(replace(LACLIP, kit=other_people))),),
            bench=partial(open_pairs, queries=slice(3, 5)),
        ),
    }
)
open_bench = open_pairs
