"""Parts that were trained round a frozen backbone on clips: kept in a folder, and asked what other clips show."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.core import Backbone, ClassNames, Kit, Run, Samples, Space, UsageError
from diptych.features.clips import ClipSpace
from diptych.features.embed import embed_readable
from diptych.features.portable import load
from diptych.methods.extend.ila import ILA
from diptych.nn.aligned_clips import ILANet, ILASpace
from diptych.tasks.classified import Classified, ranked
from diptych.tasks.classify import with_store


@dataclass(frozen=True)
class ClipClassifier:
    """The trained parts of ILA, with the texts of its classes.

    Args:
        method: sizes.
        classes: K names.
    """

    backbone: Space
    method: ILA
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    state: Mapping[str, Tensor]

    @classmethod
    def of(cls, space: ILASpace, method: ILA, names: ClassNames) -> ClipClassifier:
        """Return what is kept of a space."""
        state = {name: tensor.detach().cpu() for name, tensor in space.encoder.net.state_dict().items()}
        return cls(space.base, method, tuple(names.names), tuple(names.templates), state)

    def space(self) -> ILASpace:
        """Return the space with its net, in eval mode.

        Raises:
            UsageError: the weights are those of another version of the net.
        """
        assert isinstance(self.backbone, Backbone)
        with Run().seeded("ila"):
            net = ILANet(self.backbone, self.method.frames, self.method.blocks, self.method.hidden)
        if set(self.state) != set(net.state_dict()):
            raise UsageError("This model of clips is of an earlier version, whose net has other layers: train it anew.")
        net.load_state_dict(dict(self.state))
        net.eval().requires_grad_(False).to(next(self.backbone.module().parameters()).device)
        return ILASpace(self.backbone, net, self.method.frames)


def clip_model(folder: Path) -> int | None:
    """Return the frames a clip of the model of clips in a folder; None where the folder holds another model or none."""
    try:
        fitted = json.loads((folder / "fitted.json").read_bytes())["fitted"]
        return int(fitted["fields"]["method"]["fields"]["frames"]) if fitted["class"] == "ClipClassifier" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def classify_clips(
    clips: Samples[Any], folder: Path, backbone: Backbone, run: Run, *, top: int = 5, threshold: float | None = None
) -> Classified:
    """Say what each clip shows, with texts conditioned on the clip.

    Args:
        clips: N clips.
        folder: for which ``clip_model`` is not None.
        backbone: round which it was trained.
        run: device, cache.
        top: classes a clip, at least 1.
        threshold: leave out classes with a probability below it.

    Raises:
        UsageError: the folder was trained on another backbone.
        DataError: no clip can be read.
    """
    model = load(folder, Kit({"main": backbone}))
    assert isinstance(model, ClipClassifier)
    names, space = ClassNames(model.classes, model.templates), model.space()
    with with_store(run) as stored:
        before, start = stored.tally["encoded"], time.perf_counter()
        readable = embed_readable(ClipSpace(backbone, model.method.frames).image, clips, stored).some("clips")
        kept = readable.of(clips)
        cosines = space.cosines(kept, [row[0] for row in names.prompts()], stored)
        seconds = {"encode": time.perf_counter() - start, "fit": 0.0, "predict": 0.0}
        encoded = stored.tally["encoded"] - before
    p = (backbone.scale()[0].detach().float().cpu() * cosines).softmax(1)
    order = p.argsort(dim=1, descending=True, stable=True)[:, :top].tolist()
    predictions = ranked(kept, names.names, p, order, threshold)
    return Classified(
        predictions, readable.failed, names, space.spec.name, "ila", "softmax", threshold, seconds, encoded
    )
