"""DN-CBM discovers concepts in CLIP's embeddings without labels, names them with words, and classifies by few of them.

    f      = relu( W_e (x - b) + b_e )
    name_k = argmax over words w of cos( text(w), column k of W_d )
    logits = W f                              loss = CE(logits, y) + lambda mean |W|
    local  = W_ck f_k of the top class c      global = sum over the images of c of max(W_ck f_k, 0)

Sizes: K classes, m concepts, D dimensions of the embeddings
x: (D,) image embedding, not normalised
f: (m,) strengths of the concepts of an image
W_e, b_e: (m, D) and (m,), encoder of the sparse autoencoder
W_d, b: (D, m) and (D,), its decoder, whose columns are the concepts' directions; see ``nn.sparse_autoencoder``
text(w): (D,) embedding of word w
W: (K, m) linear layer without bias;  lambda: weight of its penalty
local, global: what concept k adds to the decision for one image, and for a class
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    MissingEvidence,
    Reason,
    Run,
    Samples,
    Scores,
    Texts,
    UsageError,
)
from diptych.core.ranges import above, at_least, check, wrong
from diptych.data.evidence import held_out, shots
from diptych.data.words.wordnet import WordNet
from diptych.features.embed import embed
from diptych.features.released_tensors import check_released, named_classes
from diptych.nn.mixing import first_best
from diptych.nn.sparse_autoencoder import Dictionary, SparseAutoencoder, count_for, fit_dictionary, nearest_words, probe

PROBES = ((1e-3, 1.0), (1e-2, 1.0), (1e-2, 0.1), (0.1, 10.0))
"""Pairs (learning rate, lambda) of the linear layer, as published for the authors' data sets."""
SPARSITIES = tuple(10 ** (-8 + i / 2) for i in range(18))
"""Values of the autoencoder's sparsity that are tried: 1e-8 .. 3e0, half a power of ten apart."""
ACTIVE = 50.0
"""Most concepts that an image may show, on average, where the sparsity is chosen."""
TRIED = 20
"""Most epochs after which a sparsity is judged."""


