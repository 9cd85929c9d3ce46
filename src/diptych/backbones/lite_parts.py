"""The parts of ``lite``: the two towers from their packages, checked by hash, and the heads that join them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode

from diptych.backbones.lite_files import IMAGE, TEXT, VIEWS, packaged
from diptych.backbones.spec import file_hash
from diptych.core import DataError, NotAvailable

PANELS = (0.4, 0.4, 0.2)
"""Squared weights of the three panels: classes, looks, glosses."""
IMAGE_SHA = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TEXT_SHA = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SCALES: Mapping[str, float] = MappingProxyType(
    {"lite": 23.0, "lite:views": 20.664188385009766, "lite:2026-11": 30.0, "lite:512": 20.9}
)
"""Name -> scale of the logits, the inverse of a temperature fitted on proxies."""
VIEWS_SHA = "72e35536fbf880e77582160cae4436e0556151d58dc9def0f61f6b01e4751776"


class ImageHead(nn.Module):
    """From Lite0's pooled vector to the joint space.

    Args:
        classifier: Lite0's own linear layer, 1280 to 1000.
        glosses: (1000, 384) centred MiniLM vectors of the classes.
        rotation: (2664, D) orthonormal columns, see ``turned``; None: the vectors stay as they are.
    """

    def __init__(self, classifier: nn.Linear, glosses: Tensor, rotation: Tensor | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.glosses: Tensor
        self.register_buffer("glosses", glosses)
        self.rotation: Tensor | None
        self.register_buffer("rotation", rotation)

    def forward(self, f: Tensor) -> Tensor:
        """Return (..., D) joint vectors of (..., 1280) pooled vectors."""
        p = self.classifier(f).softmax(-1)
        return turned(panels(p, f, p @ self.glosses), self.rotation)


class TextHead(nn.Module):
    """From MiniLM's pooled vector to the joint space.

    Args:
        looks: (1000, 1280) rows of Lite0's classifier less their mean.
        middle: (384,) mean of the classes' MiniLM vectors.
        hidden: width of the layer that predicts classes.
        mean: (2664,) unit mean of photos, which is taken out of the vectors of texts; None: nothing is.
        rotation: as in ``ImageHead``.
    """

    def __init__(
        self,
        looks: Tensor,
        middle: Tensor,
        hidden: int,
        mean: Tensor | None = None,
        rotation: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(len(middle), hidden), nn.GELU(), nn.Linear(hidden, len(looks)))
        self.looks: Tensor
        self.middle: Tensor
        self.register_buffer("looks", looks)
        self.register_buffer("middle", middle)
        self.mean: Tensor | None
        self.register_buffer("mean", mean)
        self.rotation: Tensor | None
        self.register_buffer("rotation", rotation)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (..., D) joint vectors of (..., 384) pooled vectors."""
        t = normalize(pooled, dim=-1)
        q = self.mlp(t).softmax(-1)
        joint = panels(q, q @ self.looks, t - self.middle)
        if self.mean is not None:
            joint = normalize(joint - (joint @ self.mean)[..., None] * self.mean, dim=-1)
        return turned(joint, self.rotation)


def panels(classes: Tensor, looks: Tensor, glosses: Tensor) -> Tensor:
    """Return the concatenated weighted unit panels, a unit vector.

    The product of two such vectors is a weighted mean of three cosines.
    """
    parts = zip(PANELS, (classes, looks, glosses), strict=True)
    return torch.cat([weight**0.5 * normalize(part, dim=-1) for weight, part in parts], dim=-1)


def turned(x: Tensor, rotation: Tensor | None) -> Tensor:
    """Return the (..., d) unit vectors of x R for a (D, d) rotation R; x itself where there is none."""
    return x if rotation is None else normalize(x @ rotation, dim=-1)


class LiteModule(nn.Module):
    """All parameters of ``lite``.

    Args:
        image: Lite0 without its classifier.
        text: MiniLM.
        scale: inverse temperature of the cosines.
    """

    def __init__(
        self, image: nn.Module, text: nn.Module, image_head: ImageHead, text_head: TextHead, scale: float
    ) -> None:
        super().__init__()
        self.image, self.text, self.image_head, self.text_head = image, text, image_head, text_head
        self.register_buffer("scale", torch.tensor(scale))


class Unfilled(TorchFunctionMode):
    """Leaves the parameters of modules that are built inside as the memory is, for a file that holds all of them. To
    draw them takes longer than to read the file.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do all but the functions of ``torch.nn.init``, for which transformers puts its own."""
        given = kwargs or {}
        if getattr(func, "__module__", "") in ("torch.nn.init", "transformers.initialization"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def image_tower() -> tuple[nn.Module, nn.Linear]:
    """Return Lite0, which pools to (B, 1280), and its classifier."""
    import timm

    path = packaged(*IMAGE)
    _check(path, IMAGE_SHA)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    with Unfilled():
        trunk: Any = timm.create_model("tf_efficientnet_lite0")
    names = trunk.state_dict()
    trunk.load_state_dict(
        dict(zip(names, saved.values(), strict=True))
    )  # the two libraries name layers differently, in one order
    classifier = trunk.classifier
    trunk.classifier = nn.Identity()
    return trunk.eval(), classifier


def mix_tower(trunk: nn.Module, path: Path, share: float) -> str:
    """Mix the weights of our tower into Lite0, in place, and return what they were: the file's hash, and the share.

    Args:
        trunk: the packaged Lite0.
        path: safetensors file of our tower.
        share: of our weights, in (0, 1]; the rest stays (WiSE-FT, Wortsman et al. 2022).

    Raises:
        NotAvailable: there is no such file.
        DataError: its tensors are not those of Lite0, or it lies where the shipped one does and is another file.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise NotAvailable(f"The image tower of lite is not at {path}: install diptych again, or use lite:2026-11.")
    digest = file_hash(path)
    if path == VIEWS and digest != VIEWS_SHA:
        raise DataError(f"{path} is not the tower that this version ships: install diptych again.")
    saved = {n: t.float() for n, t in load_file(path).items() if n != "scale"}
    packaged = {n: t for n, t in trunk.state_dict().items() if not n.endswith("num_batches_tracked")}
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in packaged.items()}:
        raise DataError(f"{path} does not hold the tensors of Lite0: install diptych again, or use lite:2026-11.")
    with torch.no_grad():
        for name, weight in packaged.items():
            weight.copy_(weight.lerp(saved[name], share))
    return digest if share == 1 else f"{share:g}/{digest}"


def text_tower() -> tuple[nn.Module, Path]:
    """Return MiniLM and the folder of its tokenizer."""
    from transformers import BertConfig, BertModel

    path = packaged(*TEXT)
    _check(path, TEXT_SHA)
    from safetensors.torch import load_file

    config = BertConfig.from_json_file(str(path.parent / "config.json"))
    with Unfilled():
        model: Any = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(
        {k: v for k, v in load_file(path).items() if not k.startswith("pooler.") and "position_ids" not in k}
    )
    return model.eval(), path.parent


def _check(path: Path, sha: str) -> None:
    if not path.is_file():
        raise NotAvailable(f"{path} is missing from its package: install the package again.")
    if file_hash(path) != sha:
        raise DataError(
            f"{path} is not the file that lite's heads were trained on: install the version that diptych names, and "
            f"check the disk."
        )
