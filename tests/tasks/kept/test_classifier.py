"""A classifier that ``features.artefacts`` keeps, as a converted released file, answers as an exported one does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

import diptych
from diptych.backbones.sources.load import load as load_backbone
from diptych.cli.main import app
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.features import artefacts
from diptych.features.heads import logits_of
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.tasks.kept.classifier import about_kept, is_kept
from diptych.tasks.model import load, read_about
from diptych.testing.harm import harms
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures(tuple(picture(k, k) for k in range(3)))
NAMES = ClassNames(("cat", "red barn"))


def kept(folder: Path) -> tuple[Path, NDArray[np.float64]]:
    """Return the folder of a classifier, and the probabilities that it gives."""
    backbone = load_backbone("tiny")
    method = ZeroShot()
    fitted = method.fit(Kit.of(backbone), NAMES, Evidence(), Run())
    artefacts.save(fitted, folder / "kept", method)
    scores = fitted.checked_scores(PHOTOS, Run())
    return folder / "kept", logits_of(scores, backbone).double().softmax(dim=1).numpy()


def test_it_answers_with_the_scores_of_what_was_fitted(tmp_path: Path) -> None:
    folder, expected = kept(tmp_path)
    assert is_kept(folder)
    about = read_about(folder)
    assert (about["method"], about["classes"], about["spec"]["name"]) == ("zero-shot", NAMES.names, "tiny")
    assert about["fingerprint"] == load_backbone("tiny").fingerprint
    model = load(folder)
    assert np.array_equal(model.predict_proba(list(PHOTOS.images)), expected)
    assert diptych.load_classifier(folder).classes.names == NAMES.names
    with pytest.raises(UsageError, match="without calibration items"):
        model.require_calibration()


def test_what_is_no_classifier_is_named_before_a_backbone_is_loaded(tmp_path: Path) -> None:
    backbone = load_backbone("tiny")
    method = MaskCLIP()
    artefacts.save(method.fit(Kit.of(backbone), NAMES, Evidence(), Run()), tmp_path / "masks", method)
    with pytest.raises(UsageError, match="what maskclip fitted, which belongs to 'diptych segment': give the folder"):
        about_kept(tmp_path / "masks")
    folder, _ = kept(tmp_path)
    (folder / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(DataError):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no exported model"):
        load(tmp_path / "empty")


# --- on the command line

TINY = ("--engine", "torch")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, offline, with a cache of its own; the folder is the current one's "photos"."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(PHOTOS.images):
        image.save(tmp_path / "photos" / f"{number}.png")
    return Path("photos")


def said(*words: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process and return its exit code and what it wrote."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def labels(out: str) -> dict[str, dict[str, float]]:
    """Return photo -> class -> probability of the JSON that ``classify`` writes."""
    return {
        Path(p["path"]).name: {one["label"]: one["probability"] for one in p["labels"]}
        for p in json.loads(out)["predictions"]
    }


def test_a_converted_classifier_answers_on_the_command_line_as_in_python(photos: Path, tmp_path: Path) -> None:
    width = load_backbone("tiny").module().state_dict()["token_embedding.weight"].shape[1]
    context = 0.02 * torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    torch.save({"state_dict": {"ctx": context}, "epoch": 50}, tmp_path / "ctx.pth")
    convert = (
        "systems",
        "coop",
        "--weights",
        "ctx.pth",
        "--released",
        "coop",
        "-b",
        "tiny",
        "--names",
        "cat, red barn",
    )
    code, out, err = said(*convert, "--out", "kept")
    assert (code, err) == (0, "")
    assert "use it with 'diptych classify PHOTOS --model kept'" in out
    code, out, err = said("classify", photos, "--model", "kept", "--json", *TINY)
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["model"], answer["method"], answer["backbone"]) == ("kept", "coop", "tiny")
    assert "temperature" not in answer or answer["temperature"] is None
    expected = load(Path("kept")).predict_proba(list(PHOTOS.images))
    got = labels(out)
    assert np.allclose([[got[f"{k}.png"][name] for name in NAMES.names] for k in range(3)], expected, atol=1e-4)


def test_a_kept_classifier_is_refused_what_it_cannot_do(photos: Path, tmp_path: Path) -> None:
    kept(tmp_path)
    for more, sentence in (
        (("--backbone", "lite"), "kept was fitted on tiny (1ab2061e02036c15), and the backbone given is lite"),
        (("--names", "a,b"), "A model has its own names"),
        (("--coverage", "0.9"), "kept without calibration items, so it cannot promise sets"),
        (("--explain", "1"), "zero-shot gives no reasons"),
    ):
        code, _, err = said("classify", photos, "--model", "kept", *more, *TINY)
        assert (code, sentence in err) == (2, True), err


def _shorter(folder: Path) -> None:
    path = folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def _half_a_description(folder: Path) -> None:
    path = folder / "fitted.json"
    path.write_text(path.read_text()[:-40])


def _other_classes(folder: Path) -> None:
    path = folder / "fitted.json"
    facts = json.loads(path.read_text())
    facts["about"]["classes"] = ["cat", "dog"]
    path.write_text(json.dumps(facts))


FAULTS: dict[str, tuple[Callable[[Path], Any], int, str]] = {
    "truncated tensors": (_shorter, 1, "its checksum differs"),
    "truncated description": (_half_a_description, 1, "holds no fitted system"),
    "no tensors": (lambda folder: (folder / "tensors.safetensors").unlink(), 1, "cannot be read"),
    "other classes": (_other_classes, 1, "states 2 classes (cat, dog), and its classifier knows 2 classes (cat, red"),
    "a tensor is left out": (lambda f: harms(f)["a tensor is left out"](f), 1, "holds other tensors than"),
    "a tensor has another name": (lambda f: harms(f)["a tensor has another name"](f), 1, "holds other tensors than"),
    "a tensor has another shape": (lambda f: harms(f)["a tensor has another shape"](f), 1, "holds other tensors than"),
    "another backbone": (
        lambda f: harms(f)["it is of another backbone"](f),
        2,
        "was fitted on tiny (0000000000000000)",
    ),
}
"""What is wrong with a folder -> how it is spoiled, the exit code, and a part of the sentence."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoiled_folder_is_refused_by_classify_and_before_a_server_answers(
    fault: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = kept(tmp_path)
    harm, code, sentence = FAULTS[fault]
    harm(folder)
    got, _, err = said("classify", photos, "--model", "kept", *TINY)
    assert (got, sentence in err) == (code, True), err
    pytest.importorskip("fastapi", reason="the server needs the extra serve")
    monkeypatch.setattr("diptych.serve.run.run", lambda *given: pytest.fail("the server answers"))
    got, _, err = said("serve", "--classifier", "kept", "--backbone", "tiny", *TINY)
    assert got == code, err
    assert sentence in err or (fault == "another backbone" and "which is not served" in err), err


