"""What a method fitted is kept in a folder by every verb, and used again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych import catalog
from diptych.api.model import Model
from diptych.core import ClassNames, DataError, DiptychError, Needs, Run, UsageError
from diptych.core.card import EvidenceField
from diptych.features import artefacts
from diptych.features.artefacts import stated
from diptych.verbs import keeping, kinds
from diptych.verbs.arguments import Argument
from diptych.verbs.declare import Verb
from diptych.verbs.edit import Edit
from diptych.verbs.rewrite import Rewrite
from tests.support.backbone import SmallBackbone
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.dense_colours import DenseColours, halves

DENSE = Model(DenseColours(), Run())
COLOURED = Model(ColourBackbone(), Run())
PHOTO = halves("red", "blue", 60, 40)


def plain(name: str, shade: int = 0) -> Image.Image:
    """One colour, of which two channels differ by the shade."""
    colour = np.array(COLOURS[name]) + np.array([shade, -(shade**2) % 7, 0])
    return Image.fromarray((np.zeros((32, 32, 3)) + colour).clip(0, 255).astype(np.uint8))


def verbs() -> list[type[Verb]]:
    """Verbs that are declared and choose a system."""
    import diptych.api.derived  # noqa: F401

    found, todo = [], [Verb]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        found += [kind] if "method" in getattr(kind, "__dataclass_fields__", {}) else []
    return [kind for kind in found if kind.__module__.startswith("diptych.")]


def test_every_verb_with_a_method_keeps_what_it_fits() -> None:
    named = {kind.name: kind for kind in verbs()}
    assert {"caption", "detect", "edit", "generate", "link", "rewrite", "segment"} <= set(named)
    lacking = {name for name, kind in named.items() if "fitted" not in kind.arguments()}
    others = {name for name in lacking if name.partition(" ")[0] != "curate"}  # it keeps plans
    trainings = {"training", "finetune", "pretrain"}  # whose folder is a model
    assert others == {"classify", "board several-labels", *trainings}, "a folder is the classifier; nothing is fitted"


def test_every_verb_that_may_train_hands_on_the_processes_that_load(tmp_path: Path) -> None:
    named = {kind.name: kind for kind in verbs()}
    training = {"caption", "detect", "edit", "extend", "generate", "link", "rewrite", "segment"}
    assert {name for name, kind in named.items() if "fit_workers" in kind.arguments("command")} == training
    seen: list[int] = []

    @contextmanager
    def watched(folder: Path | None, *, workers: int = 0, of: object = None) -> Iterator[None]:
        seen.append(workers)
        yield

    with patch("diptych.train.parameters.resumable", watched):
        diptych.segment([PHOTO], ["red", "green"], DENSE, method="maskclip", fit_workers=3)
    assert seen == [3]
    with pytest.raises(UsageError, match="fit_workers= must be"):
        diptych.segment([PHOTO], ["red", "green"], DENSE, fit_workers=-1)


def test_a_segmenter_is_kept_and_answers_again_without_a_fit(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    given: dict[str, Any] = {"background": "blue, yellow", "method": "maskclip"}
    first = diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=folder, **given)
    about = stated(folder)
    assert (about.slug, about.backbone, about.version) == ("maskclip", DENSE.spec.name, diptych.__version__)
    assert about.system == catalog.find("maskclip")()
    with patch.object(catalog.find("maskclip"), "fit", side_effect=AssertionError("fitted again")):
        again = diptych.segment([PHOTO], None, DENSE, fitted=folder)
        same = diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=folder, **given)
    for result in (again, same):
        assert np.array_equal(result[0].labels, first[0].labels)
        assert result[0].classes == first[0].classes


def test_other_names_are_refused_where_what_was_fitted_knows_none(tmp_path: Path) -> None:
    diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=tmp_path / "kept", method="maskclip")
    with pytest.raises(UsageError, match=r"fitted on the names red, green, .*leave names=, templates= and background="):
        diptych.segment([PHOTO], ["red", "pink"], DENSE, fitted=tmp_path / "kept")
    counted = diptych.segment([PHOTO], None, DENSE, fitted=tmp_path / "kept", things="red")
    assert counted.as_dict()["things"] == ["red"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # remarks are warnings too
def test_a_detector_is_kept_with_its_threshold(tmp_path: Path) -> None:
    normal = [plain("red", i) for i in range(20)]
    photos = [plain("red", 3), plain("blue")]
    given: dict[str, Any] = {"rate": 0.2, "method": "gaussian"}
    first = diptych.detect(photos, COLOURED, normal=normal, fitted=tmp_path / "line", **given)
    again = diptych.detect(photos, COLOURED, fitted=tmp_path / "line")
    assert [(d.score, d.flagged) for d in again] == [(d.score, d.flagged) for d in first]
    assert again.as_dict()["threshold"] == first.as_dict()["threshold"] is not None
    assert again.as_dict()["false_alarm_rate"] == 0.2
    with pytest.raises(UsageError, match=r"was kept with rate= 0.2, not 0.1"):
        diptych.detect(photos, COLOURED, fitted=tmp_path / "line", rate=0.1)


def test_a_captioner_is_kept(tmp_path: Path) -> None:
    given: dict[str, Any] = {"fitted": tmp_path / "pool", "rate": None}
    first = diptych.caption([plain("red"), plain("blue")], ["a red wall", "a blue sky"], COLOURED, **given)
    again = diptych.caption([plain("red"), plain("blue")], model=COLOURED, **given)
    assert list(again) == list(first)


def test_other_data_to_learn_from_are_refused_beside_a_folder_that_is_there(tmp_path: Path) -> None:
    for name, words in (("walls", "a red wall\na blue sky\n"), ("cars", "a red car\na blue car\n")):
        (tmp_path / f"{name}.txt").write_text(words)
    given: dict[str, Any] = {"fitted": tmp_path / "pool", "rate": None}
    photos = [plain("red"), plain("blue")]
    first = diptych.caption(photos, str(tmp_path / "walls.txt"), COLOURED, **given)
    for texts in (str(tmp_path / "walls.txt"), tmp_path / "walls.txt", None):
        assert list(diptych.caption(photos, texts, COLOURED, **given)) == list(first)
    with pytest.raises(UsageError, match=r"was fitted on other data than .*cars.txt: leave texts= out .* fitted= to"):
        diptych.caption(photos, str(tmp_path / "cars.txt"), COLOURED, **given)
    assert str(tmp_path) not in (tmp_path / "pool/fitted.json").read_text(), "a path says whose machine it was"


def test_whatever_a_fit_alone_reads_is_declared_so() -> None:
    fields = get_args(EvidenceField)
    nothing, everything = (SimpleNamespace(card=SimpleNamespace(needs=Needs(evidence=names))) for names in ((), fields))

    def is_evidence(a: Argument) -> bool:
        if a.evidence in fields:
            return True
        try:
            return a.reads is not None and a.reads(everything) and not a.reads(nothing)
        except AttributeError:  # it asks for something else than evidence
            return False

    one = kinds.FOLDER  # a board reads several, and fits the others
    named = {k.name: k for k in verbs() if "fitted" in k.arguments() and k.arguments()["fitted"].kind is one}
    learnt = {(verb, name) for verb, kind in named.items() for name, a in kind.arguments().items() if is_evidence(a)}
    declared = {(verb, name) for verb, kind in named.items() for name, a in kind.arguments().items() if a.fits}
    assert declared == learnt | {("rewrite", "seed")}
    assert {("edit", "like"), ("generate", "like"), ("rewrite", "like"), ("segment", "train")} <= learnt


@pytest.mark.parametrize(
    ("verb", "method", "more"),
    [
        ("edit", "deltaedit", {"source": "a", "target": "b"}),
        ("generate", "galip", {"texts": "a red circle"}),
        ("rewrite", "uf-fgtg", {"prompts": "a red circle"}),
    ],
)
def test_other_photos_to_learn_from_are_refused_by_every_verb(
    tmp_path: Path, verb: str, method: str, more: dict[str, Any]
) -> None:
    kind = {kind.name: kind for kind in verbs()}[verb]
    for name in ("mine", "others"):
        (tmp_path / name).mkdir()
    given = {**more, "method": method, "variant": "small", "fitted": tmp_path / "kept"}
    asked = [kind.parsed("python", **given, like=tmp_path / name) for name in ("mine", "others")]
    system = catalog.row(catalog.find(method), "small")
    artefacts.save(ClassNames(("a",)), tmp_path / "kept", system, **keeping.learnt_from(asked[0]))
    for same in (asked[0], kind.parsed("python", **given)):
        assert keeping.resolved(same, {"like"}).system() == system
    with pytest.raises(UsageError, match=r"kept was fitted on other data than .*others: leave like out to use it"):
        keeping.resolved(asked[1], {"like"})


def test_another_seed_is_refused_beside_what_it_did_not_fit(tmp_path: Path) -> None:
    asked = Rewrite.parsed("python", prompts="a red circle", method="uf-fgtg", fitted=tmp_path / "kept")
    system = catalog.find("uf-fgtg")()
    artefacts.save(ClassNames(("a",)), tmp_path / "kept", system, **keeping.learnt_from(asked))
    with pytest.raises(UsageError, match=r"kept was fitted with seed 0, not 3: leave seed out"):
        keeping.resolved(replace(asked, seed=3), {"seed"})
    assert keeping.resolved(replace(asked, seed=3), {"method"}).system() == system, "a default is no wish"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=tmp_path / "kept", method="maskclip")
    return tmp_path / "kept"


def test_another_system_other_settings_and_other_verbs_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"maskclip fitted it, and not sclip; give method= so, or another fitted="):
        diptych.segment([PHOTO], None, DENSE, fitted=folder, method="sclip")
    with pytest.raises(UsageError, match=r"its denoise is 0.0, not 0.2; give the same method=, variant= and settings="):
        diptych.segment([PHOTO], None, DENSE, fitted=folder, settings={"denoise": 0.2})
    with pytest.raises(UsageError, match=r"holds what maskclip fitted, a system of segment, and not of detect"):
        diptych.detect([PHOTO], DENSE, fitted=folder)


def test_the_slug_of_the_system_alone_takes_the_settings_of_the_folder(tmp_path: Path) -> None:
    given: dict[str, Any] = {"fitted": tmp_path / "kept", "method": "maskclip"}
    first = diptych.segment([PHOTO], ["red", "green"], DENSE, settings={"denoise": 0.2}, **given)
    again = diptych.segment([PHOTO], None, DENSE, **given)
    assert np.array_equal(again[0].labels, first[0].labels)
    with pytest.raises(UsageError, match=r"its denoise is 0.2, not 0.3"):
        diptych.segment([PHOTO], None, DENSE, settings={"denoise": 0.3}, **given)
    with pytest.raises(UsageError, match=r"its denoise is 0.2, not 0.0"):
        diptych.segment([PHOTO], None, DENSE, fitted=tmp_path / "kept", method=diptych.systems.MaskCLIP())


def test_deltaedit_beside_its_folder_is_the_one_that_fitted(tmp_path: Path) -> None:
    system = catalog.row(catalog.find("deltaedit"), "small[probes=7]")
    artefacts.save(ClassNames(("a",)), tmp_path / "editor", system)
    asked = Edit.parsed("python", source="a", target="b", method="deltaedit", fitted=tmp_path / "editor")
    assert keeping.resolved(asked, {"method"}).system() == system
    paper = replace(asked, variant="")
    assert keeping.resolved(paper, {"method", "variant"}).system() != system


def test_another_backbone_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"was fitted on .*and the backbone given is small"):
        diptych.segment([PHOTO], None, Model(SmallBackbone(), Run()), fitted=folder)


def test_a_folder_that_is_not_there_is_no_wish_to_fit_the_usual_method(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no folder .*misspelt: name one .*or give method="):
        diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=tmp_path / "misspelt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no fitted system"):
        diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=tmp_path / "empty")


def test_what_is_missing_is_named(folder: Path) -> None:
    facts = json.loads((folder / "fitted.json").read_text())
    del facts["fitted"]["fields"]["classes"], facts["fitted"]["fields"]["backbone"]
    (folder / "fitted.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"fields of FittedMaskCLIP differ: backbone, classes;"):
        diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=folder)


def test_a_folder_without_provenance_is_read_too(tmp_path: Path, folder: Path) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(folder, earlier)
    facts = json.loads((earlier / "fitted.json").read_text())
    del facts["about"]
    (earlier / "fitted.json").write_text(json.dumps(facts))
    assert (stated(earlier).slug, stated(earlier).system) == ("maskclip", None)
    first = diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=folder)
    again = diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=earlier)
    assert np.array_equal(again[0].labels, first[0].labels)
    with pytest.raises(DiptychError, match="maskclip fitted it, and not sclip"):
        diptych.segment([PHOTO], ["red", "green"], DENSE, fitted=earlier, method="sclip")
