"""Names and configurations; the pictures are compared in tests/contract/test_pipeline_parity.py."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.backbones.diffusion.pipelines import PipelineDiffusion
from diptych.backbones.diffusion.schedulers import (
    FLOW_SCHEDULERS,
    SCHEDULERS,
    check_scheduler,
    scheduler_for,
    scheduler_of,
)
from diptych.core import DataError, UsageError
from tests.backbones.diffusion.test_pipeline_folders import small_pipeline


def test_names_are_checked() -> None:
    for name in ("ddim", *SCHEDULERS):
        check_scheduler(name)
        check_scheduler(name, flow=False)
        with pytest.raises(UsageError, match=rf"scheduler {re.escape(name)} is for denoisers that predict noise"):
            check_scheduler(name, flow=True)
    for name in FLOW_SCHEDULERS:
        check_scheduler(name)
        check_scheduler(name, flow=True)
        with pytest.raises(UsageError, match=f"scheduler {name} is for denoisers of flow matching"):
            check_scheduler(name, flow=False)
    with pytest.raises(UsageError, match=r"scheduler must be ddim, euler, .* euler-flow or heun-flow, got 'heun'"):
        check_scheduler("heun")


@pytest.mark.filterwarnings("ignore")
def test_they_are_configured_as_the_folder_s_own(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    small_pipeline("sd2").save_pretrained(tmp_path)
    pipeline = load_pipeline(tmp_path)
    for name in ("ddim", *SCHEDULERS):
        config = scheduler_of(name, pipeline).config
        assert (config.prediction_type, config.beta_end, config.steps_offset) == ("v_prediction", 0.012, 1)
    assert (scheduler_for(pipeline), scheduler_for(pipeline, "euler")) == ("ddim", "euler")
    with pytest.raises(UsageError, match="this one predicts noise"):
        scheduler_for(pipeline, "euler-flow")
    assert isinstance(pipeline, PipelineDiffusion)
    odd = replace(pipeline, scheduler={**pipeline.scheduler, "beta_schedule": "none such"})
    with pytest.raises(DataError, match="cannot be configured as that of"):
        scheduler_of("euler", odd)
