"""The proof of DC-CLIP: does a small CLIP that first learns a teacher's features find pictures by names in two
languages better than one that learns from the pairs alone, in as many steps?

Pictures are composed scenes of one coloured shape, and names are English and German: the word list of the scenes has no
Chinese. The teacher is ``tiny``, which learnt such scenes in English; it reads German through the word list, and stands
in for AltCLIP. Students are small towers from random weights. Pairs are few; the unpaired material is further scenes,
and the names of all combinations of colour and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.sources.openclip_config import build
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import (
    Around,
    Backbone,
    Encoder,
    Evidence,
    Inputs,
    Kit,
    MissingHook,
    Objective,
    Recipe,
    Run,
    Text,
    TextPool,
    Trainee,
)
from diptych.core.train import Stage
from diptych.data.scenes.captions import TRANSLATED
from diptych.data.scenes.compose import Scene, SceneRecipe
from diptych.data.scenes.tables import scene_data
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm, Floats
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.dc_clip import DCCLIP
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.languages import over, recalls
from proofs.benches.training.scene_pairs import only_scenes
from proofs.trial import Claim, Tabled, Trial, hash_of_words

ENGLISH, OTHER = "short", "de"
"""Captions of a scene in the two languages."""
PAIRS_ALONE, FEATURES_ALONE, OTHERS = "pairs alone", "features alone", "features of other items"
SCENES = SceneRecipe(sides=(0.36, 0.46), backgrounds=("light",), languages=(OTHER,))
SIZES = {"train": 64, "unpaired": 800, "test": 240}
STUDENT: Mapping[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 96, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""open_clip's configuration of a student, of 0.3 M parameters in the image tower."""
BEFORE, PAIRED = 120, 30
"""Steps of each tower on the teacher's features, and on pairs after them; those on pairs alone are as many in all."""
RATE = 2e-3
LEARN = Fit(lr=RATE, batch=32, steps=PAIRED, decay=0.05, schedule=Schedule(warmup=4), clip=1.0, log_every=20)


Change = Callable[[Sequence[Any]], Sequence[Any]]


class Remembered:
    """A teacher's encoder whose inputs are its own vectors, each computed once.

    Args:
        change: gives it other items, the same number.
    """

    size = None

    def __init__(self, whole: Encoder[Any], change: Change = list) -> None:
        self.whole, self.change, self.known = whole, change, dict[bytes, Tensor]()
        self.modality, self.dim, self.fingerprint = whole.modality, whole.dim, whole.fingerprint

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, D) vectors of the changed items."""
        items = self.change(items)
        keys = [item.encode() if isinstance(item, str) else item.tobytes() for item in items]
        new = [i for i, key in enumerate(keys) if key not in self.known]
        if new:
            with torch.no_grad():
                vectors = self.whole.encode(self.whole.inputs([items[i] for i in new]))
            self.known |= {keys[i]: v for i, v in zip(new, vectors, strict=True)}
        return torch.stack([self.known[key] for key in keys])

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the vectors themselves."""
        assert isinstance(x, Tensor)
        return x


class Taught(Around):
    """A teacher whose items are changed before it sees them, and whose vectors are computed once.

    Args:
        changes: modality -> change of B items; modalities without stay.
    """

    def __init__(self, whole: Backbone, changes: Mapping[str, Change]) -> None:
        super().__init__(whole, {m: Remembered(e, changes.get(m, list)) for m, e in whole.encoders.items()})


def named(colour: str, shape: str, language: str) -> str:
    """Return the name of a coloured shape, as the captions of scenes have it.

    Example:
        >>> named("red", "circle", ENGLISH), named("red", "circle", OTHER)
        ('a red circle', 'Kreis (rot)')
    """
    words = TRANSLATED.get(language)
    return f"{words[shape]} ({words[colour]})" if words else article(f"{colour} {shape}")


GLOSSARY = {named(*pair, OTHER): named(*pair, ENGLISH) for pair in SCENES.pairs()}


def in_english(texts: Sequence[str]) -> list[str]:
    """Return texts with German names replaced by English ones."""
    return [GLOSSARY.get(text, text) for text in texts]


def rolled(items: Sequence[Any]) -> list[Any]:
    """Return the items moved on by one place, so that each gets the features of another."""
    return [*items[1:], *items[:1]]