def test_a_server_answers_with_a_kept_classifier_as_python_does(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fastapi", "python_multipart", "prometheus_client", "httpx"):
        pytest.importorskip(module, reason="the tests of the server need the extra serve, and httpx")
    import base64

    from starlette.testclient import TestClient

    folder, expected = kept(tmp_path)
    shutil.copytree(folder, tmp_path / "pets")
    answers: list[Any] = []

    def instead(served: Any, settings: object, report: object) -> None:
        with TestClient(served, base_url="http://127.0.0.1") as client:
            encoded = [base64.b64encode((photos / f"{k}.png").read_bytes()).decode() for k in range(3)]
            images = [f"data:image/png;base64,{one}" for one in encoded]
            body = {"images": images, "classifier": "pets"}
            answers.extend(client.post("/v1/classify", json={**body, **more}) for more in ({}, {"sets": 0.9}))

    monkeypatch.setattr("diptych.serve.run.run", instead)
    code, _, err = said("serve", "--classifier", "pets", "--backbone", "tiny", *TINY)
    assert code == 0, err
    plain, sets = answers
    assert plain.status_code == 200, plain.text
    got = [{one["label"]: one["probability"] for one in p["labels"]} for p in plain.json()["predictions"]]
    assert np.allclose([[one[name] for name in NAMES.names] for one in got], expected, atol=1e-4)
    assert (sets.status_code, "without calibration items" in sets.json()["message"]) == (400, True)
    code, _, err = said("serve", "--classifier", "pets", "--backbone", "lite", *TINY)
    assert (code, "pets was fitted on tiny, which is not served: give it as --backbone or --also" in err) == (2, True)
