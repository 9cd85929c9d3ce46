from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from diptych.core import Run
from recipes import small_maps
from recipes.small_maps import MapsTrainee, main


def test_the_loss_is_small_where_w_is_found() -> None:
    trainee = MapsTrainee(Run())
    z = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    far = trainee.losses({"z": z}, "main", None)  # type: ignore[arg-type]
    assert set(far) == {"code", "squared", "pyramid"}
    with torch.no_grad():
        w = trainee.generator.map(z)[0]
        for name, t in trainee.held.held.items():
            t.zero_()
            if name.endswith("0/last/bias") and name.startswith("heads"):
                t.copy_(w[0] - trainee.generator.weights["latent_avg"])
    near = trainee.losses({"z": z[:1]}, "main", None)  # type: ignore[arg-type]
    assert near["code"].item() < 1e-6
    assert near["squared"].item() < far["squared"].item()


def test_a_short_training_writes_what_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_maps, "judged", partial(small_maps.judged, draws=8))
    main(["--out", str(tmp_path), "--steps", "1"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["squared_difference"]["own"] > facts["one_w"]["own"]
    assert (tmp_path / "small_maps.safetensors").is_file()