def student(space: Backbone, run: Run) -> OpenClip:
    """Return the student of a seed, with the tokenizer and pixels of a backbone.

    Raises:
        MissingHook: the backbone is no open_clip model.
    """
    if not isinstance(space, OpenClip):
        raise MissingHook(f"Students have open_clip's towers and the tokenizer of {space.spec.name}: use tiny.")
    module = build(STUDENT, run.integer("student") % 2**31)
    spec = replace(space.spec, name="student", dim=STUDENT["embed_dim"], changes=())
    return from_model(module, spec, space.tokens, config=STUDENT)


def both(scene: Scene) -> tuple[str, ...]:
    """Return the captions of a scene in both languages."""
    return scene.captions[ENGLISH], scene.captions[OTHER]


@dataclass(frozen=True)
class Noting(DCCLIP):
    """DC-CLIP that shows its space between the stages.

    Args:
        note: takes the space after stage 1.
    """

    note: Callable[[Backbone], None] = lambda space: None

    def stages(self, *parts: Any, **more: Any) -> Iterator[Trainee | Stage]:
        """Yield the stages; before the last one, show what the first ones made."""
        for stage in super().stages(*parts, **more):
            if not isinstance(stage, Stage):
                self.note(stage.trained())  # type: ignore[arg-type]  # the student is a backbone
            yield stage


def open_bilingual(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    sizes: Mapping[str, int] = SIZES,
    learn: Fit = LEARN,
    before: int = BEFORE,
) -> Tabled:
    """Train the students of all arms; the metric is recall at 1 of unseen scenes, over names in both languages.

    A student has ``before`` steps on the teacher's features, and those of ``learn`` on pairs after them.
    """
    only_scenes(name)
    data = scene_data(SCENES, sizes, caption=both)
    train, test = data.split("train"), data.split("test")
    names = dict(zip(("en", OTHER), zip(*test.columns["captions"].values, strict=True), strict=True))
    rows = Evidence(train=train)
    pool = TextPool({de: (Text(de, "words"), Text(en, "words")) for de, en in GLOSSARY.items()})
    more = replace(rows, unlabelled=data.split("unpaired").items, texts=pool)
    teacher = Taught(backbone, {"text": in_english})
    others = Taught(backbone, {"image": rolled, "text": lambda texts: rolled(in_english(texts))})
    reached: dict[str, list[dict[str, Floats]]] = {}

    def measured(kind: str, space: Backbone) -> None:
        reached.setdefault(kind, []).append(recalls(space, test.items, names))

    for seed in seeds:
        seeded = replace(run, workers=0, out=None, seed=seed)
        start = student(backbone, seeded)
        measured("teacher", teacher)
        alone = replace(learn, steps=(learn.steps or 0) + before)
        measured(PAIRS_ALONE, _trained(CLIPLoss(), {"main": start}, rows, alone, seeded))
        noting = Noting("embeddings", RATE, before, note=lambda space: measured(FEATURES_ALONE, space))
        measured("own", _trained(noting, {"main": start, "teacher": teacher}, more, learn, seeded))
        spoiled = DCCLIP("embeddings", RATE, before)
        measured(OTHERS, _trained(spoiled, {"main": start, "teacher": others}, more, learn, seeded))
    table = {kind: over(results, tuple(names)) for kind, results in reached.items()}
    table |= {f"{kind} in {code}": over(reached[kind], (code,)) for kind in ("own", PAIRS_ALONE) for code in names}
    means = {k: {code: float(np.mean([r[code] for r in rs])) for code in names} for k, rs in reached.items()}
    facts = {
        "data_hash": hash_of_words(test.items, [t for texts in train.columns["captions"].values for t in texts]),
        "items": len(test),
        "train": len(train),
        "unpaired_pictures": sizes["unpaired"],
        "unpaired_texts": 2 * len(GLOSSARY),
        "languages": list(names),
    }
    return Tabled(backbone, run, seeds, "recall_at_1", facts, table, means)


def _trained(method: Objective | Recipe, kit: Mapping[str, Any], rows: Evidence[Any], fit: Fit, run: Run) -> Backbone:
    space = train_space(method, Kit(kit), rows, fit, run).space
    assert isinstance(space, Backbone)  # of a backbone
    return space


DC_CLIP = Trial(
    (Claim(PAIRS_ALONE),),
    arm=Arm("own"),
    controls=(Claim(PAIRS_ALONE, arm=Arm(OTHERS), name=OTHERS),),
    beside={
        "after stage 1": Arm(FEATURES_ALONE),
        "the teacher": Arm("teacher"),
        **{
            f"names in {c}": Claim(PAIRS_ALONE, arm=Arm(f"own in {c}"), base=Arm(f"{PAIRS_ALONE} in {c}"))
            for c in ("en", OTHER)
        },
    },
    bench=open_bilingual,
)