@dataclass(frozen=True)
class DNCBM(Classifier):
    """Discover concepts without labels, name them with words, and classify by few of them.

    Args:
        expansion: m / D, concepts for each dimension, > 0 (default 8, the authors'; 4 is their parser's).
        sparsity: lambda of the autoencoder, >= 0 (theirs for CLIP RN50 is 3e-5). None: the least of 18 values, half a
            power of ten apart, whose dictionary shows at most 50 concepts an image after 20 epochs; no label is read.
        epochs: of the autoencoder, >= 0 (default 200, the authors'); 0 leaves its random start.
        rate: learning rate of its Adam, > 0 (default 5e-4, the authors').
        probe: (learning rate, lambda) of the linear layer. None: chosen on val among the authors' four pairs.
        probe_epochs: of the linear layer, >= 0.
        vocabulary: words for names. (): the common nouns of WordNet that have narrower ones.

    Raises:
        UsageError: a number is out of its range.

    Source: arXiv 2407.14499, sections 3.1 (discovery), 3.2 (naming) and 3.3 (bottleneck).

    Example:
        >>> import torch
        >>> from diptych.core import Run
        >>> from diptych.nn.sparse_autoencoder import count_for, nearest_words, probe
        >>> decoder = torch.eye(3)  # three concepts in three dimensions
        >>> words = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
        >>> nearest_words(decoder, words)[0]  # concepts 0 and 1 share a name
        tensor([0, 0, 1])
        >>> f, y = torch.eye(3), torch.tensor([0, 1, 1])  # three images with one concept each, of two classes
        >>> weight = probe(f, y, classes=2, rate=0.1, weight=0.01, epochs=50, run=Run())
        >>> (f @ weight.T).argmax(dim=1)
        tensor([0, 1, 1])
        >>> count_for(torch.tensor([[5.0, 4.0, 1.0]]), part=0.9)
        tensor([2])
    """

    expansion: float = 8.0
    sparsity: float | None = None
    epochs: int = 200
    rate: float = 5e-4
    probe: tuple[float, float] | None = None
    probe_epochs: int = 200
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self, above(0), "expansion", "rate")
        check(self, at_least(0), "sparsity", "epochs", "probe_epochs")
        if self.probe is not None and not (self.probe[0] > 0 and self.probe[1] >= 0):
            raise wrong(self, "probe", "a rate above 0 and a lambda of at least 0")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedDNCBM:
        """Learn concepts on the unlabelled images, name them, and learn the linear layer on train.

        A missing ``probe`` is the pair with the best val accuracy; of ties the first wins.

        Raises:
            MissingEvidence: unlabelled or train is missing, or val is missing and probe was not given.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        if evidence.unlabelled is None or len(evidence.unlabelled) == 0:
            raise MissingEvidence("DN-CBM finds concepts in images, and {unlabelled} is missing or empty: give some.")
        train, labels = shots(evidence, classes)
        val = held_out(evidence, classes, choosing="probe") if self.probe is None else None

        images = embed(backbone.image, evidence.unlabelled, run)
        settings = self.expansion, self.sparsity, self.epochs, self.rate
        sae = run.once(f"dn-cbm, dictionary {settings}", lambda: self._dictionary(images, run))
        words, cosines = self._named(sae, backbone, run)
        f, y = sae.codes(embed(backbone.image, train.items, run)), torch.tensor(labels)
        pairs = PROBES if self.probe is None else (self.probe,)
        layers = run.once(
            f"dn-cbm, layers {settings}, {self.probe_epochs} epochs, {pairs}",
            lambda: [probe(f, y, len(classes), rate, weight, self.probe_epochs, run) for rate, weight in pairs],
        )
        best = 0
        if val is not None:
            val_codes, y_val = sae.codes(embed(backbone.image, val[0].items, run)), torch.tensor(val[1])
            (best,) = first_best(torch.stack([((val_codes @ w.T).argmax(dim=1) == y_val).sum() for w in layers]))
        return FittedDNCBM(classes, backbone, sae, words, cosines, layers[best])

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedDNCBM:
        """Return a dictionary and a probe of the authors; concepts are named with ``vocabulary`` anew."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        n = backbone.image.dim
        m = len(learnt["encoder_bias"]) if "encoder_bias" in learnt and learnt["encoder_bias"].ndim else 1
        sizes = {"encoder": (m, n), "encoder_bias": (m,), "decoder": (n, m), "bias": (n,), "probe": (len(classes), m)}
        wanted = {name: torch.empty(size, device="meta") for name, size in sizes.items()}
        held = check_released(learnt, wanted, f"DN-CBM on {backbone.spec.name} with {len(classes)} classes")
        sae = SparseAutoencoder(held["encoder"], held["encoder_bias"], held["decoder"], held["bias"])
        words, cosines = self._named(sae, backbone, run)
        return FittedDNCBM(classes, backbone, sae, words, cosines, held["probe"])

    def _named(self, sae: SparseAutoencoder, backbone: Backbone, run: Run) -> tuple[tuple[str, ...], Tensor]:
        """Return the nearest word of each concept, and its cosine."""
        words = self.vocabulary or WordNet.load().general_words()
        nearest, cosines = nearest_words(sae.decoder, normalize(embed(backbone.text, Texts(words), run), dim=-1))
        return tuple(words[i] for i in nearest.tolist()), cosines

    def _dictionary(self, x: Tensor, run: Run) -> SparseAutoencoder:
        units = max(1, round(self.expansion * x.shape[1]))
        settings = Dictionary(units, self.sparsity or 0.0, self.epochs, self.rate)
        if self.sparsity is None and self.epochs:
            settings = replace(settings, sparsity=SPARSITIES[self._least(x, settings, run)])
        return fit_dictionary(x, settings, run, "dn-cbm/dictionary")

    def _least(self, x: Tensor, settings: Dictionary, run: Run) -> int:
        """Return the position of the least sparsity that shows few concepts, found by bisection."""
        low, high = 0, len(SPARSITIES) - 1  # more sparsity shows fewer concepts
        while low < high:
            middle = (low + high) // 2
            tried = replace(settings, sparsity=SPARSITIES[middle], epochs=min(self.epochs, TRIED), resample=0)
            f = fit_dictionary(x, tried, run, "dn-cbm/sparsity").codes(x)
            low, high = (low, middle) if float((f > 0).sum(dim=1).float().mean()) <= ACTIVE else (middle + 1, high)
        return low


