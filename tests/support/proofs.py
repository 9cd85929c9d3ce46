from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diptych.core import Backbone, Run
from proofs.trial import Opener, Trial


def judged(
    trial: Trial, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int], bench: Opener | None = None
) -> dict[str, Any]:
    """Measure a trial on one data set; ``bench`` opens it where the trial says nothing."""
    opener = trial.bench or bench
    assert opener is not None
    return trial.judge(slug, name, opener(name, backbone, run, tuple(seeds)))
