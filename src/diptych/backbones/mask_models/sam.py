"""SAM and SAM 2 of transformers as promptable masks: points, boxes and rough masks in pixels of the image."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.spec import state_hash
from diptych.backbones.towers.of import class_names
from diptych.core import Prompted, Prompts, Seen, UsageError
from diptych.data.images import upright_rgb

TOGETHER = 16
"""Prompts that the decoder answers at once."""


class SamMasks:
    """A ``SamModel`` or ``Sam2Model`` with its own image processor.

    Each prompt is decoded alone, so that prompts do not affect each other and may have masks of their own.

    Args:
        model: set to eval mode.
        processor: resizes and normalises pictures; None: the library's, for the side of the model's input.

    Raises:
        UsageError: another module.

    Example:
        >>> import torch, transformers
        >>> from PIL import Image
        >>> from diptych.core import Prompts
        >>> sizes = {"image_size": 64, "patch_size": 16}
        >>> model = transformers.SamModel(transformers.SamConfig(
        ...     vision_config={**sizes, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        ...                    "global_attn_indexes": [0], "output_channels": 16, "num_pos_feats": 8, "mlp_dim": 32},
        ...     prompt_encoder_config={**sizes, "hidden_size": 16},
        ...     mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2}))
        >>> masks = SamMasks(model)
        >>> seen = masks.see(Image.new("RGB", (40, 30)))
        >>> masks.ask(seen, Prompts(boxes=torch.tensor([[2.0, 3, 20, 25]]))).logits.shape
        torch.Size([1, 1, 30, 40])
    """

    def __init__(self, model: nn.Module, processor: Any = None) -> None:
        kinds = class_names(model)
        if not kinds & {"SamModel", "Sam2Model"}:
            raise UsageError(f"SAM's masks come from a SamModel or Sam2Model, not a {type(model).__name__}.")
        self.model: Any = model.eval()
        self.second = "Sam2Model" in kinds
        config: Any = self.model.config
        self.side = int(config.prompt_encoder_config.image_size)
        self.patch = int(config.prompt_encoder_config.patch_size)
        self.processor = processor or _processor(self.side, second=self.second)
        facts = json.dumps([type(model).__name__, self.side, getattr(config.vision_config, "model_type", "")])
        self.fingerprint = hashlib.sha256(f"{facts}/{state_hash(model)}".encode()).hexdigest()[:16]

    def see(self, image: Any, /) -> Seen:
        """Encode an image once; SAM keeps the ratio and pads right and below, SAM 2 squashes to a square."""
        pixels, reached = self.pixels(image)
        features = self.model.get_image_embeddings(pixels)
        maps = tuple(features) if isinstance(features, (list, tuple)) else (features,)
        height, width = upright_rgb(image).height, upright_rgb(image).width
        return Seen(maps, (height, width), (reached[0] / height, reached[1] / width))

    def pixels(self, image: Any) -> tuple[Tensor, tuple[int, int]]:
        """Return (1, 3, S, S) normalised pixels of an image, and the rows and columns of them that hold it."""
        inputs = self.processor(images=upright_rgb(image), return_tensors="pt")
        pixels = inputs["pixel_values"].to(next(self.model.parameters()).device)
        reached = inputs["reshaped_input_sizes"][0].tolist() if not self.second else [self.side, self.side]
        return pixels, (int(reached[0]), int(reached[1]))

    def ask(self, seen: Seen, prompts: Prompts, /, *, several: bool = False) -> Prompted:
        """Return the masks of prompts; with ``several`` the three readings of each."""
        answers = [self._answer(seen, _part(prompts, i), several) for i in range(0, len(prompts), TOGETHER)]
        return Prompted(torch.cat([a for a, _ in answers]), torch.cat([b for _, b in answers]))

    def _answer(self, seen: Seen, prompts: Prompts, several: bool) -> tuple[Tensor, Tensor]:
        like, count = seen.features[-1], len(prompts)
        features = [m.expand(count, -1, -1, -1) for m in seen.features]
        given: dict[str, Any] = {"image_embeddings": features if self.second else features[0]}
        along = torch.tensor([seen.scale[1], seen.scale[0]], device=like.device)
        if prompts.points is not None:
            points = prompts.points.to(like) * along
            labels = torch.ones(points.shape[:2]) if prompts.labels is None else prompts.labels
            given |= {"input_points": points[:, None], "input_labels": labels.to(like.device).int()[:, None]}
        if prompts.boxes is not None:
            given["input_boxes"] = (prompts.boxes.to(like).reshape(-1, 2, 2) * along).reshape(-1, 1, 4)
        if prompts.masks is not None:
            given["input_masks"] = self._rough(prompts.masks.to(like), seen)
        out = self.model(**given, multimask_output=several)
        masks, iou = out.pred_masks[:, 0].float(), out.iou_scores[:, 0].float()
        whole = F.interpolate(masks, (self.side, self.side), mode="bilinear", align_corners=False)
        height, width = self._valid(seen)
        return F.interpolate(whole[..., :height, :width], seen.size, mode="bilinear", align_corners=False), iou

    def _valid(self, seen: Seen) -> tuple[int, int]:
        """Return the rows and columns of the input that hold the image."""
        return round(seen.size[0] * seen.scale[0]), round(seen.size[1] * seen.scale[1])

    def _rough(self, masks: Tensor, seen: Seen) -> Tensor:
        """Return (P, 1, g, g) mask prompts on the model's own grid, of which a cell is a quarter of a patch."""
        grid, (height, width) = 4 * self.side // self.patch, self._valid(seen)
        size = max(1, round(height * grid / self.side)), max(1, round(width * grid / self.side))
        inside = F.interpolate(masks[:, None], size, mode="bilinear", align_corners=False)
        return F.pad(inside, (0, grid - size[1], 0, grid - size[0]))


def _part(prompts: Prompts, start: int) -> Prompts:
    parts = (prompts.points, prompts.labels, prompts.boxes, prompts.masks)
    return Prompts(*(None if t is None else t[start : start + TOGETHER] for t in parts))


def _processor(side: int, *, second: bool) -> Any:
    if second:
        from transformers import Sam2ImageProcessor

        return Sam2ImageProcessor(size={"height": side, "width": side})
    from transformers import SamImageProcessor

    return SamImageProcessor(size={"longest_edge": side}, pad_size={"height": side, "width": side})
