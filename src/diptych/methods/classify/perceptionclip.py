"""PerceptionCLIP infers the context of a photo (background, quality, ...), then classifies it as seen in that context.

    prompt(y, t) = main(y) + ", " + t + "."
    u_yz         = normalise( mean over t of normalise(text(prompt(y, t))) )
    f(y, z)      = s x . u_yz + b
    P(z | x)     = softmax over z of  log sum over y exp( f(y, z) / tau )          "with class"
                 = softmax over z of  g(z) / tau                                   "without class"
    P(y | x)     = sum over z of  P(z | x)  softmax over y of f(y, z)

Sizes: K classes, Z contexts, D dimensions of the embeddings
y: class;  z: context, a value for each attribute;  main(y): a sentence of the class
t: a phrasing of context z; a value without words adds nothing, and its prompt ends after main(y)
x: (D,) unit image embedding
u_yz: (D,) unit embedding of class y in context z
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
f: (K, Z) logits of class and context;  g: (Z,) the same for a generic word instead of the class
tau: temperature of the contexts; the classes within a context have none
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Classifier, ClassNames, Evidence, FittedClassifier, Kit, Reason, Run, Samples, Scores
from diptych.core.ranges import above, check, one_of, wrong
from diptych.data.words.contexts import Composite, Contexts, read_contexts
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.nn.mixing import CELLS

Infer = Literal["with class", "without class"]
"""How the context is inferred: summed over the classes, or with a generic word."""


def prompts(main: str, name: str, context: Composite) -> list[str]:
    """Return the sentences of a class in a context, one a phrasing.

    Args:
        main: sentence with one "{}".
        name: of the class.
        context: with its phrasings.
    """
    filled = main.replace("{}", name)
    return [f"{filled}, {text}." if text else f"{filled}." for text in context.texts]


def context_posterior(f: Tensor, g: Tensor | None, tau: float) -> Tensor:
    """Return log P(z | x), (N, Z).

    Args:
        f: (N, K, Z) logits of class and context.
        g: (N, Z) logits of the generic word in each context. None: sum over the classes.
        tau: temperature, > 0; inf gives the uniform posterior.
    """
    return ((f / tau).logsumexp(dim=1) if g is None else g / tau).log_softmax(dim=1)


def joint(f: Tensor, posterior: Tensor) -> Tensor:
    """Return log [ P(z | x) P(y | x, z) ], (N, K, Z).

    Args:
        f: (N, K, Z) logits of class and context.
        posterior: (N, Z) log P(z | x).
    """
    return posterior[:, None, :] + f.log_softmax(dim=1)


@dataclass(frozen=True)
class PerceptionCLIP(Classifier):
    """Infer the context of a photo with CLIP itself, and mix the class posteriors of all contexts.

    Args:
        factors: attributes that make a context (default the paper's smallest composite for ImageNet, 36 contexts).
        contexts: attributes with their phrasings: a ``Contexts``, a table that ships ("general", ImageNet's eleven
            factors; "waterbirds"), or a JSON file.
        infer: "with class" (the paper's default) sums over the classes; "without class" asks with a generic word.
        temperature: tau of the contexts' posterior, > 0 (default 1, the paper's); inf weighs all contexts alike.
        main: sentence of the class, with one "{}" and no full stop.
        generic: word that stands for the class in "without class".

    Raises:
        UsageError: infer is unknown, temperature is not above 0, or main has no "{}", several, or a full stop.

    Source: arXiv 2308.01313: two-step inference of contextual attributes and class, in its two forms.

    Example:
        >>> import torch
        >>> from diptych.methods.classify.perceptionclip import context_posterior, joint
        >>> f = torch.tensor([[[4.0, 0.0], [1.0, 1.0]]])  # one image, two classes, two contexts
        >>> posterior = context_posterior(f, g=None, tau=1.0)
        >>> posterior.exp().round(decimals=2)  # the first context fits better
        tensor([[0.9400, 0.0600]])
        >>> joint(f, posterior).exp().sum(dim=2).round(decimals=2)  # P(y | x)
        tensor([[0.9100, 0.0900]])
    """

    factors: tuple[str, ...] = ("quality", "condition")
    contexts: Contexts | str = "general"
    infer: Infer = "with class"
    temperature: float = 1.0
    main: str = "a photo of a {}"
    generic: str = "object"

    def __post_init__(self) -> None:
        check(self, above(0), "temperature")
        check(self, one_of("with class", "without class"), "infer")
        if self.main.count("{}") != 1 or self.main.rstrip().endswith("."):
            raise wrong(self, "main", "a sentence with one '{}' and no full stop, since the context follows it")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedPerceptionCLIP:
        """Embed every class in every context.

        The ``classes`` of the result hold the main sentence as their template.

        Raises:
            UsageError: an unknown factor, or a file of contexts that does not exist.
            DataError: a file of contexts that cannot be read as one.
        """
        backbone = kit.need(Backbone)
        table = read_contexts(self.contexts) if isinstance(self.contexts, str) else self.contexts
        contexts = table.composites(self.factors)
        templated = replace(classes, templates=(f"{self.main}.",))
        head = text_head(backbone, [prompts(self.main, name, z) for name in classes for z in contexts], run)
        generic = None
        if self.infer == "without class":
            generic = text_head(backbone, [prompts(self.main, self.generic, z) for z in contexts], run)
        values = tuple(z.values for z in contexts)
        return FittedPerceptionCLIP(templated, backbone, head, generic, self.factors, values, self.temperature)


@dataclass(frozen=True)
class FittedPerceptionCLIP(FittedClassifier):
    """K classes in Z contexts.

    Args:
        classes: K names and the template that is the main sentence.
        head: (K * Z, D) unit vectors, the contexts of a class side by side.
        generic: (Z, D) unit vectors of the generic word. None: contexts are inferred with the classes.
        factors: names of the attributes.
        values: Z contexts, each with one value a factor.
        temperature: tau.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    generic: Tensor | None
    factors: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    temperature: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) log P(y | x)."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        rows = max(1, CELLS // len(self.head))
        return Scores(torch.cat([self.joint(part).logsumexp(dim=2) for part in torch.split(z, rows)]), "log_prob")

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the attributes of each item's top class, strongest first.

        The weight of "background: urban" is what the contexts with that value add to P(y | x). The values of a factor
        sum to P(y | x).
        """
        reasons = []
        for z in normalize(embed(self.backbone.image, items, run), dim=-1):
            shares = self.joint(z[None])[0].exp()
            row = shares[int(shares.sum(dim=1).argmax())].tolist()
            weights: dict[str, float] = {}
            for values, weight in zip(self.values, row, strict=True):
                for factor, value in zip(self.factors, values, strict=True):
                    weights[f"{factor}: {value}"] = weights.get(f"{factor}: {value}", 0.0) + weight
            reasons.append(
                [Reason(text, weight) for text, weight in sorted(weights.items(), key=lambda pair: -pair[1])]
            )
        return reasons

    def contexts(self, items: Samples[Any], run: Run) -> Tensor:
        """Return (N, Z) P(z | x), in the order of ``values``."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        rows = max(1, CELLS // len(self.head))
        return torch.cat([self._posterior(self._logits(part), part) for part in torch.split(z, rows)]).exp()

    def joint(self, z: Tensor) -> Tensor:
        """Return (N, K, Z) log [ P(z | x) P(y | x, z) ] of (N, D) unit embeddings."""
        f = self._logits(z)
        return joint(f, self._posterior(f, z))

    def _logits(self, z: Tensor) -> Tensor:
        return torch.unflatten(logits(self.backbone, z, self.head), 1, (len(self.classes), len(self.values)))

    def _posterior(self, f: Tensor, z: Tensor) -> Tensor:
        generic = None if self.generic is None else logits(self.backbone, z, self.generic)
        return context_posterior(f, generic, self.temperature)
