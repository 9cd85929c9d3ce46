"""CLIP2Point turns a CLIP to point clouds: a copy of its image tower learns to see depth images as it sees pictures.

Pre-training, without labels, on B objects with a picture each:

    e_i    = image(x_i)                               the original tower, frozen
    a_i    = depth(D_i),  b_i = depth(D'_i),  m_i = (a_i + b_i) / 2
    cross  = NTXent(m, e),  intra = NTXent(a, b)
    loss   = cross + intra / w^2 + log(w + 1)

Zero-shot: the cosine of text k is that of  v = sum over views of normalise(depth(view)).

Few shots, both towers frozen, an adapter behind each:

    v      = normalise( (A_depth(depth(views)) + A_image(image(views))) / 2 )
    loss   = - sum over clouds of log softmax_k( v . t_k ),   without a scale

x_i: picture of object i;  D_i, D'_i: its depth images, from two distances of the camera that took the picture
depth: copy of the image tower;  w: learnt scalar, 1 at the start
NTXent: contrastive loss of 2B unit vectors, whose negatives are all others, of both kinds
A: ``ViewAdapter``;  t_k: unit embedding of text k
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Extender,
    Kit,
    Row,
    Run,
    Samples,
    Table,
    Texts,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check, one_of, wrong
from diptych.data.evidence import texts_of
from diptych.data.shapes import Camera, Shape, ShapePictures, WithoutPictures
from diptych.features.clips import each_frame, image_head
from diptych.features.depth_views import RADIUS, SIX, CloudEncoder, CloudSpace, EachView, pooled_views
from diptych.features.derived_space import DerivedSpace
from diptych.features.embed import embed
from diptych.features.networks import reached, twin_of
from diptych.features.released_tensors import check_released, frozen_apart, tuned_backbone
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.prompts.soft import frozen
from diptych.nn.spaces.view_adapters import AdaptedClouds, ViewAdapter, dual_path
from diptych.nn.view_losses import nt_xent, weighed
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

RATES: Mapping[str, float] = {"full": 1e-5, "heads": 1e-3}  # of AdamW: ours, since the authors' 6e-3 is for LAMB
DRAWS = 4  # distances at which each object is encoded once, where heads alone are trained


@dataclass(frozen=True)
class CLIP2Point(Extender):
    """Embed point clouds in a space of photos and texts.

    With ``evidence.unlabelled``, ``Shape``s with a picture each, a copy of the image tower is pre-trained; without, the
    original one sees the depth images. With ``evidence.train``, clouds with one text each, two adapters are trained.

    Args:
        tunes: "full" (default): the whole copy. "heads" (ours): the layers after its pooling, on depth images that are
            encoded once, from 4 distances.
        paths: whose adapters are trained: "both" (default), "depth" or "image".
        cameras: V views of a cloud, (elevation, azimuth) in degrees; ``SIX`` (the authors' for zero-shot; theirs for
            few shots are ``features.depth_views.TEN``).
        radius: of a point's disc, > 0, where the image reaches from -1 to 1; 0.02.
        jitter: largest relative change of the camera's distance in pre-training, in [0, 1); 0.1.
        temperature: of NTXent, > 0; 0.07.
        rate: highest learning rate of pre-training, >= 0; None (default): 1e-5 for the tower, 1e-3 for heads.
        epochs: of pre-training, >= 1; 100.
        batch: objects per step of pre-training, >= 2; 256. Fewer objects make one batch.
        adapter_rate: learning rate of the adapters, >= 0; 1e-3.
        adapter_epochs: of the adapters, >= 1; 100.
        adapter_batch: clouds per step, >= 2; 32.
        hidden: width between the layers of an adapter, >= 1; 512.
        dropout: of the adapters, in [0, 1); 0.075.

    Raises:
        UsageError: a number is out of its range.

    Source: Huang et al. 2023, section 3; defaults of the authors' code where nothing else is said.

    Example:
        A loss of two objects that no view tells apart is ln 3, and of two that all views tell apart nearly 0:

        >>> alike, apart = torch.ones(2, 4), torch.eye(2, 4)
        >>> round(nt_xent(alike, alike, 0.07).item(), 4), round(nt_xent(apart, apart, 0.07).item(), 4)
        (1.0986, 0.0)
        >>> adapter = ViewAdapter(views=10, dim=512, hidden=512, dropout=0.075).eval()
        >>> sum(p.numel() for p in adapter.parameters()), adapter(torch.zeros(3, 10, 512)).shape
        (2886666, torch.Size([3, 512]))
    """

    tunes: Literal["full", "heads"] = "full"
    paths: Literal["both", "depth", "image"] = "both"
    cameras: tuple[Camera, ...] = SIX
    radius: float = RADIUS
    jitter: float = 0.1
    temperature: float = 0.07
    rate: float | None = None
    epochs: int = 100
    batch: int = 256
    adapter_rate: float = 1e-3
    adapter_epochs: int = 100
    adapter_batch: int = 32
    hidden: int = 512
    dropout: float = 0.075

    samples = "clouds"
    passes = "adapter_epochs"

    def __post_init__(self) -> None:
        check(self, one_of(*RATES), "tunes")
        check(self, one_of("both", "depth", "image"), "paths")
        check(self, above(0), "radius", "temperature")
        check(self, between(0, 1, "[)"), "jitter", "dropout")
        check(self, at_least(0), "rate", "adapter_rate")
        check(self, at_least(1), "epochs", "adapter_epochs", "hidden")
        check(self, at_least(2), "batch", "adapter_batch")
        if not self.cameras:
            raise wrong(self, "cameras", "at least one pair of angles")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> DerivedSpace:
        """Pre-train on ``evidence.unlabelled`` and train adapters on ``evidence.train``, whichever is given.

        Raises:
            MissingHook: the backbone cannot be rebuilt, or lacks what "heads" needs.
            DataError: an object has no picture or a cloud no text, or there are fewer than 2 of either.
        """
        backbone = kit.need(Backbone)
        space = backbone if evidence.unlabelled is None else self._pretrained(backbone, evidence.unlabelled, run)
        clouds = CloudEncoder(space.image, self.cameras, self.radius)
        if evidence.train is None:
            return CloudSpace(space, self.cameras, self.radius, backbone)
        return self._adapted(backbone, space, clouds, evidence.train, run)

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> DerivedSpace:
        """Return the space of a released file: of the pre-trained tower, or of both towers and their adapters.

        Raises:
            UsageError: the adapters take another number of views than there are ``cameras``.
        """
        backbone = kit.need(Backbone)
        apart = frozen_apart(learnt, backbone, "The released file", needs=lambda name: name.startswith("visual."))
        mine = {name.removeprefix("adapters."): t for name, t in apart.items() if name.startswith("adapters.")}
        towers = {name: t for name, t in apart.items() if not name.startswith("adapters.")}
        system = f"CLIP2Point on {backbone.spec.name}"
        base = tuned_backbone(towers, backbone, system, tunes=lambda name: name.startswith("visual."))
        if not mine:
            return CloudSpace(base, self.cameras, self.radius, backbone)
        views, hidden = (len(mine[n]) if n in mine else 0 for n in ("depth.weights", "depth.between.weight"))
        if views and views != len(self.cameras):
            raise UsageError(
                f"The adapters of the released file take {views} views, and there are {len(self.cameras)} cameras: set "
                f"as many."
            )
        sizes = len(self.cameras), base.image.dim, hidden or self.hidden, self.dropout
        adapters = nn.ModuleDict({name: ViewAdapter(*sizes) for name in ("depth", "image")})
        load_tensors(adapters, check_released(mine, adapters.state_dict(), system))
        adapters.to(next(base.module().parameters()).device).eval().requires_grad_(False)
        return AdaptedClouds(base, backbone, self.cameras, self.radius, adapters, sizes[2])

    def _pretrained(self, backbone: Backbone, shapes: Samples[Shape], run: Run) -> Backbone:
        _several(len(shapes), "objects with a picture")
        pictures = embed(backbone.image, ShapePictures(shapes), run)
        twin = twin_of(backbone)
        device = next(twin.module().parameters()).device
        clouds = CloudEncoder(twin.image, self.cameras, self.radius)
        items: Samples[Any] = shapes
        encode: Callable[[Any], Tensor] = twin.image.encode
        blank = torch.zeros(1, 3, twin.image.size or 224, twin.image.size or 224, device=device)
        if self.tunes == "heads":
            pool, encode = image_head(twin)
            with torch.no_grad():
                blank = pool(blank)
            distances = torch.linspace(1 - self.jitter, 1 + self.jitter, DRAWS).tolist()
            draws = EachView(
                clouds, pool, blank.shape[1], f"pooled {self.jitter}",
                lambda shape: [(shape.camera, d) for d in distances], DRAWS,
            )  # fmt: skip
            bare = WithoutPictures(shapes)
            items = Vectors(embed(draws, bare, run).reshape(len(shapes), DRAWS, -1), bare)

        def views(row: Row, g: torch.Generator) -> Mapping[str, Any]:
            if self.tunes == "heads":
                pair = row.item[torch.randperm(DRAWS, generator=g)[:2]]
            else:
                near = 1 + self.jitter * (2 * torch.rand(2, generator=g) - 1)
                pair = clouds.rendered(row.item, [(row.item.camera, float(d)) for d in near])
            return {"pair": pair, "picture": torch.as_tensor(row.columns["vector"])}

        named = dict(twin.module().named_parameters())
        learning = reached(twin.module(), lambda: encode(blank))
        # A ParameterDict allows no dots in its names; the towers stay in eval mode, so that no running mean changes.
        module = nn.ParameterDict({name.replace(".", "/"): named[name] for name in learning})
        module["w"] = nn.Parameter(torch.ones((), device=device))

        def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
            a, b = each_frame(encode, batch["pair"]).float().unbind(1)
            cross = nt_xent((a + b) / 2, batch["picture"].to(a), self.temperature)
            return {"pairs": weighed(cross, nt_xent(a, b, self.temperature), module["w"])}

        settings = Fit(
            RATES[self.tunes] if self.rate is None else self.rate, min(self.batch, len(shapes)), self.epochs,
            decay=1e-4, schedule=Schedule(floor=0.01),
        )  # fmt: skip
        data = Table(items, {"vector": Column("vector", pictures.numpy())})
        with frozen(twin.module()):
            train_parameters(Step(module, views, loss), data, settings, run, ())
        tuned = backbone.rebuild(twin.module(), backbone.spec)
        assert isinstance(tuned, Backbone)
        return tuned

    def _adapted(
        self, backbone: Backbone, space: Backbone, clouds: CloudEncoder, train: Table[Any], run: Run
    ) -> DerivedSpace:
        table, texts, labels = texts_of(train)
        _several(len(table), "clouds with a text")
        w = normalize(embed(space.text, Texts(texts), run), dim=-1)
        views, dim = len(self.cameras), clouds.dim
        outputs = self._views(backbone, (space, backbone), table.items, run)
        names = ("depth", "image") if self.paths == "both" else (self.paths,)
        with run.seeded("clip2point"):
            adapters = nn.ModuleDict({name: ViewAdapter(views, dim, self.hidden, self.dropout) for name in names})
        w = w.to(next(space.module().parameters()).device)

        def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
            v = dual_path(adapters, *batch["views"].unbind(1))
            return {"classes": cross_entropy(normalize(v, dim=-1) @ w.T, batch["label"])}

        step = Step(adapters, lambda row, g: {"views": row.item, "label": int(row.columns["label"])}, loss)
        settings = Fit(
            self.adapter_rate, min(self.adapter_batch, len(table)), self.adapter_epochs, betas=(0.9, 0.999), decay=1e-4
        )
        data = Table(Vectors(outputs, table.items), {"label": Column("label", labels)})
        train_parameters(step, data, settings, run, ())
        adapters.eval().requires_grad_(False)
        return AdaptedClouds(space, backbone, self.cameras, self.radius, adapters, self.hidden)

    def _views(self, backbone: Backbone, spaces: Sequence[Backbone], items: Samples[Any], run: Run) -> Tensor:
        """Return the (N, S, V, D) outputs of S image encoders; heads share what stands before them."""
        if self.tunes == "heads":
            pooled = pooled_views(backbone, self.cameras, self.radius, items, run)
            with torch.no_grad():
                return torch.stack([image_head(space)[1](pooled).float().cpu() for space in spaces], 1)
        clouds = [CloudEncoder(space.image, self.cameras, self.radius) for space in spaces]
        outputs = [embed(EachView(c, c.image.encode, c.dim, "views"), items, run) for c in clouds]
        return torch.stack(outputs, 1).reshape(len(items), len(spaces), len(self.cameras), -1)


def _several(count: int, what: str) -> None:
    if count < 2:
        raise DataError(f"CLIP2Point learns from at least 2 {what}, got {count}: give more.")
