"""What a server answers with, opened from names and folders at its start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.api.model import Model
from diptych.backbones.names import parse
from diptych.backbones.sources.proposers import AUTO
from diptych.core import Backbone, DataError, Detector, Kit, Run, Samples, Segmenter, UsageError
from diptych.data.captions import read_sentences
from diptych.data.load import open_data
from diptych.data.samples import openable
from diptych.features.artefacts import Read, stated
from diptych.features.artefacts import load as load_fitted
from diptych.features.spaces import fingerprints_of
from diptych.features.spaces import stated as description
from diptych.search_index.opening import index_at
from diptych.serve.model import ServedModel
from diptych.serve.verbs.search import ServedIndex
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.detect import Ready, fit
from diptych.tasks.label_maps.fitted_segmenter import parts_of_folder
from diptych.tasks.model import Predictor, read_about
from diptych.tasks.model import load as load_predictor
from diptych.tasks.search.index import fingerprint
from diptych.tasks.segment import TEACHER, teach
from diptych.tasks.space_classifier import load_classifier as load_space
from diptych.tasks.space_classifier import stated as fitted_space

RATE = 0.05
"""Share of normal photos that a detector flags, at most, where its normal photos are enough to hold it."""


def open_model(name: str, backbone: Backbone, run: Run) -> ServedModel:
    """Return a model that is served under a name."""
    return ServedModel(name, backbone if isinstance(backbone, Model) else Model(backbone, run), run.batch)


def open_index(folder: Path, models: Sequence[ServedModel]) -> ServedIndex:
    """Return an index with the served model that made it.

    Raises:
        UsageError: there is no index, or none of the models made it.
    """
    with index_at(folder) as index:
        facts = dict(index.facts)
    for model in models:
        if fingerprint(model.model, model.run) == facts["fingerprint"]:
            return ServedIndex(folder.resolve().name, folder, model)
    raise _not_served(folder, facts)


def _not_served(folder: Path, facts: Mapping[str, Any]) -> UsageError:
    return UsageError(
        f"{folder} was indexed with {facts.get('backbone')} at precision {facts.get('precision_asked')}, which is not "
        f"served: give it as {{backbone}} or {{also}}, or index again."
    )


def open_classifier(folder: Path, models: Sequence[ServedModel]) -> Predictor:
    """Return an exported classifier on one of the served models.

    Raises:
        UsageError: it was fitted on another model.
        DataError: the folder holds no classifier.
    """
    if (space := fitted_space(folder)) is not None:
        return _open_space(folder, space.backbone, models)
    about = read_about(folder)
    for model in models:
        if model.model.fingerprint == about.get("fingerprint"):
            return replace(load_predictor(folder, model.model), run=model.calls)
    raise _unserved_classifier(folder, about["spec"]["name"])


def _unserved_classifier(folder: Path, name: str) -> UsageError:
    return UsageError(f"{folder} was fitted on {name}, which is not served: give it as {{backbone}} or {{also}}.")


def _open_space(folder: Path, name: str, models: Sequence[ServedModel]) -> Predictor:
    """Return the classifier of a fitted space on the model that it was fitted round, where it was round one."""
    fits = [m for m in models if not name or m.model.spec.name == name]
    if not fits:
        raise UsageError(f"{folder} was fitted on {name}, which is not served: serve {name} too.")
    model = load_space(folder, fits[0].model if name else None)
    about = {"method": model.method, "spec": model.space.spec.as_dict()}
    return Predictor(model, None, model.backbone, about, fits[0].calls)


def check_folders(indexes: Iterable[Path], classifiers: Iterable[Path], served: Sequence[str] = ()) -> None:
    """Refuse folders that hold no index or no classifier, before models are loaded.

    Args:
        indexes: their folders.
        classifiers: their folders.
        served: names of the backbones that will be loaded; (): not known. Where a name says enough, a folder that was
            made with another backbone is refused too.

    Raises:
        UsageError, DataError: see ``open_index`` and ``open_classifier``.
    """
    for folder in indexes:
        with index_at(folder) as index:
            facts = dict(index.facts)
        if _surely_other(str(facts.get("backbone")), served):
            raise _not_served(folder, facts)
    for folder in classifiers:
        if fitted_space(folder) is None and _surely_other(name := read_about(folder)["spec"]["name"], served):
            raise _unserved_classifier(folder, name)


def _surely_other(name: str, served: Sequence[str]) -> bool:
    """Return whether none of the served names can be the backbone of this name: all are of models that ship or that
    open_clip publishes. A folder or a repository may hold any weights.
    """
    try:
        names = [parse(text) for text in (name, *served)]
    except UsageError:  # of a space, or of no backbone, which its loading says
        return False
    known = all(each.kind in ("embedded", "openclip") for each in names)
    return known and len(names) > 1 and names[0].canonical not in [each.canonical for each in names[1:]]


KINDS: Mapping[str, str] = {"segment": "segmenter", "detect": "detector", "caption": "captioner"}
"""Verb -> the field of its requests that names a fitted system."""


def check_fitted(folder: Path) -> str:
    """Refuse a folder that holds no fitted system that is served, before models are loaded.

    Returns:
        The field of requests that names it, such as "segmenter".

    Raises:
        UsageError: there is no such folder, or its system is of a verb that is not served so.
        DataError: it holds nothing fitted.
    """
    about = stated(folder)
    verb = "" if about.system is None else about.system.card.verb
    if verb not in KINDS:
        what = about.slug or "another system"
        raise UsageError(
            f"{folder} holds what {what} fitted, and fitted systems are served of {', '.join(KINDS)}: give a "
            f"classifier as {{classifier}}, or name another folder."
        )
    return KINDS[verb]


def open_fitted(folder: Path, models: Sequence[ServedModel]) -> Read:
    """Return a fitted segmenter, detector or captioner on one of the served models.

    Raises:
        UsageError: it was fitted on another model.
        DataError: the folder holds nothing fitted, or is damaged.
    """
    about, prints = stated(folder), fingerprints_of(description(folder))
    model = next((m for m in models if not prints or m.model.fingerprint in prints), None)
    if model is None:
        raise UsageError(
            f"{folder} was fitted on {about.backbone}, which is not served: give it as {{backbone}} or {{also}}."
        )
    kit = Kit.of(model.model)
    if isinstance(about.system, Segmenter):
        given = {"teacher": TEACHER, "proposer": AUTO}
        named = parts_of_folder(about, given, given)
        kit, _ = teach(type(about.system), model.model, lambda: None, named["teacher"], named["proposer"])
    fitted = load_fitted(folder, kit)
    return Read(Ready.of(fitted) if check_fitted(folder) == "detector" else fitted, about)


def open_normal(line: str) -> tuple[str, Samples[Any]]:
    """Return the name and the photos of a line NAME=FOLDER of normal photos; loads no model.

    Raises:
        UsageError: another form, or no photos.
        UnreadableItem: a photo cannot be read.
    """
    name, _, folder = line.partition("=")
    if not name or not folder:
        raise UsageError(f"{{normal}} is NAME=FOLDER of normal photos, not {line!r}.")
    good, failed = openable(open_data(folder, need="photos").whole().items)
    if failed:
        raise failed[0]
    return name, good


def open_detector(name: str, good: Samples[Any], model: ServedModel) -> Ready:
    """Return a detector of normal photos that flags at most a share ``RATE`` of them, where they are enough."""
    method = catalog.find(DEFAULTS["detect"], Detector)()
    try:
        return fit(method, model.model, model.calls, good, rate=RATE)
    except DataError:
        return fit(method, model.model, model.calls, good)


def open_captions(path: Path) -> tuple[str, ...]:
    """Return the sentences of a file, each once."""
    pool = read_sentences(path)
    return tuple(dict.fromkeys(text.value for texts in pool.texts.values() for text in texts))
