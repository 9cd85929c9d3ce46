"""A space without texts that names classes by a linear head on its vectors.

logits = W z + b,   z: unit vector of a sample;  W, b: multinomial logistic regression on labelled samples
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import DataError, Encoder, Parts, Run, Space, Spec, Table
from diptych.features.derived_space import LabelledSpace, restored
from diptych.features.embed import embed
from diptych.nn.logistic import logistic_path

INVERSE_PENALTY = 10.0
"""scikit-learn's C of the head."""


class HeadedSpace(LabelledSpace):
    """A space with a head of K classes on one of its encoders.

    Args:
        base: the space, which stays as it is.
        labelled: key of the encoder.
        head: from D to K, in eval mode.
    """

    def __init__(self, base: Space, labelled: str, head: nn.Linear) -> None:
        self.base, self.labelled, self.head = base, labelled, head

    @classmethod
    def fit(cls, base: Space, labelled: str, table: Table[Any], classes: int, run: Run) -> HeadedSpace:
        """Fit the head on samples with a column "label"."""
        z = normalize(embed(base.encoders[labelled], table.items, run), dim=-1)
        ((weight, bias),) = logistic_path(z, torch.from_numpy(table.labels()), classes, (INVERSE_PENALTY,))
        head = nn.Linear(z.shape[1], classes, device="meta")
        head.load_state_dict({"weight": weight.float(), "bias": bias.float()}, assign=True)
        return cls(base, labelled, head.eval().requires_grad_(False))

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """The encoders of the space."""
        return self.base.encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """Softmax, over the logits of the head."""
        return "softmax"

    @property
    def spec(self) -> Spec:
        """The specification of the space, whose name has a suffix."""
        return replace(self.base.spec, name=f"{self.base.spec.name}+labels")

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias) of two modalities of the space."""
        return self.base.scale(a, b)

    def module(self) -> nn.Module:
        """Return the module of the space and the head."""
        return nn.ModuleDict({"base": self.base.module(), "head": self.head}).eval()

    def class_logits(self, vectors: Tensor) -> Tensor:
        """Return the (N, K) logits for (N, D) vectors of the encoder, not normalised."""
        logits: Tensor = self.head(normalize(vectors, dim=-1))
        return logits

    def parts(self) -> Parts:
        """Return the encoder's key and the head."""
        tensors = {f"own/{name}": tensor for name, tensor in self.head.state_dict().items()}
        return Parts(self.base, {"labelled": self.labelled, "classes": self.head.out_features}, tensors)

    @classmethod
    def of_parts(cls, parts: Parts) -> HeadedSpace:
        """Return the space of these parts."""
        base, labelled = parts.base, str(parts.settings["labelled"])
        if base is None or labelled not in base.encoders:
            raise DataError("This head stands on a space that is missing: fit it again.")
        dim, classes = base.encoders[labelled].dim, int(parts.settings["classes"])
        return cls(base, labelled, restored(lambda: nn.Linear(dim, classes), parts))
