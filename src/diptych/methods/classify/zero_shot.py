"""Zero-shot CLIP assigns an image to the class whose name, put into a sentence, has the most similar embedding.

    head_k = normalise( mean over templates of normalise( text(template(name_k)) ) )
    logits = s z head^T + b

Sizes: N images, K classes, D dimensions of the embeddings
head: (K, D) unit class embeddings;  text: the text tower, which returns (D,)
z: (N, D) unit image embeddings
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Classifier, ClassNames, Evidence, FittedClassifier, Kit, Run, Samples, Scores
from diptych.features.embed import embed
from diptych.features.heads import logits, sharpness, text_head


@dataclass(frozen=True)
class ZeroShot(Classifier):
    """Classify with class names alone.

    Args:
        templates: prompts with one "{}" each. None: the templates of the class names.

    Source: Radford et al. 2021, section 3.1.2 (prediction) and 3.1.4 (prompt ensembles in embedding space).

    Example:
        >>> import torch
        >>> from diptych.core import ClassNames
        >>> ClassNames(("cat", "dog"), ("a photo of a {}.", "a drawing of a {}.")).prompts()[0]
        ['a photo of a cat.', 'a drawing of a cat.']
        >>> head, z = torch.eye(2), torch.tensor([[0.8, 0.6]])  # two classes, one image
        >>> (100 * z @ head.T).softmax(dim=1).round(decimals=2)
        tensor([[1., 0.]])
    """

    templates: tuple[str, ...] | None = None

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedZeroShot:
        """Embed the class names; the evidence is not read.

        The ``classes`` of the result hold the templates that were used.

        Raises:
            UsageError: a template does not hold exactly one "{}".
        """
        backbone = kit.need(Backbone)
        prompted = classes if self.templates is None else replace(classes, templates=self.templates)
        return FittedZeroShot(prompted, backbone, text_head(backbone, prompted.prompts(), run))


@dataclass(frozen=True)
class FittedZeroShot(FittedClassifier):
    """A text head on a backbone.

    Args:
        head: (K, D) unit class embeddings.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits: scale times cosine, plus bias; and their factors in shown probabilities, where the
        backbone has some.
        """
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        values = logits(self.backbone, z, self.head)
        return Scores(values, "logit", sharpness=sharpness(self.backbone, z, values))
