"""How much of the trained tower ``lite:views`` takes, and its scale: both are chosen on proxies.

    w = (1 - a) w_published + a w_trained          a in {0, 0.25, 0.4, 0.5, 0.6, 0.75, 1}

The share a with the best mean top-1 over the proxies wins. The scale is the inverse of the temperature that makes the
labels of every second picture likeliest, over all proxies together; the calibration error is measured on the others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.special import softmax
from torch import Tensor, nn

from diptych.backbones.lite import Lite
from diptych.backbones.spec import file_hash
from diptych.metrics.calibration import expected_calibration_error, fit_temperature
from recipes.lite_proxies import Proxy, cosines

SHARES = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0)
State = Mapping[str, Tensor]


def mixed(published: State, trained: State, share: float) -> dict[str, Tensor]:
    """Return the weights between two towers; counts stay those of the published one."""
    return {
        name: old.lerp(trained[name], share) if old.is_floating_point() else old.clone()
        for name, old in published.items()
    }


def choose(
    lite: Lite,
    trained: State,
    looks: Sequence[Proxy],
    texts: Sequence[Tensor],
    out: Path,
    shares: Sequence[float] = SHARES,
) -> dict[str, Any]:
    """Measure every share on the proxies, calibrate the best one, and write it.

    Args:
        lite: the published model.
        trained: state of the trained tower.
        looks: the proxies.
        texts: (K, D) unit text vectors of the classes of each proxy.
        out: safetensors file of the tower (float16; norms and scale in float32).
        shares: candidates.

    Returns:
        Top-1 of each share on each proxy, the share that was taken, scale, calibration errors and the file's hash.
    """
    published, module = lite.module().image.state_dict(), lite.module()
    net = copy.deepcopy(module.image)
    scores: dict[float, list[NDArray[np.float32]]] = {}
    for share in shares:
        net.load_state_dict(mixed(published, trained, share))
        scores[share] = [measured(net, lite, p, t) for p, t in zip(looks, texts, strict=True)]
    top1 = {
        share: {p.name: float((s.argmax(1) == p.labels).mean()) for p, s in zip(looks, accuracies, strict=True)}
        for share, accuracies in scores.items()
    }
    means = {share: float(np.mean(list(accuracies.values()))) for share, accuracies in top1.items()}
    best = max(shares, key=lambda share: means[share])
    scale = fitted_scale(scores[best], [p.labels for p in looks])
    old = float(lite.scale()[0])
    errors = {
        name: {p.name: held_out_error(s, p.labels, value) for p, s in zip(looks, accuracies, strict=True)}
        for name, accuracies, value in (("published", scores[0.0], old), ("mixed", scores[best], scale))
    } if 0.0 in scores else {}  # fmt: skip
    write(mixed(published, trained, best), scale, out)
    return {
        "pictures": {p.name: len(p.labels) for p in looks},
        "classes": {p.name: len(p.classes) for p in looks},
        "top1": {str(share): {**accuracies, "mean": means[share]} for share, accuracies in top1.items()},
        "share": best,
        "scale": scale,
        "calibration_error": {k: {**v, "mean": float(np.mean(list(v.values())))} for k, v in errors.items()},
        "sha256": file_hash(out),
        "bytes": out.stat().st_size,
    }


def measured(net: nn.Module, lite: Lite, proxy: Proxy, texts: Tensor) -> NDArray[np.float32]:
    """Return (N, K) products of image and text vectors at 224 pixels."""
    return cosines(net, lite.module().image_head, proxy.pictures, texts, 224).numpy()


def fitted_scale(scores: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]]) -> float:
    """Return the scale that makes the labels of the even rows of all proxies together likeliest.

    Args:
        scores: (N, K) products of each proxy; K may differ.
        labels: (N,) of each.
    """
    width = max(s.shape[1] for s in scores)
    rows = [np.pad(s[::2], ((0, 0), (0, width - s.shape[1])), constant_values=-np.inf) for s in scores]
    return 1 / fit_temperature(np.concatenate(rows), np.concatenate([y[::2] for y in labels]))


def held_out_error(scores: NDArray[np.float32], labels: NDArray[np.int64], scale: float) -> float:
    """Return the expected calibration error of softmax(scale x scores) on the odd rows."""
    return expected_calibration_error(softmax(scale * scores[1::2].astype(np.float64), axis=1), labels[1::2])


def write(state: State, scale: float, out: Path) -> None:
    """Write a tower: matrices in float16, vectors and the scale in float32, no counts."""
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {n: t for n, t in state.items() if t.is_floating_point()}
    tensors = {n: (t.half() if t.ndim > 1 else t.float()).contiguous() for n, t in kept.items()}
    save_file(tensors | {"scale": torch.tensor(scale)}, out)
