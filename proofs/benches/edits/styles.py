"""Proof of editors that give each object a style: scenes of two objects, each to become another colour.

An object has the style of a colour where its pixels lie nearest to that colour. The metric is the margin, an object and
picture: the share of its pixels in its own new colour minus the share in the other object's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import Backbone, EditAsk, NotAvailable, Run
from diptych.data.memory import InMemory
from diptych.data.scenes.compose import Scene, SceneRecipe, scene
from diptych.data.scenes.sprites import COLOURS, SpriteBank
from diptych.evaluation.arms import Arm
from diptych.methods.edit.mosaic import FittedMosaic, Mosaic
from diptych.methods.segment.maskclip import MaskCLIP
from proofs.trial import Claim, Tabled, Trial, each_seed, over

SCENES = SceneRecipe(
    SpriteBank(colours=("red", "yellow", "green", "blue", "purple", "pink")),
    size=64,
    objects=(2,),
    sides=(0.36, 0.46),
    backgrounds=("light", "dark", "gradient"),
)
SEED = 1_000_003
METRIC = "margin"


@dataclass(frozen=True)
class Styled:
    """A scene with its request.

    Args:
        names: of the two objects: "red circle".
        styles: the two colours that they shall have, neither of which is in the scene.
    """

    shown: Scene
    names: tuple[str, str]
    styles: tuple[str, str]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The request, an object each."""
        return tuple(f"{thing}: {style}" for thing, style in zip(self.names, self.styles, strict=True))


@dataclass(frozen=True)
class Pasted(FittedMosaic):
    """Each style is trained on the whole picture, and pasted into its mask: what masks do without the masked losses."""

    def stylised(self, x: Tensor, mask: Tensor, style: str, run: Run, key: str) -> Tensor:
        """Return the whole picture in a style, whatever the mask is."""
        return super().stylised(x, torch.ones_like(mask), style, run, key)


def scenes(count: int) -> tuple[Styled, ...]:
    """Return scenes of two objects of different colours and shapes, the same for all seeds."""
    drawn: list[Styled] = []
    number = 0
    while len(drawn) < count:
        shown = scene(SCENES, SEED, number)
        first, second = shown.objects
        number += 1
        if first.colour == second.colour or first.noun == second.noun or min(m.sum() for m in shown.masks) < 100:
            continue
        free = [c for c in SCENES.bank.colours if c not in (first.colour, second.colour)]
        order = np.random.default_rng([SEED, number]).permutation(len(free))
        names = (f"{first.colour} {first.noun}", f"{second.colour} {second.noun}")
        drawn.append(Styled(shown, names, (free[order[0]], free[order[1]])))
    return tuple(drawn)


def shares(picture: Tensor, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of the pixels under a mask that is nearest to each colour, black, white and all colours of
    scenes being among them.

    Args:
        picture: (3, H, W) in [0, 1].
        mask: (H, W).
    """
    known = {**COLOURS, "black": (0, 0, 0), "white": (255, 255, 255)}
    pixels = 255 * picture.permute(1, 2, 0).numpy()[mask]
    nearest = ((pixels[:, None] - np.array(list(known.values()), dtype=np.float64)) ** 2).sum(2).argmin(1)
    return {c: float((nearest == k).mean()) for k, c in enumerate(known)}


def margin(picture: Tensor, scene: Styled) -> float:
    """Return the mean over both objects of the share in the own style minus that in the other's, in [-1, 1]."""
    shown = [shares(picture, mask) for mask in scene.shown.masks]
    wanted, other = scene.styles, scene.styles[::-1]
    return float(np.mean([f[a] - f[b] for f, a, b in zip(shown, wanted, other, strict=True)]))


def background_psnr(picture: Tensor, scene: Styled) -> float:
    """Return the peak signal-to-noise ratio outside both objects, in dB; at most 99, where nothing changed."""
    outside = torch.from_numpy(~scene.shown.masks.any(axis=0, keepdims=False))
    error = float((picture - _untouched(scene))[:, outside].square().mean())
    return 99.0 if error == 0 else min(99.0, -10 * math.log10(error))


def open_styles(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, items: int = 6) -> Tabled:
    """Stylise scenes with exact masks, as a whole, and with the masks of other scenes."""
    if name != "scenes":
        raise NotAvailable(f"{name} has no objects whose colour is known: this proof takes scenes.")
    drawn = scenes(items)
    fitted = FittedMosaic(backbone, Mosaic(**Mosaic.card.variants["small"]), MaskCLIP())
    with run.track("stylise", len(seeds) * items) as bar:

        def once(run: Run) -> dict[str, list[tuple[float, float]]]:
            results: dict[str, list[tuple[float, float]]] = {}
            for i, one in enumerate(drawn):
                quiet = replace(run, progress=Run().progress)
                for arm, picture in _pictures(fitted, one, drawn[(i + 1) % items], quiet).items():
                    results.setdefault(arm, []).append((margin(picture, one), background_psnr(picture, one)))
                bar.advance()
            return results

        table = each_seed(once, run, seeds)
    facts = {
        "data_hash": hashlib.sha256(b"".join(one.shown.image.tobytes() for one in drawn)).hexdigest(),
        "items": items,
        "measured_seeds": list(seeds),
        "what": "composed scenes of two objects, 64 pixels; not photographs",
        "untouched": float(np.mean([margin(_untouched(one), one) for one in drawn])),
    }
    others = {arm: {"background_psnr_db": float(np.mean(values[..., 1].ravel()))} for arm, values in table.items()}
    margins = {arm: np.ascontiguousarray(values[..., 0]) for arm, values in table.items()}
    return Tabled(backbone, run, seeds, METRIC, facts, margins, others)


def _untouched(one: Styled) -> Tensor:
    return torch.from_numpy(one.shown.image).permute(2, 0, 1).float() / 255


def _pictures(fitted: FittedMosaic, one: Styled, other: Styled, run: Run) -> Mapping[str, Tensor]:
    images = InMemory([one.shown.image])

    def edited(prompts: Sequence[str], masks: NDArray[np.bool_], by: FittedMosaic = fitted) -> Tensor:
        return by.edit(EditAsk("", tuple(prompts), images=images, masks=[masks]), run).after[0]

    both = " and ".join(f"{style} {thing.split()[1]}" for thing, style in zip(one.names, one.styles, strict=True))
    return {
        "own": edited(one.prompts, one.shown.masks),
        "pasted": edited(one.prompts, one.shown.masks, Pasted(**vars(fitted))),
        "whole picture": edited([f"background: {both}"], np.ones((1, *one.shown.masks.shape[1:]), bool)),
        "masks of others": edited(one.prompts, other.shown.masks),
    }


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "mosaic": Trial(
            (Claim("whole picture"), Claim("pasted")),
            arm=Arm("own"),
            variant="small",
            controls=(over("whole picture", "masks of others"),),
            bench=open_styles,
        )
    }
)
