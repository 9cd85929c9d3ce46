"""Proofs of fine-tuning: a backbone learns one set of classes; what does it know of it, and of others, afterwards?

"NAME" trains the heads over frozen towers, and measures photos of other sets. "towers:NAME" trains every weight, and
measures composed scenes: what ``tiny`` knows, and a backbone of which only heads move does not lose.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from diptych.core import Backbone, ClassNames, Column, Run, Table
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import BEFORE, Training, TuneBench
from diptych.evaluation.boards.tune_parts import OTHERS, TASK
from diptych.features.frozen import Headed, head_names
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup
from diptych.methods.finetune.lora import LoRA
from diptych.methods.finetune.retrieval_tuning import RetrievalTuning
from diptych.methods.finetune.vr_lwf import VRLwF
from diptych.methods.finetune.wise_ft import WiSEFT
from diptych.train.schedule import Fit, Schedule
from proofs.benches.image_search import BY_TEXT, MAP, open_search, permuted_labels
from proofs.benches.training.pairs import open_pairs, shuffled_captions
from proofs.trial import Claim, Trial, hash_of

FIT = Fit(lr=3e-4, batch=64, steps=200, decay=0.0, schedule=Schedule(warmup=20), log_every=50)
"""Settings of all heads, fixed before any result was seen; those that ``diptych finetune --parts heads`` takes."""
TOWERS = "towers:"
WHOLE = replace(FIT, lr=1e-4, steps=60)
"""Settings of whole towers, fixed before any result was seen: 8 passes over 500 photos."""
OTHER_SETS = ("caltech40", "cifar10_small")
"""Photos of other classes, on which forgetting is measured where heads learn."""
SCENES, SCENE_SEED = 500, 1_000_003
"""Composed scenes, on which it is measured where towers learn; the seed is apart from every training seed."""


def shuffled_labels(rows: Table[Any], run: Run) -> Table[Any]:
    """Permute the labels of the training rows."""
    labels = np.random.default_rng(run.integer("labels")).permutation(rows.labels())
    return Table(rows.items, {"label": Column("label", labels)})


def random_teacher(space: Backbone, rows: Table[Any], run: Run) -> dict[str, Any]:
    """Return a teacher whose heads are drawn at random."""
    module, heads = copy.deepcopy(space.module()), head_names(space.whole if isinstance(space, Headed) else space)
    g = run.generator("teacher")
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name in heads:
                p.copy_(torch.randn(p.shape, generator=g) * p.std(unbiased=False) + p.mean())
    return {"teacher": space.rebuild(module, space.spec)}


def open_task(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, where: str = TASK) -> TuneBench:
    """Open a task and photos of other classes, or composed scenes where whole towers learn ("towers:NAME").

    ``where`` is the part that is the metric: "task", its own unseen photos, or "others".
    """
    whole = name.startswith(TOWERS)
    task = open_data(present(name.removeprefix(TOWERS)))
    if whole:
        scenes, names = _scenes()
        hashes, named = [hash_of(scenes.split("test").items)], {scenes.name: names}
        bench = TuneBench(task, backbone, WHOLE, run, seeds, "all", elsewhere=[scenes], named=named, part=where)
    else:
        others = [open_data(present(other)) for other in OTHER_SETS]
        hashes = [other.hash for other in others]
        bench = TuneBench(task, backbone, FIT, run, seeds, elsewhere=others, part=where)
    sizes = {TASK: len(bench.held_out), OTHERS: sum(len(table) for table, _ in bench.others.values())}
    bench.report = {
        "data_hash": hashlib.sha256("".join((task.hash, *hashes)).encode()).hexdigest(),
        "split": "test",
        "items": sizes[where],
        "where": where,
        "sizes": sizes,
        "others": [scenes.name] if whole else list(OTHER_SETS),
        "trains": ["all but the scale"] if whole else sorted(head_names(backbone)),
    }
    return bench


@dataclass(frozen=True)
class ScenePhotos(Scenes):
    """Composed scenes as pictures."""

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        return Image.fromarray(super().__getitem__(index).image)


def _scenes() -> tuple[LabelledData, ClassNames]:
    """Return one coloured shape a picture, and the names of all pairs of colour and shape."""
    bank = SpriteBank()
    drawn, pairs = ScenePhotos(SceneRecipe(bank), SCENES, SCENE_SEED), bank.combinations()
    objects = [Scenes.__getitem__(drawn, i).objects[0] for i in range(SCENES)]
    labels = np.array([pairs.index((o.colour or "", o.noun)) for o in objects])
    names = ClassNames(tuple(article(f"{colour} {shape}") for colour, shape in pairs), ("a photo of {}.",))
    table: Table[Any] = Table(drawn, {"label": Column("label", labels)})
    return LabelledData("composed scenes", names.names, {"test": table}), names


FULL, LORA, WISE, VR = (
    Training(method) for method in (Full(smoothing=0.2), LoRA(smoothing=0.2), WiSEFT(smoothing=0.2), VRLwF())
)
SINGLE = replace(VR, method=VRLwF(size=1, over_texts=False))
OVER_BEFORE, OVER_FULL = Claim("zero-shot", base=BEFORE), Claim("full", base=Arm(FULL))
PLAIN = Training(GeodesicMixup(m2=0.0), replace(FIT, batch=128, lr=1e-4))
M2, M3, AT_TEXT = (
    Arm(replace(PLAIN, method=GeodesicMixup(**settings)))
    for settings in ({}, GeodesicMixup.card.variants["m3"], {"share": 0.0})
)
OVER_PLAIN = Claim("the same without mixtures", base=Arm(PLAIN), part="recall_at_1")
_ON_OTHERS = partial(open_task, where=OTHERS)


MCIP, TWO_STAGES, BY_CLASSES, REALIGNED = (
    Training(RetrievalTuning(**RetrievalTuning.card.variants[v])) for v in ("", "2sft", "classes", "realigned")
)
FIND_PHOTOS = Claim("before", base=BEFORE, part=MAP)
FIND_BY_TEXT = Claim("classes alone", base=Arm(BY_CLASSES), part=BY_TEXT)


def _permuted(how: Training) -> Claim:
    shuffled = Arm(replace(how, rows=shuffled_labels))
    return replace(OVER_BEFORE, arm=shuffled, name="permuted labels")


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "full": Trial((OVER_BEFORE,), arm=Arm(FULL), controls=(_permuted(FULL),)),
        "lora": Trial((OVER_BEFORE,), arm=Arm(LORA), controls=(_permuted(LORA),), beside={"full": Arm(FULL)}),
        "wise-ft": Trial(
            (OVER_FULL, replace(OVER_BEFORE, part=TASK)),
            arm=Arm(WISE),
            controls=(replace(_permuted(WISE), part=TASK),),
            beside={"zero-shot": BEFORE},
            bench=_ON_OTHERS,
        ),
        "vr-lwf": Trial(
            (OVER_FULL,),
            arm=Arm(VR),
            controls=(
                replace(OVER_FULL, arm=Arm(SINGLE), name="one sentence, no text term"),
                replace(OVER_FULL, arm=Arm(replace(VR, kit=random_teacher)), name="random teacher"),
            ),
            beside={
                "lwf": Arm(replace(VR, method=VRLwF(vocabulary="classes"))),
                "wise-ft": Arm(WISE),
                "zero-shot": BEFORE,
            },
            bench=_ON_OTHERS,
        ),
        "retrieval-tuning": Trial(
            (
                replace(FIND_BY_TEXT, arm=BEFORE, name="before: what is lost"),
                FIND_PHOTOS,
                FIND_BY_TEXT,
                replace(FIND_PHOTOS, arm=Arm(TWO_STAGES), name="2sft"),
                replace(FIND_BY_TEXT, arm=Arm(TWO_STAGES), name="2sft"),
            ),
            arm=Arm(MCIP),
            controls=(
                replace(FIND_PHOTOS, arm=Arm(replace(BY_CLASSES, rows=permuted_labels)), name="permuted labels"),
                replace(FIND_BY_TEXT, arm=Arm(replace(MCIP, rows=shuffled_captions)), name="permuted captions"),
                replace(FIND_BY_TEXT, arm=Arm(TWO_STAGES, spoil=shuffled_captions), name="2sft, permuted captions"),
            ),
            beside={
                "realigned, by text": replace(FIND_BY_TEXT, arm=Arm(REALIGNED)),
                "by text, of before": Claim("before", base=BEFORE, part=BY_TEXT),
            },
            bench=open_search,
        ),
        "geodesic-mixup": Trial(
            (OVER_PLAIN,),
            arm=M2,
            controls=(replace(OVER_PLAIN, arm=AT_TEXT),),
            beside={"m3": replace(OVER_PLAIN, arm=M3)},
            bench=open_pairs,
        ),
    }
)
open_bench = open_task