@dataclass(frozen=True)
class FittedDNCBM(FittedClassifier):
    """Named concepts and a linear layer on them.

    Args:
        dictionary: the autoencoder of m concepts.
        names: m words, not all different.
        cosines: (m,) cosines of names and directions, which tell how well a name fits.
        weight: (K, m), W.
    """

    classes: ClassNames
    backbone: Backbone
    dictionary: SparseAutoencoder
    names: tuple[str, ...]
    cosines: Tensor
    weight: Tensor

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits."""
        return Scores(self.codes(items, run) @ self.weight.T, "logit")

    def codes(self, items: Samples[Any], run: Run) -> Tensor:
        """Return (N, m) concept strengths."""
        return self.dictionary.codes(embed(self.backbone.image, items, run))

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the concepts for and against each item's top class, the strongest for it first.

        The weights of an item sum to its logit.
        """
        return [self._reasons(share) for share in self.shares(items, run)]

    def shares(self, items: Samples[Any], run: Run) -> Tensor:
        """Return (N, m), what each concept adds to the logit of each item's top class."""
        f = self.codes(items, run)
        return self.weight[(f @ self.weight.T).argmax(dim=1)] * f

    def explain_class(self, k: int, items: Samples[Any], run: Run) -> list[Reason]:
        """Return the concepts for class k on items of it, strongest first: positive shares, summed over the items.

        Raises:
            UsageError: there is no such class.
        """
        if not 0 <= k < len(self.classes):
            raise UsageError(f"k must be a class position in [0, {len(self.classes) - 1}], got {k}: give another.")
        return self._reasons((self.weight[k] * self.codes(items, run)).clamp_min(0.0).sum(dim=0))

    def concepts_needed(self, items: Samples[Any], run: Run, part: float = 0.95, *, absolute: bool = False) -> Tensor:
        """Return how many concepts decide each item: (N,) int64, the largest shares that sum to a part of their total.

        Args:
            items: N images.
            run: batch size, device and cache folder.
            part: part of the total, in (0, 1]; the authors report 0.9, 0.95 and 0.99.
            absolute: count shares against the top class too, by their size. Otherwise only those for it count.

        Raises:
            UsageError: part is not in (0, 1].
        """
        if not 0 < part <= 1:
            raise UsageError(f"part must be in (0, 1], got {part}: give a part of the total such as 0.95.")
        shares = self.shares(items, run)
        return count_for(shares.abs() if absolute else shares.clamp_min(0.0), part)

    def _reasons(self, share: Tensor) -> list[Reason]:
        """Return the concepts of an (m,) share that is not 0, largest first."""
        order = share.argsort(descending=True, stable=True)
        return [Reason(f"{self.names[k]} (concept {k})", float(share[k])) for k in order[share[order] != 0].tolist()]

    def without(self, concepts: tuple[int, ...]) -> FittedDNCBM:
        """Return the classifier that ignores some concepts, an intervention.

        Raises:
            UsageError: there is no such concept.
        """
        if any(not 0 <= k < len(self.names) for k in concepts):
            raise UsageError(f"concepts must be positions in [0, {len(self.names) - 1}], got {concepts}: give others.")
        weight = self.weight.clone()
        weight[:, list(concepts)] = 0.0
        return replace(self, weight=weight)
