"""MOSAIC gives each object that a prompt names a style of its own: it finds the object, and lets CLIP see that alone.

    "cat in the style of Van Gogh; sofa: a pencil sketch"  ->  (object j, style j)

    M_j  = softmax over objects and background of the segmenter's scores
    y_j  = n_j(x),  n_j trained for this picture and style to lower

        L = 500 L_dir + 9000 L_patch + 150 L_content + 0.002 L_tv
        L_dir     = 1 - cos(I(M_j y_j + (1 - M_j) x) - I(x), d_j)
        L_patch   = mean over crops c of r_c where r_c >= t, else 0,   r_c = 1 - cos(I(c(y_j)) - I(c(x)), d_j)
        L_content = mean squared difference of an early layer of the image encoder at y_j and x
        L_tv      = sum of the lengths of the differences of neighbouring pixels, in four directions

    y = x + strength sum_j M_j (y_j - x)

x: the picture;  n_j: a small convolutional network, see ``nn.style_net``
M_j: where object j is, in [0, 1]; exactly 0 where a pixel is to stay
I: unit image vector;  d_j: T(style j) - T("a photo"), with T the mean of unit text vectors over prompts
c: a crop inside M_j, seen from a random viewpoint, the same for y_j and x;  t: 0.7

The paper's abstract was all that could be read: what is above is a reconstruction from it and from CLIPstyler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, mse_loss

from diptych.core import (
    Backbone,
    ClassNames,
    EditAsk,
    Edited,
    Editor,
    Evidence,
    FittedEditor,
    Kit,
    Run,
    Samples,
    Segmenter,
    Subset,
    Takes,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check, wrong
from diptych.data.words.styled_objects import parsed
from diptych.features.heads import text_head
from diptych.features.visual import early
from diptych.nn.dense.label_maps import dense_map, shared_out
from diptych.nn.spaces.viewpoints import blurred, crops_inside, viewed
from diptych.nn.style_net import StyleNet
from diptych.nn.style_space import direction_loss, patch_loss, seen, total_variation

BACKGROUND = "background"
"""An object of this name is all that no other object is."""
PLAIN = "a photo"
"""What a style is compared with."""
FRAMES = ("{}", "a photo of {}.", "a picture of {}.", "an image in the style of {}.")


@dataclass(frozen=True)
class Mosaic(Editor):
    """Stylise each object that a prompt names, and leave the rest as it is.

    Use it to give objects of a photo styles of their own by words. It trains a small network for each object of each
    picture, so a picture takes seconds to minutes.

    Args:
        steps: of each training, >= 1; 200 (CLIPstyler's).
        rate: learning rate of Adam, halved after half of the steps, > 0; 5e-4 (CLIPstyler's).
        side: longest side at which pictures are stylised, in pixels, >= 16; 512 (CLIPstyler's). The change is enlarged
            to the picture's own size.
        crops: a step, >= 1; 64 (CLIPstyler's).
        crop: side of a crop, as a share of the shorter side of the picture, in (0, 1]; 0.25 (CLIPstyler's).
        distortion: of the random viewpoint, in [0, 1); 0.5 (CLIPstyler's).
        least: t, loss below which a crop pulls no more, >= 0; 0.7 (CLIPstyler's).
        weights: of direction, patches, content and variation; (500, 9000, 150, 0.002) (CLIPstyler's).
        width: of the network, >= 1; 16 (ours).
        floor: share below which a pixel does not belong to an object, in [0, 1); 0.1 (ours).
        feather: width of the border between object and rest, as a share of the shorter side, >= 0; 0.006, which is 3
            pixels of 512 (ours). It reaches into the object only where masks are given.
        around: names of all else, which the segmenter tells objects from; ("background",) (ours).
        frames: prompts with one "{}" for a style; ``FRAMES`` (ours).

    Raises:
        UsageError: a number is out of its range, or a frame has not exactly one "{}".

    Source: arXiv 2309.13716 (MOSAIC), abstract; Kwon and Ye 2022 (CLIPstyler), section 3, for the losses.

    Example:
        >>> r = torch.tensor([0.9, 0.5, 0.8])
        >>> round(patch_loss(r, least=0.7).item(), 3)  # the second crop has the style
        0.567
    """

    steps: int = 200
    rate: float = 5e-4
    side: int = 512
    crops: int = 64
    crop: float = 0.25
    distortion: float = 0.5
    least: float = 0.7
    weights: tuple[float, float, float, float] = (500.0, 9000.0, 150.0, 0.002)
    width: int = 16
    floor: float = 0.1
    feather: float = 0.006
    around: tuple[str, ...] = (BACKGROUND,)
    frames: tuple[str, ...] = FRAMES

    takes: ClassVar[Takes] = Takes(("pictures",), source=False, targets=None, masks="may")

    def __post_init__(self) -> None:
        check(self, at_least(1), "steps", "crops", "width")
        check(self, at_least(16), "side")
        check(self, above(0), "rate")
        check(self, between(0, 1, "(]"), "crop")
        check(self, between(0, 1, "[)"), "distortion", "floor")
        check(self, at_least(0), "least", "feather", "weights")
        if not self.frames or any(frame.count("{}") != 1 for frame in self.frames):
            raise wrong(self, "frames", "prompts with exactly one '{}' where the style goes")

    def check_words(self, source: str, targets: tuple[str, ...]) -> None:
        """Refuse words that name no objects and styles; see ``Editor``."""
        super().check_words(source, targets)
        parsed(targets)

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedMosaic:
        """Take the parts; nothing is learnt before there is a picture.

        Raises:
            MissingPart: the kit has no backbone or no segmenter.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone, segmenter = kit.need(Backbone), kit.need(Segmenter, "segmenter")
        early(backbone, torch.zeros(1, 3, 64, 64))
        return FittedMosaic(backbone, self, segmenter)


@dataclass(frozen=True)
class FittedMosaic(FittedEditor):
    """Stylises pictures.

    Args:
        backbone: sees pictures and reads styles.
        segmenter: finds objects by name; it is fitted on the names of each request.
    """

    backbone: Backbone
    method: Mosaic
    segmenter: Segmenter

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Stylise the objects of each picture; see ``FittedEditor``.

        Masks are (H, W), where a picture may change, or (J, H, W), one for each object in the order of the prompt: then
        no object is looked for. Without such masks the order of the objects in the prompt does not matter.

        Raises:
            UsageError: see ``masks``, or a clause has no object and style.
        """
        self.method.takes.check(ask, self.method.card.name)
        clauses = parsed(ask.targets)
        order = sorted(range(len(clauses)), key=clauses.__getitem__)  # so that the order of clauses changes nothing
        ordered = [clauses[j] for j in order]
        assert ask.images is not None
        nouns = [noun for noun, _ in ordered]
        # of all pictures before the first is stylised, which takes long and would be lost where a later one is refused
        masks_of = [self.masks(ask.images, i, nouns, self._given(ask, i, order), run) for i in range(len(ask.images))]
        before, after, facts = [], [], []
        with run.track("stylise", len(ask.images) * len(ordered)) as bar:
            for i in range(len(ask.images)):
                x = _pixels(ask.images[i])
                masks = masks_of[i]
                change = torch.zeros_like(x)
                for j, (noun, style) in enumerate(ordered):
                    y = self.stylised(x, masks[j], style, run, f"{ask.images.key(i)}/{style}/{noun}")
                    change += masks[j] * (y - x)
                    bar.advance()
                before.append(x)
                after.append(torch.where(change == 0, x, (x + ask.strength * change).clamp(0, 1)))
                areas = {noun: round(float(m.mean()), 4) for (noun, _), m in zip(ordered, masks, strict=True)}
                facts.append({"areas": {noun: areas[noun] for noun, _ in clauses}})
        return Edited(tuple(before), tuple(after), facts=tuple(facts))

    @staticmethod
    def _given(ask: EditAsk, i: int, order: Sequence[int]) -> NDArray[np.bool_] | None:
        """Return the masks that are given of picture i, those of objects in the order of the work."""
        if ask.masks is None:
            return None
        given = np.asarray(ask.masks[i]).astype(bool)
        return given[list(order)] if given.ndim > 2 and len(given) == len(order) else given

    def masks(
        self, images: Samples[Any], i: int, things: Sequence[str], given: NDArray[np.bool_] | None, run: Run
    ) -> Tensor:
        """Return the (J, H, W) masks of the objects of picture i.

        Args:
            images: the pictures.
            i: which of them.
            things: J names of objects.
            given: see ``edit``; None: the whole picture may change.
            run: device.

        Raises:
            UsageError: masks are of another size than the picture, or of another number than the objects; or the
                segmenter takes every pixel for one object, so that nothing would stay as it is.
        """
        width, height = images[i].size
        if given is not None and (
            given.shape[-2:] != (height, width) or (given.ndim > 2 and len(given) != len(things))
        ):
            raise UsageError(
                f"Masks of {images.name(i)} are {given.shape} for {len(things)} objects and a picture of "
                f"{(height, width)}: give (H, W), or one mask an object."
            )
        sigma = self.method.feather * min(height, width)
        if given is not None and given.ndim == 3:
            exact = torch.from_numpy(given).float()
            return shared_out(blurred(exact, sigma) * exact, self.method.floor)
        shares = self._found(Subset(images, (i,)), [t for t in things if t != BACKGROUND], run)
        maps = [shares[t] if t in shares else (1 - sum(shares.values(), torch.zeros(height, width))) for t in things]
        allowed = torch.ones(height, width) if given is None else torch.from_numpy(given).float()
        masks = shared_out(blurred(torch.stack(maps).clamp(0, 1), sigma) * allowed, self.method.floor)
        for noun, mask in zip(things, masks, strict=True):
            if noun != BACKGROUND and float(mask.min()) >= 0.5:
                raise UsageError(
                    f"The segmenter takes every pixel of {images.name(i)} for {noun!r}: name what else is there with "
                    f"a style, or give a mask of {noun!r}."
                )
        return masks

    def _found(self, image: Samples[Any], things: Sequence[str], run: Run) -> dict[str, Tensor]:
        if not things:
            return {}
        around = tuple(name for name in self.method.around if name not in things)
        fitted = self.segmenter.fit(Kit.of(self.backbone), ClassNames((*things, *around)), Evidence(), run)
        regions = next(iter(fitted.regions(image, run)))
        maps = dense_map(regions)
        shares = maps.softmax(0) if regions.scores.kind == "logit" else maps.clamp(0, 1)
        whole = interpolate(shares[None].float(), size=regions.size, mode="bilinear")[0].cpu()
        return dict(zip(things, whole, strict=False))

    def stylised(self, x: Tensor, mask: Tensor, style: str, run: Run, key: str) -> Tensor:
        """Return a picture in a style, trained where the mask is; (3, H, W) as ``x``.

        Args:
            x: (3, H, W) in [0, 1].
            mask: (H, W) in [0, 1]; an empty one returns ``x``.
            style: in words.
            run: seed and device.
            key: of picture and style; it seeds the network and the crops.
        """
        m = self.method
        if not bool(mask.any()):
            return x
        times = min(1.0, m.side / max(x.shape[1:]))
        size = tuple(max(8, round(times * s)) for s in x.shape[1:])
        small, inside = (interpolate(t[None], size=size, mode="bilinear", antialias=True) for t in (x, mask[None]))
        small, inside = small.clamp(0, 1).to(run.device), inside.to(run.device)
        with run.seeded(f"mosaic/{key}"):
            net = StyleNet(m.width).to(run.device)
        y = self._trained(net, small, inside, style, run, key)
        change = interpolate((y - small).cpu(), size=x.shape[1:], mode="bilinear")[0]
        return (x + change).clamp(0, 1)

    def _trained(self, net: StyleNet, x: Tensor, mask: Tensor, style: str, run: Run, key: str) -> Tensor:
        m, g = self.method, run.generator(f"mosaic crops/{key}")
        encoder = self.backbone.image
        with torch.no_grad():
            ends = text_head(
                self.backbone, [[f.replace("{}", words) for f in m.frames] for words in (PLAIN, style)], run
            ).to(run.device)
            d, whole, content = ends[1] - ends[0], seen(encoder, x, run).to(run.device), early(self.backbone, x)
        places = crops_inside(avg_pool2d(mask, k := max(8, round(m.crop * min(x.shape[2:]))), 1)[0, 0], k)
        parameters = list(net.parameters())
        optimizer = torch.optim.Adam(parameters, lr=m.rate)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, m.steps // 2), 0.5)
        # Not the one loop: one picture is optimised, nothing is learnt from data, and there is nothing to resume.
        for _ in range(m.steps):
            with torch.enable_grad():
                y = net(x)
                both = viewed(torch.cat([y, x]), places, m.crops, m.distortion, g)
                pasted, crops = (seen(encoder, t, run).to(run.device) for t in (mask * y + (1 - mask) * x, both[0]))
                with torch.no_grad():
                    source = seen(encoder, both[1], run).to(run.device)
                terms = (
                    direction_loss(pasted, whole, d[None]).mean(),
                    patch_loss(direction_loss(crops, source, d[None]), m.least),
                    mse_loss(early(self.backbone, y), content),
                    total_variation(y),
                )
                loss = torch.stack([w * t for w, t in zip(m.weights, terms, strict=True)]).sum()
            for p, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p.grad = grad  # only the network's: the backbone stays as it is
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            out: Tensor = net(x)
        return out


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
