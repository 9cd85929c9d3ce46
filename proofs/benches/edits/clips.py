"""Proof of editors of clips: composed clips of one object that moves over a plain background, with exact masks.

What is measured, a clip: "iou" of the region that may change and the object; "psnr", of the background in dB; and
"subject", the share of frames that show the colour and the shape of the subject's picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diptych.backbones.diffusion.load import SMALL_SCENES
from diptych.core import Backbone, EditAsk, Evidence, NotAvailable, Run
from diptych.data.scenes.compose import draw_objects, render
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm
from diptych.methods.edit.cut_and_paste import CutAndPaste, FittedCutAndPaste
from diptych.nn.diffusion.attention import cut, fused, word_map
from diptych.nn.diffusion.exchange import exchanged
from diptych.nn.style_space import square_of
from diptych.tasks.edit_parts import kit_for
from proofs.scenes.read import SceneReader
from proofs.trial import Claim, Tabled, Trial

SEED, FRAMES, WAY = 1_000_003, 6, 0.24
"""Of the stream of clips, frames of a clip, and the share of the frame that an object crosses."""
THING = "new thing"
METRIC = "value"


@dataclass(frozen=True)
class Shown:
    """A composed clip with its request.

    Args:
        frames: T pictures.
        masks: (T, S, S) of the object.
        subject: a picture of another object.
        wanted: colour and shape of the subject.
    """

    frames: tuple[Image.Image, ...]
    masks: NDArray[np.bool_]
    colour: str
    shape: str
    background: str
    subject: Image.Image
    wanted: tuple[str, str]

    @property
    def source(self) -> str:
        """What is there."""
        return f"{article(f'{self.colour} {self.shape}')} on a {self.background} background"

    @property
    def target(self) -> str:
        """What shall be there; the subject's picture says what the thing is."""
        return f"a {THING} on a {self.background} background"


def clips(count: int, seed: int = SEED) -> tuple[Shown, ...]:
    """Return clips of one plain object each, the same for all seeds of a proof."""
    out: list[Shown] = []
    number = 0
    while len(out) < count:
        rng = np.random.default_rng([seed, number])
        number += 1
        thing, other = (replace(draw_objects(SMALL_SCENES, rng)[0], texture="plain") for _ in range(2))
        if thing.colour == other.colour or thing.noun == other.noun:
            continue
        angle, kinds = float(rng.uniform(0, 2 * math.pi)), SMALL_SCENES.backgrounds
        background, (dx, dy) = kinds[int(rng.integers(len(kinds)))], (math.cos(angle), math.sin(angle))
        scenes = []
        for t in np.linspace(-0.5, 0.5, FRAMES):
            moved = replace(thing, centre=(0.5 + WAY * float(t) * dx, 0.5 + WAY * float(t) * dy))
            scenes.append(render(SMALL_SCENES, (moved,), background, np.random.default_rng([seed, number])))
        shown = render(SMALL_SCENES, (replace(other, centre=(0.5, 0.5)),), "light", np.random.default_rng(number))
        out.append(
            Shown(
                tuple(Image.fromarray(s.image) for s in scenes),
                np.stack([s.masks[0] for s in scenes]),
                str(thing.colour),
                thing.noun,
                background,
                Image.fromarray(shown.image),
                (str(other.colour), other.noun),
            )
        )
    return tuple(out)


def iou(m: Tensor, masks: NDArray[np.bool_]) -> float:
    """Return the mean over frames of the intersection over union of (T, 1, S, S) regions and (T, S, S) masks."""
    foreground = m[:, 0].numpy() > 0
    both, either = (foreground & masks).sum((1, 2)), (foreground | masks).sum((1, 2))
    return float(np.mean(both / np.maximum(either, 1)))


def background_psnr(after: Tensor, before: Tensor, masks: NDArray[np.bool_]) -> float:
    """Return the peak signal-to-noise ratio in dB outside the object, at most 60, over all frames."""
    error = float((after - before).square().mean(1)[torch.from_numpy(~masks)].mean())
    return 60.0 if error < 1e-6 else -10 * math.log10(error)


