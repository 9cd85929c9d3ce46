"""An artefact in the place of the proved fit: the same numbers, or a refusal with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import diptych
from diptych import catalog
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import Arm
from diptych.features import artefacts, portable
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.segment.maskclip import MaskCLIP
from proofs import loaded
from proofs.prove import prove
from proofs.rerun import rerun
from proofs.segment import TRIALS
from proofs.trial import Claim, Trial
from tests.support.colours import ColourBackbone, colour_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_folder(tmp_path_factory.mktemp("proof") / "colours", {"train": 20, "test": 12})


def kept(folder: Path, system: ZeroShot, backbone: ColourBackbone, photos: Path) -> Path:
    names = ClassNames(tuple(sorted(path.name for path in (photos / "train").iterdir())), tuple(ENSEMBLE))
    artefacts.save(system.fit(Kit.of(backbone), names, Evidence(), Run()), folder, system)
    return folder


def test_an_artefact_is_measured_in_the_place_of_the_fit(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, system = ColourBackbone(), catalog.row(ZeroShot, "ensemble")
    folder = kept(tmp_path / "words", system, backbone, photos)
    fitted = prove("zero-shot", backbone, Run(), datasets=[str(photos)])
    artefact = prove("zero-shot", backbone, Run(), datasets=[str(photos)], fitted=folder)
    assert artefact.datasets[0]["claims"] == fitted.datasets[0]["claims"]
    assert artefact.datasets[0]["controls"] == fitted.datasets[0]["controls"], "the control is fitted all the same"
    assert (artefact.shown, "fitted" in fitted.facts) == (fitted.shown, False)
    data = json.loads(json.dumps(artefact.as_dict(), allow_nan=False))
    assert data["fitted"]["sha256"] == portable.checksum(folder)
    assert data["fitted"]["system"] == repr(system)
    monkeypatch.setattr(
        "proofs.loaded.read",
        lambda *given, of=loaded.read: replace(of(*given), sha256="0" * 64),
    )
    with pytest.raises(DataError, match="words does not hold what was measured"):
        rerun(data, backbone, Run())
    monkeypatch.undo()
    assert not rerun(data, backbone, Run()).differing


def test_what_needs_several_trainings_or_draws_is_refused(photos: Path, tmp_path: Path) -> None:
    backbone = ColourBackbone()
    folder = kept(tmp_path / "words", catalog.row(ZeroShot, "single"), backbone, photos)
    with pytest.raises(UsageError, match="words was fitted with other settings than the proof of zero-shot has"):
        prove("zero-shot", backbone, Run(), datasets=[str(photos)], fitted=folder)
    with pytest.raises(UsageError, match="words holds what zero-shot fitted, and the proof is of gda"):
        prove("gda", backbone, Run(), datasets=[str(photos)], fitted=folder)
    diptych.systems.GDA(alpha=1.0).fit(backbone, photos / "train").save(tmp_path / "gda")
    with pytest.raises(UsageError, match=r"fits on 16 items per class that each seed draws anew, and .*gda is one fit"):
        prove("gda", backbone, Run(), datasets=[str(photos)], fitted=tmp_path / "gda")
    about = loaded.stated(tmp_path / "gda")
    trained = SimpleNamespace(slug="gda", seeded=True, draws="the start of its weights", verb="classify")
    card: Any = trained
    with pytest.raises(
        UsageError, match="a training for each of its seeds, which decide the start of its weights, and"
    ):
        loaded.check("gda", card, Trial((Claim("chance"),)), tmp_path / "gda")
    assert about.slug == "gda"
    named = json.loads((tmp_path / "gda/model.json").read_text())
    (tmp_path / "gda/model.json").write_text(json.dumps(named | {"system": None}))
    with pytest.raises(UsageError, match="does not say with which settings gda was fitted"):
        loaded.check("gda", card, Trial((Claim("chance"),)), tmp_path / "gda")


def test_a_bench_of_several_fits_takes_no_artefact(tmp_path: Path) -> None:
    about, bench = artefacts.About("maskclip", MaskCLIP()), SimpleNamespace()
    given: Any = bench
    with pytest.raises(UsageError, match=r"measures several fits in one pass \(SimpleNamespace\)"):
        loaded.read("maskclip", TRIALS["maskclip"], tmp_path, about, given)


def test_settings_that_a_bench_gives_are_those_of_the_proof() -> None:
    bench: Any = SimpleNamespace(settings={"windows": "whole", "other": 1})
    method = loaded._method(Arm("maskclip"), bench)
    assert method.windows == "whole"
    thing: Any = SimpleNamespace(thing="plate")
    assert loaded._method(Arm(MaskCLIP()), thing) == MaskCLIP()
