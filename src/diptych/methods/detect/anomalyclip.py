"""AnomalyCLIP learns a normal and a damaged prompt that name no thing, and compares an image's patches with them.

    text    n = text([V1..VE] object .),  a = text([W1..WE] damaged object .)
    image   x_l = x_(l-1) + Attn_l(v, v, v) of LN1(o_(l-1))              local stream, in the last blocks
    global  P = softmax(cos(cls, [n, a]) / 0.07)
    local   S = softmax(cos(patch, [n, a]) / 0.07)                       for each patch and chosen block
    loss    CE(P, y) + 4 sum over blocks [ Focal(S, mask) + Dice(S_a, mask) + Dice(S_n, 1 - mask) ]
    score   P_a;   map: G_sigma * sum over blocks of (S_a + 1 - S_n) / 2

Sizes: E context vectors, C and C' dimensions of the text and image tokens, T tokens, D of the embeddings
V, W: (E, C) context vectors of the two prompts
n, a: (D,) unit embeddings of the normal and the anomalous prompt. Tokens 1..M of text blocks 2..9 are learnt too
o_l: (T, C') tokens after image block l, computed as usual; x_l: those of the local stream. Its queries and keys are
    the values v, so each patch attends to patches like it; the stream has no MLP
cls, patch: (D,) projected embeddings of the image and, from the local stream, of its patches
P, S: probabilities of normal (P_n, S_n) and anomalous (P_a, S_a)
y: 1 for an anomalous photo; mask: 1 where a pixel is anomalous
G_sigma: Gaussian blur
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import (
    Anomaly,
    Backbone,
    ClassNames,
    Column,
    DataError,
    Detector,
    Evidence,
    FittedDetector,
    Kit,
    Row,
    Run,
    Samples,
    Table,
    Tower,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.data.evidence import known_anomalies
from diptych.data.images import need_size
from diptych.features.networks import inference
from diptych.features.released_tensors import check_released
from diptych.features.strict_weights import check_names
from diptych.features.vectors import Vectors
from diptych.nn.dense.anomaly_states import Stream, local_maps, patch_streams, state_head, state_losses
from diptych.nn.dense.label_maps import squashed
from diptych.nn.prompts.soft import frozen, slots
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step, View

NAMES = ("object", "damaged object")
"""What follows the two contexts."""
LOCAL_SHARE = 19 / 24
"""Share of the blocks, counted from the last, that the local stream goes through."""
_MOST = 4 * 2**30  # bytes of patch embeddings held while training


def view_of(side: int) -> View:
    """Return the function that makes a training example of a row.

    The example has the stored embeddings, the label, and the row's mask, if it has one, as a square.

    Args:
        side: of the square, in pixels.
    """

    def view(row: Row, g: torch.Generator) -> dict[str, Any]:
        view = {"z": row.item, "y": int(row.columns["label"])}
        if "mask" in row.columns:
            mask = torch.from_numpy(np.asarray(row.columns["mask"]) > 0)[None, None].float()
            view["mask"] = F.interpolate(mask, (side, side), mode="nearest-exact")[0, 0]
        return view

    return view


@dataclass(frozen=True)
class AnomalyCLIP(Detector):
    """Learn a normal and an anomalous prompt on anomalies of other things, and find anomalies of any thing with them.

    Args:
        length: E, context vectors of each prompt, >= 1 (default 12, the authors').
        deep: M, tokens overwritten before each of the deep blocks, from 0 to E (default 4, the authors').
        depth: the last text block, counted from 1, whose input is overwritten; the first is block 2 (default 9, the
            authors').
        layers: depths after which patches are compared, as shares of all blocks in (0, 1]; 1.0 is the last.
        class_norm: whether the class token goes through the tower's last norm; the authors' code skips it.
        stream: "value" (attention between values, the paper's), or "query-key": the same stream with ordinary
            attention.
        temperature: of all cosines, > 0 (default 0.07, the paper's).
        local_weight: weight of the pixel losses, >= 0 (default 4, the authors').
        blur: sigma of the Gaussian over the map, in pixels of the square, >= 0.
        side: of the square that the image is resized to, in pixels, a multiple of the patch. None: the backbone's own.
        rate: learning rate of Adam, > 0 (default 1e-3, the authors').
        batch: auxiliary photos per step, >= 1 (default 8, the authors'); fewer photos than that are one batch.
        epochs: passes over the auxiliary photos, >= 1 (default 15, the authors').

    Raises:
        UsageError: a number or word is out of its range.

    Source: Zhou et al. 2024, section 3 (arXiv 2310.18961); sizes and rates from the authors' released scripts.

    Example:
        >>> import torch
        >>> from diptych.nn.dense.anomaly_states import local_maps, state_losses
        >>> head = torch.eye(2)  # normal and anomalous
        >>> patches = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])]  # one image; the last of four patches is anomalous
        >>> local_maps(patches, head, grid=(2, 2), temperature=0.5)[0, 1].round(decimals=2)
        tensor([[0.1200, 0.1200],
                [0.1200, 0.8800]])
        >>> z = torch.stack([head[1].expand(1, 4, 2), patches], dim=1)  # the image, repeated, then its patches
        >>> mask = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> sorted(state_losses(head, {"z": z, "y": torch.tensor([1]), "mask": mask}, 0.07, 4.0))
        ['image', 'pixels']
    """

    length: int = 12
    deep: int = 4
    depth: int = 9
    layers: tuple[float, ...] = (1.0,)
    stream: Stream = "value"
    temperature: float = 0.07
    local_weight: float = 4.0
    blur: float = 4.0
    class_norm: bool = True
    side: int | None = None
    rate: float = 1e-3
    batch: int = 8
    epochs: int = 15

    def __post_init__(self) -> None:
        check(self, at_least(1), "length", "depth", "batch", "epochs", "side")
        check(self, at_least(0), "local_weight", "blur")
        check(self, above(0), "temperature", "rate")
        check(self, between(0, self.length), "deep")
        check(self, between(0, 1, "(]"), "layers")
        check(self, one_of(*get_args(Stream)), "stream")

    def local_blocks(self, tower: Tower) -> tuple[tuple[int, ...], int]:
        """Return where patches are taken, and where the local stream begins.

        Returns:
            Blocks, from 1, after which patches are taken; and the block, from 0, at which the local stream begins.
        """
        first = tower.depth - max(1, round(LOCAL_SHARE * tower.depth))
        return tuple(max(first, round(share * tower.depth), 1) for share in self.layers), first

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedAnomalyCLIP:
        """Learn the prompts on the auxiliary photos; the last epoch counts.

        Raises:
            MissingHook: the backbone has no image or no text tower.
            MissingEvidence: auxiliary is missing.
            DataError: auxiliary lacks one of the two kinds, a mask of it has another size than its photo, or its
                embeddings would fill more than 4 GiB.
            UnreadableItem: an auxiliary photo or mask cannot be read.
        """
        backbone = kit.need(Backbone)
        backbone.tower("image")
        tower = backbone.tower("text")
        table, labels = known_anomalies(evidence)
        where = slots(backbone, NAMES, self.length)
        width, blocks = where.embeds.shape[2], min(self.depth, tower.depth) - 1
        with run.seeded("anomalyclip"):
            sizes = {"context": (2, self.length, width), "deep": (blocks, self.deep, width)}
            prompts = nn.ParameterDict({name: torch.randn(size) * 0.02 for name, size in sizes.items()})
        prompts.to(where.embeds.device)
        z = self._embedded(backbone, table, run)
        columns = {"label": Column("label", labels)} | {n: c for n, c in table.columns.items() if n == "mask"}
        settings = Fit(
            self.rate, min(self.batch, len(labels)), self.epochs, schedule=Schedule("constant"), optimizer="adam",
            betas=(0.5, 0.999),
            eps=1e-8, decay=0.0,
        )  # fmt: skip

        def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            head = state_head(tower, where, dict(prompts.named_parameters()))
            return state_losses(head, batch, self.temperature, self.local_weight)

        trainee = Step(prompts, view_of(self.side or backbone.spec.pixels.size), loss)
        with frozen(backbone.module()):
            learnt = train_parameters(trainee, Table(Vectors(z, table.items), columns), settings, run)
        return FittedAnomalyCLIP(backbone, learnt, self)

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedAnomalyCLIP:
        """Return the prompts of a released file. The authors' text tower reads the deep tokens in float16."""
        backbone = kit.need(Backbone)
        width = backbone.tower("text").width
        wanted = {"context": torch.zeros(2, self.length, width), "deep": torch.zeros(self.depth - 1, self.deep, width)}
        prompts = check_released(learnt, wanted, f"AnomalyCLIP on {backbone.spec.name}")
        return FittedAnomalyCLIP(backbone, {**prompts, "deep": prompts["deep"].half().float()}, self)

    def _embedded(self, backbone: Backbone, table: Table[Any], run: Run) -> list[Tensor]:
        """Return one (1 + L, n, D) of unit embeddings per image: the whole image's, repeated, then the patches'."""
        stacks: list[Tensor] = []
        masks = table.columns.get("mask")
        with run.track("patches", len(table)) as bar:
            for i in range(len(table)):
                image = table.items[i]
                if masks is not None:  # both become squares, so one of another size would silently mark wrong pixels
                    need_size(table.items.name(i), np.shape(masks.values[i]), (image.height, image.width))
                stacks.append(self.embed_one(backbone, image, run)[0].cpu())
                if stacks[0].numel() * 4 * len(table) > _MOST:
                    raise DataError(
                        f"Patch embeddings of {len(table)} auxiliary photos fill more than 4 GiB: give fewer, or a "
                        f"smaller side."
                    )
                bar.advance()
        return stacks

    def embed_one(self, backbone: Backbone, image: Any, run: Run) -> tuple[Tensor, tuple[int, int]]:
        """Return the (1 + L, n, D) unit embeddings of an image, and the grid of its patches."""
        tower, x = backbone.tower("image"), squashed(image, backbone.spec.pixels, self.side).to(run.device)
        layers, first = self.local_blocks(tower)
        with inference(run):
            whole, patches = patch_streams(tower, x, layers, first, self.stream, class_norm=self.class_norm)
        stride = backbone.dense().strides[-1]
        joined = torch.cat([whole[:, None].expand(-1, patches.shape[2], -1), patches[0]])
        return F.normalize(joined.float(), dim=-1), (x.shape[2] // stride, x.shape[3] // stride)


@dataclass(frozen=True)
class FittedAnomalyCLIP(FittedDetector):
    """Learnt prompts.

    Args:
        backbone: embeds images, patches and prompts.
        prompts: "context" (2, E, C) and "deep" (blocks, M, C).
        method: how images are embedded and compared.
    """

    backbone: Backbone
    prompts: Mapping[str, Tensor]
    method: AnomalyCLIP

    def __post_init__(self) -> None:
        check_names(self.prompts, ("context", "deep"))

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield P_a of each image, in [0, 1], and its blurred map at the pixels of the square."""
        where = slots(self.backbone, NAMES, self.method.length)
        with torch.no_grad():
            head = state_head(
                self.backbone.tower("text"), where, {n: t.to(where.embeds.device) for n, t in self.prompts.items()}
            )
        from scipy import ndimage  # its import adds a warning filter

        side = self.method.side or self.backbone.spec.pixels.size
        for i in range(len(images)):
            image = images[i]
            z, grid = self.method.embed_one(self.backbone, image, run)
            score = (z[0, 0] @ head.to(z).T / self.method.temperature).softmax(-1)[1]
            s = local_maps(z[1:], head.to(z), grid, self.method.temperature)
            local = ((s[:, 1] + 1 - s[:, 0]) / 2).sum(0)
            at_pixels = (
                F.interpolate(local[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
            )
            blurred = ndimage.gaussian_filter(at_pixels, self.method.blur)
            yield Anomaly(float(score), torch.from_numpy(np.ascontiguousarray(blurred)), (image.height, image.width))
