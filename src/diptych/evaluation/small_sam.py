"""A small SAM of our own, for proofs and boards where no published weights are at hand.

It learns from photos with masks of their objects, in minutes of a core: from a point or a box to the object there. Its
classes are those of transformers. Two things make it heed the prompt:

- Heads of the decoder are 8 wide at least (SAM's are 16). With heads of 4, the masks of two objects are still the same
  one, all that is there, after 600 steps.
- Its first weights are not the library's, which are for models whose weights are then loaded: layers from N(0, 0.02),
  through which a prompt moves a logit by 1e-5, and positions at a scale of half the encoder's width, at which points a
  pixel apart have unrelated codes. Here positions have a scale of 1 and layers are drawn as PyTorch does, both as by
  SAM's authors, and linear layers as by Glorot and Bengio 2010, with which masks learn sooner.

No loss reaches its estimate of IoU, and it never saw a rough mask as a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import Column, PromptableMasks, Prompts, Run, Samples, Table
from diptych.core.void import void_in
from diptych.nn.dense.mask_losses import dice_loss
from diptych.nn.dense.two_heads import prompted
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

PROMPTS = 4
"""Points, and as many boxes, of a photo in a step; they prompt for objects that are drawn with replacement."""
FIT = Fit(lr=3e-3, batch=8, steps=600, decay=0.05, schedule=Schedule(warmup=20), betas=(0.9, 0.999))
"""Training, chosen on scenes of another stream than those that are measured."""
LEAST = 0.005
"""Share of a photo that a part of a label map fills at least, or it is not asked for."""
Objects = NDArray[np.bool_]
"""(n, H, W) masks of the objects of a photo, none empty."""


def new_sam(side: int, patch: int, run: Run) -> SamMasks:
    """Return a small SAM that has learnt nothing.

    Args:
        side: of its input, in pixels.
        patch: side of a patch, in pixels: a multiple of 4 that divides ``side``.
        run: its seed draws the weights.
    """
    import transformers

    sizes = {"image_size": side, "patch_size": patch}
    config = transformers.SamConfig(
        vision_config={
            **sizes, "hidden_size": 64, "output_channels": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_pos_feats": 16, "window_size": 4, "global_attn_indexes": [1, 3], "mlp_dim": 128,
        },
        prompt_encoder_config={**sizes, "hidden_size": 32, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 32,
            "num_attention_heads": 2, "attention_downsample_rate": 1,
        },
    )  # fmt: skip
    with run.seeded("small sam"):
        model = transformers.SamModel(config)
        for part in model.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
        nn.init.normal_(model.shared_image_embedding.positional_embedding)
    return SamMasks(model)


def small_sam(
    photos: Samples[Any], objects: Sequence[Objects], side: int, patch: int, run: Run, fit: Fit = FIT
) -> SamMasks:
    """Return a small SAM, trained to draw the object at a point or in a box.

    Args:
        photos: N photos.
        objects: N times the masks of the objects of a photo, in its own pixels, n >= 1.
        side: see ``new_sam``.
        patch: see ``new_sam``.
        run: its seed draws weights, batches and prompts.
        fit: the training.
    """
    masks = new_sam(side, patch, run)
    model, cell = masks.model, patch // 4  # SAM draws 4 x 4 pixels a patch
    known = [on_input(masks, photos[i], objects[i]) for i in range(len(photos))]
    table: Table[Any] = Table(photos, {"objects": Column("vector", known)})

    def view(row: Any, g: torch.Generator) -> Mapping[str, Tensor]:
        points, boxes, shown = prompts(row.columns["objects"], PROMPTS, g)
        answers = F.avg_pool2d(shown[None].float(), cell)[0]
        return {"pixels": masks.pixels(row.item)[0][0], "points": points, "boxes": boxes, "answers": answers}

    def loss(b: Mapping[str, Any]) -> Mapping[str, Tensor]:
        logits = prompted(model, model.vision_encoder(b["pixels"])[0], b["points"], b["boxes"]).flatten(0, 1)
        truth = torch.cat([b["answers"]] * 2, dim=1).flatten(0, 1)
        each = F.binary_cross_entropy_with_logits(logits, truth)
        return {"pixels": each, "dice": dice_loss(logits.sigmoid(), truth)}

    train_parameters(Step(model, view, loss), table, fit, run, ())
    return SamMasks(model, masks.processor)  # with the fingerprint of what was learnt


def on_input(masks: SamMasks, photo: Any, objects: Objects) -> Tensor:
    """Return the (n, S, S) bool masks of a photo's objects in pixels of a SAM's input, those that have any there."""
    height, width = masks.pixels(photo)[1]
    inside = F.interpolate(torch.from_numpy(objects)[None].float(), (height, width), mode="nearest-exact")[0] > 0.5
    return F.pad(inside[inside.flatten(1).any(1)], (0, masks.side - width, 0, masks.side - height))


def prompts(objects: Tensor, count: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw objects, a point of each, and return these with the objects' boxes.

    Args:
        objects: (n, S, S) bool.
        count: P.
        g: random numbers.

    Returns:
        (P, 2) x and y of points, (P, 4) x0 y0 x1 y1 of boxes, both in pixels, and (P, S, S) the objects.
    """
    from torchvision.ops import masks_to_boxes

    shown = objects[torch.randint(len(objects), (count,), generator=g)]
    at = torch.multinomial(shown.flatten(1).float(), 1, generator=g)[:, 0]
    side = shown.shape[-1]
    points = torch.stack([at % side, at // side], dim=-1) + 0.5
    return points, masks_to_boxes(shown) + torch.tensor([0.0, 0, 1, 1]), shown


def objects_of(labels: NDArray[np.integer[Any]]) -> Objects:
    """Return the 8-connected parts of the classes of an (H, W) label map, of ``LEAST`` of its pixels or more.

    Example:
        >>> objects_of(np.array([[0, 0, 1, 1, 0], [0, 0, 255, 1, 0]])).astype(int).sum((1, 2))
        array([4, 2, 3])
    """
    parts = []
    for label in np.unique(labels[labels != void_in(labels)]):
        numbers, count = ndimage.label(labels == label, np.ones((3, 3)))
        parts += [part for n in range(1, count + 1) if (part := numbers == n).mean() >= LEAST]
    return np.stack(parts) if parts else np.zeros((0, *labels.shape), dtype=bool)


@torch.no_grad()
def iou_in_boxes(masks: PromptableMasks, photos: Samples[Any], objects: Sequence[Objects]) -> float:
    """Return the mean over objects of the IoU of the mask that is drawn in an object's box with the object.

    Args:
        masks: draws.
        photos: N photos.
        objects: N times the masks of the objects of a photo, in its own pixels; at least one in all.
    """
    from torchvision.ops import masks_to_boxes

    every = []
    for i in range(len(photos)):
        truth = torch.from_numpy(objects[i])
        if len(truth):
            boxes = masks_to_boxes(truth) + torch.tensor([0.0, 0, 1, 1])
            drawn = masks.ask(masks.see(photos[i]), Prompts(boxes=boxes)).logits[:, 0].cpu() > 0
            every.append((drawn & truth).sum((1, 2)) / (drawn | truth).sum((1, 2)))
    return float(torch.cat(every).mean())
