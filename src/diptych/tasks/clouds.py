"""Point clouds by class names alone, or by adapters that learnt from a few clouds a class and are kept in a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.spec import state_hash
from diptych.core import (
    Backbone,
    ClassNames,
    DataError,
    Evidence,
    Kit,
    Run,
    Samples,
    Space,
    Texts,
    UnreadableItem,
    UsageError,
)
from diptych.data.labelled import LabelledData
from diptych.features.depth_views import CloudEncoder, EachView
from diptych.features.derived_space import DerivedSpace
from diptych.features.embed import embed, embed_readable
from diptych.features.portable import load, save
from diptych.methods.extend.clip2point import CLIP2Point
from diptych.nn.view_adapters import DualPathEncoder, ViewAdapter
from diptych.tasks.classified import Classified, ranked
from diptych.tasks.classify import with_store
from diptych.tasks.extend import hits, told


@dataclass(frozen=True)
class CloudClassifier:
    """Adapters over the views of clouds, with the texts of their classes.

    Args:
        classes: K names.
    """

    backbone: Space
    method: CLIP2Point
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    state: Mapping[str, Tensor]

    @classmethod
    def of(cls, space: DerivedSpace, method: CLIP2Point, names: ClassNames) -> CloudClassifier:
        """Return what is kept of a space with adapters."""
        encoder = space.image
        assert isinstance(encoder, DualPathEncoder)
        state = {name: tensor.detach().cpu() for name, tensor in encoder.adapters.state_dict().items()}
        return cls(space.base, method, tuple(names.names), tuple(names.templates), state)

    def encoder(self) -> DualPathEncoder:
        """Return the encoder with its adapters, in eval mode."""
        base = self.backbone
        assert isinstance(base, Backbone)
        clouds = CloudEncoder(base.image, self.method.cameras, self.method.radius)
        names = sorted({name.split(".")[0] for name in self.state})
        views, hidden = len(self.method.cameras), self.method.hidden
        adapters = nn.ModuleDict({name: ViewAdapter(views, clouds.dim, hidden, 0.0) for name in names})
        adapters.load_state_dict(dict(self.state))
        adapters.eval().requires_grad_(False).to(next(base.module().parameters()).device)
        digest = f"{clouds.fingerprint}-{state_hash(adapters)[:16]}"
        return DualPathEncoder(clouds, base.image, adapters, digest)


@dataclass(frozen=True)
class CloudsExtended:
    """What was learnt.

    Args:
        clouds: it learnt from.
        classes: K names with their prompt.
        held: split that was measured on; "" if there was none.
        right: system -> right answers among ``tested`` clouds of that split.
        failed: clouds that could not be read.
        seconds: wall seconds of fitting.
    """

    backbone: str
    clouds: int
    classes: ClassNames
    held: str
    right: Mapping[str, int]
    tested: int
    failed: tuple[UnreadableItem, ...]
    seconds: float
    out: Path

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        own = {name: getattr(self, name) for name in ("backbone", "clouds", "held", "tested")}
        names = {"classnames": list(self.classes.names), "templates": list(self.classes.templates)}
        skipped = [e.as_dict() for e in self.failed]
        data = {"method": "clip2point", **own, **names, "right": dict(self.right), "skipped": skipped}
        return {**data, "seconds": round(self.seconds, 3), "out": str(self.out)}


def adapter(epochs: int) -> CLIP2Point:
    """Return what trains adapters for so many epochs.

    Raises:
        MissingExtra: what training needs is not installed.
    """
    method = CLIP2Point(adapter_epochs=epochs)
    method.check_extras()
    return method


def with_clouds(backbone: Backbone, run: Run) -> Backbone:
    """Return a backbone with point clouds, each by its depth images, in the place of photos."""
    return CLIP2Point().fit(Kit({"main": backbone}), Evidence(), run)


def extend_clouds(
    data: LabelledData, classes: ClassNames, backbone: Backbone, method: CLIP2Point, run: Run, *, out: Path
) -> CloudsExtended:
    """Train adapters on the train split, measure them on val or test beside zero-shot, and keep them in a new folder.
    Names stand in the order of the data's classes, with one template.

    Raises:
        UsageError: several templates, or the folder exists.
        DataError: no train split, fewer than 2 clouds in it, or one without a label.
    """
    if len(classes.templates) != 1:
        raise UsageError(f"A cloud learns from one text, and there are {len(classes.templates)} templates: give one.")
    if out.exists():
        raise UsageError(f"{out} exists: give another --out, nothing is overwritten.")
    with with_store(run) as stored:
        plain = with_clouds(backbone, stored)
        clouds = CloudEncoder(backbone.image, method.cameras, method.radius)
        views = EachView(clouds, backbone.image.encode, clouds.dim, "views")  # which the adapters learn from
        train = data.split("train")
        train, failed = embed_readable(views, train.items, stored).some("clouds").rows(train)
        start = time.perf_counter()
        space = method.fit(Kit({"main": backbone}), told(train, classes), stored)
        seconds = time.perf_counter() - start
        held, right, tested = next((s for s in ("test", "val") if s in data.splits), ""), {}, 0
        if held:
            table = data.split(held)
            table, broken = embed_readable(plain.image, table.items, stored).some("clouds").rows(table)
            failed, tested = failed + broken, len(table)
            for name, other in (("zero-shot", plain), (method.card.slug, space)):
                right[name] = int(hits(other, table, classes, stored).sum())
    save(CloudClassifier.of(space, method, classes), out)
    return CloudsExtended(backbone.spec.name, len(train), classes, held, right, tested, failed, seconds, out)


def classify_clouds(
    clouds: Samples[Any], folder: Path, backbone: Backbone, run: Run, *, top: int = 5, threshold: float | None = None
) -> Classified:
    """Say what each cloud is, by adapters; probabilities are those of the backbone's scale.

    Args:
        clouds: N clouds.
        folder: that ``extend_clouds`` wrote.
        backbone: on which it was trained.
        run: device, cache.
        top: classes a cloud, at least 1.
        threshold: leave out classes with a probability below it.

    Raises:
        UsageError: the folder was trained on another backbone.
        DataError: the folder holds no adapters, or no cloud can be read.
    """
    model = load(folder, Kit({"main": backbone}))
    if not isinstance(model, CloudClassifier):
        raise DataError(
            f"{folder} holds a {type(model).__name__}, which knows no point clouds: give a folder of 'diptych extend "
            f"CLOUDS'."
        )
    names = ClassNames(model.classes, model.templates)
    with with_store(run) as stored:
        before, start = stored.tally["encoded"], time.perf_counter()
        result = embed_readable(model.encoder(), clouds, stored).some("clouds")
        seconds = {"encode": time.perf_counter() - start, "fit": 0.0, "predict": 0.0}
        encoded = stored.tally["encoded"] - before
        texts = Texts(tuple(row[0] for row in names.prompts()))
        w = normalize(embed(backbone.text, texts, stored), dim=-1)
    scale = backbone.scale()[0].detach().float().cpu()
    p = (scale * normalize(result.values, dim=-1) @ w.T).softmax(1)
    order = p.argsort(dim=1, descending=True, stable=True)[:, :top].tolist()
    predictions = ranked(result.of(clouds), names.names, p, order, threshold)
    return Classified(
        predictions, result.failed, names, backbone.spec.name, "clip2point", "softmax", threshold, seconds, encoded
    )
