"""Frame consistency: how alike consecutive frames of a clip look to an image encoder.

    consistency = mean over t of cos(v_t, v_(t + 1))

v_t: image vector of frame t

Source: Esser et al. 2023 (Gen-1), section 4.2, with CLIP's image encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def frame_consistency(vectors: Tensor) -> float | None:
    """Return the mean cosine of consecutive frames, in [-1, 1]; None of fewer than two frames.

    A still clip has 1, so the number is read beside that of the clip before the edit.

    Args:
        vectors: (T, D), not 0.

    Example:
        >>> import torch
        >>> frame_consistency(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        0.5
    """
    from torch.nn.functional import cosine_similarity

    return None if len(vectors) < 2 else float(cosine_similarity(vectors[:-1], vectors[1:], dim=1).mean())
