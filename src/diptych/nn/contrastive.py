"""Losses over pairs and over next tokens, whole or in blocks that never hold all logits at once.

Both ways give the same value and gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from diptych.core import Embedded, Ring

_NO_ROW = -100
"""Target of rows that do not count, for ``cross_entropy``."""


def wide(x: Tensor) -> Tensor:
    """Return half precision as float32, in which exponentials of scaled logits neither overflow nor lose digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def cosines(x: Tensor, y: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Return scale x y^T, (B, N) in float32 or float64, also where autocast multiplies matrices in half precision.

    Args:
        x: (B, D) unit embeddings.
        y: (N, D) unit embeddings.
        scale: scalar.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     cosines(torch.eye(2), torch.eye(2), 100.001)[0, 0].item() > 100
        True
    """
    with torch.autocast(x.device.type, enabled=False):
        return scale * wide(x) @ wide(y).T


def softmax_pairs(
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    first: int = 0,
    chunk: int | None = None,
    *,
    seen: Tensor | None = None,
    rows: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the mean cross-entropy of B rows that must each pick their partner among N columns.

        l = mean over b of [ logsumexp over j of (scale x_b . y_j) - scale x_b . y_(first + b) ],  in nats

    A bias added to all logits would change nothing, so there is none.

    Args:
        x: (B, D) unit embeddings of this process.
        y: (N, D) unit embeddings of all processes, N >= first + B.
        scale: scalar, inverse temperature.
        first: column of the first row's partner.
        chunk: rows per block. Memory grows with chunk x N instead of B x N, and the forward pass runs twice. None: one
            block.
        seen: (B, N) bool, False for columns that are no negatives of a row, such as padding or texts that are equal to
            its own; its partner counts in any case. None: all.
        rows: (B,) bool, False for rows that do not count, such as padding; None: all. Without any the loss is 0.
        smoothing: share of the target that all N columns have in equal parts, in [0, 1); 0 beside ``seen``, since a
            hidden column has no finite logarithm.

    Returns:
        Scalar in float32 or float64.

    Source: Radford et al. 2021, figure 3 (one direction).

    Example:
        >>> import torch
        >>> alike = torch.ones(4, 1)  # embeddings that tell nothing apart: the loss is ln 4
        >>> softmax_pairs(alike, alike, torch.tensor(10.0))
        tensor(1.3863)
    """
    x, y, scale = wide(x), wide(y), wide(scale)
    partner = torch.arange(first, first + len(x), device=x.device)

    hides = seen is not None  # whether it hides any is not asked: the answer would wait for the device
    if seen is None:
        seen = torch.ones(1, 1, dtype=torch.bool, device=x.device)
    if rows is not None:
        partner = partner.masked_fill(~rows, _NO_ROW)
    count = len(x) if rows is None else rows.sum().clamp(min=1)

    def block(part: Tensor, columns: Tensor, s: Tensor, target: Tensor, visible: Tensor) -> Tensor:
        logits = (s * part) @ columns.T  # one (B, N) tensor; s * (x y^T) would be two
        if hides:
            positive = F.one_hot(target.clamp(min=0), logits.shape[1]).bool()
            logits = logits.masked_fill(~(visible | positive), float("-inf"))
        return F.cross_entropy(logits, target, ignore_index=_NO_ROW, reduction="sum", label_smoothing=smoothing)

    with torch.autocast(x.device.type, enabled=False):
        parts = _parts(seen.expand(len(x), -1), chunk)
        blocks = zip(_parts(x, chunk), _parts(partner, chunk), parts, strict=True)
        return _summed(block, [(part, y, scale, target, visible) for part, target, visible in blocks], chunk) / count


def contrastive(e: Embedded, pair: tuple[str, str], chunk: int | None = None, smoothing: float = 0.0) -> Tensor:
    """Return CLIP's loss of two modalities, the mean of ``softmax_pairs`` in both directions.

    The columns are those of all processes.

    Args:
        e: (B, D) vectors of both modalities, and their scale.
        pair: the two modalities.
        chunk: rows per block, as in ``softmax_pairs``.
        smoothing: as in ``softmax_pairs``.

    Returns:
        Scalar in nats; ln N for a model that tells nothing apart.
    """
    x, y = (normalize(wide(e.vectors[m]), dim=-1) for m in pair)
    scale, first = e.scale(*pair)[0], e.rank * len(x)
    columns = e.gather(y)
    if chunk is None and len(columns) == len(x):
        # One process: the logits of one direction are those of the other, transposed.
        return _both_ways(x, y, wide(scale), smoothing)
    there = softmax_pairs(x, columns, scale, first, chunk, smoothing=smoothing)
    return (there + softmax_pairs(y, e.gather(x), scale, first, chunk, smoothing=smoothing)) / 2


def _both_ways(x: Tensor, y: Tensor, scale: Tensor, smoothing: float) -> Tensor:
    """Return the mean of ``softmax_pairs`` in both directions of (B, D) and (B, D) unit embeddings, by one product."""
    partner = torch.arange(len(x), device=x.device)
    with torch.autocast(x.device.type, enabled=False):
        logits = scale * (x @ y.T)
        both = [F.cross_entropy(k, partner, label_smoothing=smoothing) for k in (logits, logits.T)]
        return (both[0] + both[1]) / 2


def sigmoid_pairs(
    x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, first: int = 0, chunk: int | None = None
) -> Tensor:
    """Return the sum of B x N yes/no losses, divided by the number of rows.

        l = 1/B sum over b of [ sum over j of softplus(k_bj) - k_b(first + b) ],   k_bj = scale x_b . y_j + bias

    since softplus(-k) = softplus(k) - k.

    Args:
        x: (B, D) unit embeddings of this process.
        y: (N, D) unit embeddings of all processes, N >= first + B.
        scale: scalar.
        bias: scalar.
        first: column of the first row's partner.
        chunk: rows per block, as in ``softmax_pairs``.

    Returns:
        Scalar in float32 or float64.

    Source: Zhai et al. 2023, in the form of open_clip's SigLipLoss.
    """
    x, y, scale, bias = wide(x), wide(y), wide(scale), wide(bias)

    def block(rows: Tensor, partners: Tensor, columns: Tensor, s: Tensor, b: Tensor) -> Tensor:
        return F.softplus((s * rows) @ columns.T + b).sum() - (s * (rows * partners).sum(1) + b).sum()

    with torch.autocast(x.device.type, enabled=False):
        blocks = zip(_parts(x, chunk), _parts(y[first : first + len(x)], chunk), strict=True)
        return _summed(block, [(rows, partners, y, scale, bias) for rows, partners in blocks], chunk) / len(x)


def sigmoid_ring(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, ring: Ring, chunk: int | None = None) -> Tensor:
    """Return the loss of ``sigmoid_pairs`` where the columns of the other processes go round, and are never gathered.

    Memory grows with B x D and, without a chunk, B x B.

    Args:
        x: (B, D) unit embeddings of this process.
        y: (B, D) unit embeddings of their partners.
        scale: scalar.
        bias: scalar.
        ring: sums over the processes, see ``train.ring.ring``.
        chunk: rows per block, as in ``softmax_pairs``.

    Returns:
        Scalar in float32 or float64.

    Source: Zhai et al. 2023, section 3.3.
    """
    x, y, scale, bias = wide(x), wide(y), wide(scale), wide(bias)

    def negatives(part: Tensor, columns: Tensor, s: Tensor, b: Tensor) -> Tensor:
        return F.softplus((s * part) @ columns.T + b).sum()

    def block(columns: Tensor, rows: Tensor, s: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            return _summed(negatives, [(part, columns, s, b) for part in _parts(rows, chunk)], chunk)

    with torch.autocast(x.device.type, enabled=False):
        return (ring(block, y, (x, scale, bias)) - (scale * (x * y).sum(1) + bias).sum()) / len(x)


def next_token(
    h: Tensor, output: Callable[[Tensor], Tensor], targets: Tensor, pad: int, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of the tokens that are not padding, and their number.

    Args:
        h: (B, L, C) states of a decoder, already shifted: state l predicts target l.
        output: (M, C) -> (M, V), the output layer; the identity if ``h`` holds logits.
        targets: (B, L) int64 token ids.
        pad: id that is not predicted.
        chunk: tokens per block: V is large, and only chunk x V logits exist at once. None: one block.

    Returns:
        Two scalars: sum in nats, and count in its type.

    Source: Yu et al. 2022 (captioning loss), in the form of open_clip's CoCaLoss.
    """

    def block(states: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(wide(output(states)), target, ignore_index=pad, reduction="sum")

    blocks = zip(_parts(h.flatten(0, 1), chunk), _parts(targets.flatten(), chunk), strict=True)
    total = _summed(block, list(blocks), chunk)
    return total, (targets != pad).sum().to(total)


def _parts(x: Tensor, chunk: int | None) -> tuple[Tensor, ...]:
    return torch.split(x, chunk) if chunk else (x,)


def _summed(block: Callable[..., Tensor], inputs: list[tuple[Tensor, ...]], chunk: int | None) -> Tensor:
    """Return the sum of the blocks; with a chunk, each is computed again in the backward pass and not stored."""
    if not chunk:
        return block(*inputs[0])
    parts: list[Tensor] = [checkpoint(block, *i, use_reentrant=False, preserve_rng_state=False) for i in inputs]
    return torch.stack(parts).sum()


def supervised_contrastive(
    z: Tensor, labels: Tensor, temperature: float, columns: Tensor, column_labels: Tensor, first: int = 0
) -> Tensor:
    """Return SupCon's loss, the mean of l_i over the rows that have a positive, in nats; 0 if no row has one.

    The rows of all processes count alike: where one has more rows with a positive, its loss is as much larger, so that
    the mean over the processes is that of all rows.

        l_i = -1/|P(i)| sum over p in P(i) of  log( exp(z_i . z_p / tau) / sum over k != i of exp(z_i . z_k / tau) )

    P(i) are the other columns with the label of row i.

    Args:
        z: (B, D) unit embeddings of this process.
        labels: (B,) entities.
        temperature: tau, > 0.
        columns: (N, D) unit embeddings of all processes.
        column_labels: (N,) entities of the columns.
        first: column of the first row.

    Source: Khosla et al. 2020, equation 2 (L_out).
    """
    with torch.autocast(z.device.type, enabled=False):
        itself = torch.zeros(len(z), len(columns), dtype=torch.bool, device=z.device)
        itself[torch.arange(len(z)), torch.arange(first, first + len(z))] = True
        logits = (wide(z) @ wide(columns).T / temperature).masked_fill(itself, -torch.inf)
        positive = (labels[:, None] == column_labels[None]) & ~itself
        log_p = (logits - logits.logsumexp(1, keepdim=True)).masked_fill(~positive, 0.0)
        each = -log_p.sum(1) / positive.sum(1).clamp(min=1)
        sizes: Tensor = column_labels.unique(return_counts=True)[1]  # type: ignore[no-untyped-call]
        return each.sum() * (len(columns) / max(1, len(z))) / sizes[sizes > 1].sum().clamp(min=1)


def caption_contrast(q: Tensor, d: Tensor, n: Tensor, scale: float, first: int = 0) -> Tensor:
    """Return the loss of stage 1.

    Args:
        q: (B, C) unit vectors of captions.
        d: (M, C) unit vectors of other captions of the same images, those of this process from row ``first`` on.
        n: (M, C) unit vectors of captions of other images.
        scale: s.
        first: row of the first image of this process.

    Source: Huang et al. 2024, section 3.1; the loss of LLM2Vec's supervised training.

    Example:
        >>> same = torch.ones(2, 1)  # four equal columns: ln 4
        >>> round(caption_contrast(same, same, same, 50.0).item(), 4)
        1.3863
    """
    return softmax_pairs(q, torch.cat([d, n]), torch.tensor(scale).to(q), first)