def read(after: Tensor, wanted: tuple[str, str]) -> tuple[float, float, float]:
    """Return the shares of frames that show a colour, a shape, and both."""
    pixels = (255 * after).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    reader = SceneReader(SMALL_SCENES.bank, SMALL_SCENES.size, SMALL_SCENES.sides)
    seen = [(one[0].colour, one[0].shape) for one in reader.read_all(pixels)]
    colour, shape = ([s[k] == wanted[k] for s in seen] for k in (0, 1))
    return float(np.mean(colour)), float(np.mean(shape)), float(np.mean([s == wanted for s in seen]))


def open_clips(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, items: int = 8, **less: Any
) -> Tabled:
    """Replace the object of composed clips by the subject of a picture."""
    if name != "scenes":
        raise NotAvailable(f"{name} has no clips with exact masks: this proof takes scenes.")
    method = CutAndPaste(**{**CutAndPaste.card.variants["small"], **less})
    fitted = method.fit(kit_for(CutAndPaste.card, backbone), Evidence(), run)
    shown, rows, beside = clips(items), dict[str, list[list[float]]](), dict[str, list[tuple[float, float]]]()
    with run.track("edit clips", items * len(seeds)) as bar:
        for seed in seeds:
            seeded = replace(run, seed=seed, progress=Run().progress)
            for key in (values := [_clip(fitted, shown, i, seeded, beside) for i in range(items)])[0]:
                rows.setdefault(key, []).append([one[key] for one in values])
            bar.advance(items)
    pixels = b"".join(np.asarray(f).tobytes() for one in shown for f in (*one.frames, one.subject))
    facts = {
        "data_hash": hashlib.sha256(pixels).hexdigest(),
        "items": items,
        "measured_seeds": list(seeds),
        "what": f"composed clips of {FRAMES} frames, 32 pixels, one plain object each; not photographs",
    }
    means = {arm: np.mean(values, axis=0) for arm, values in beside.items()}
    others = {arm: {"colour": float(m[0]), "shape": float(m[1])} for arm, m in means.items()}
    return Tabled(backbone, run, seeds, METRIC, facts, {arm: np.array(v) for arm, v in rows.items()}, others)


@torch.no_grad()
def _clip(
    fitted: FittedCutAndPaste, shown: Sequence[Shown], i: int, run: Run, beside: dict[str, list[tuple[float, float]]]
) -> dict[str, float]:
    """Return what every arm comes to on clip i with one seed."""
    one, other, d, m = shown[i], shown[(i + 1) % len(shown)], fitted.diffusion, fitted.method
    frames = torch.stack([square_of(f, d.size) for f in one.frames])
    words = exchanged(d, one.source, one.target)
    areas = fitted.cut(frames, one.source, words)
    single = word_map(areas.record.cross(), words.old, areas.maps.shape[-1])
    order = torch.randperm(len(single), generator=run.generator(f"order of frames/{i}"))
    region = partial(cut, threshold=m.threshold, floor=m.floor, side=d.latent[1], wider=m.wider)
    out = {
        "iou": iou(areas.m, one.masks),
        "iou of single frames": iou(region(single), one.masks),
        "iou in random order": iou(region(fused(single[order], m.fusion)[order.argsort()]), one.masks),
    }
    free = replace(areas, m=torch.ones_like(areas.m))
    asks = {
        "subject": (areas, one.subject),
        "everywhere": (free, one.subject),
        "subject of others": (areas, other.subject),
        "no subject": (areas, None),
    }
    for arm, (where, subject) in asks.items():
        ask = EditAsk(one.source, one.target, reference=subject)
        after = d.from_latent(fitted.paste(where, fitted.target(ask, words, run), words)).cpu()
        colour, shape, both = read(after, one.wanted)
        beside.setdefault(arm, []).append((colour, shape))
        out[arm] = both
        out[f"psnr, {arm}"] = background_psnr(after, frames, one.masks)
    return out


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "cut-and-paste": Trial(
            (
                Claim("iou of single frames", arm=Arm("iou"), name="iou"),
                Claim("psnr, everywhere", arm=Arm("psnr, subject"), name="background"),
                Claim("no subject", arm=Arm("subject"), name="subject"),
            ),
            variant="small",
            controls=(
                Claim("iou of single frames", arm=Arm("iou in random order"), name="random order"),
                Claim("no subject", arm=Arm("subject of others"), name="subject of others"),
            ),
            bench=open_clips,
        )
    }
)
