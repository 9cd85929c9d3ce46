"""Made by tools/verbs_stub.py from the declarations in diptych.verbs: edit those."""

from collections.abc import Mapping, Sequence
from typing import Any

from diptych.api.fitting import System
from diptych.api.model import ModelLike
from diptych.api.results import Results
from diptych.core import Detector, Segmenter
from diptych.tasks.detect import Detected
from diptych.tasks.segmented import Segmented
from diptych.verbs.names import NamesLike, TemplatesLike

def detect(
    photos: object,
    model: ModelLike = None,
    *,
    normal: object = None,
    thing: str | None = None,
    auxiliary: object = None,
    method: str | Detector | System[Detector] | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    rate: float | None = None,
    seed: int = 0,
) -> Results[Detected]:
    """Say which photos are anomalous and where, from normal photos or from words alone.

    Args:
        photos: photos, a folder or a table.
        model: a name, a loaded model, or None for ``lite``.
        normal: photos without anomalies, of the same kind.
        thing: what the photos show, such as "hazelnut", for detectors that read it.
        auxiliary: labelled anomalies of another thing, a folder as MVTec's, for detectors that learn from them.
        method: a detector (default: winclip-style for words, else feature-memory).
        settings: settings of the system by their names, such as epochs=100; 'diptych systems SLUG' lists them.
        rate: flag photos at this rate of false alarms, such as 0.05; needs normal photos. Must be in (0, 1).
        seed: seed of draws and trainings.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def segment(
    photos: object,
    names: NamesLike = None,
    model: ModelLike = None,
    *,
    templates: TemplatesLike = None,
    method: str | Segmenter | System[Segmenter] = "maskclip",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    background: str | Sequence[str] = (),
    threshold: float | None = None,
    unknown: float | None = None,
    things: str | Sequence[str] = (),
    void: str | Sequence[int] = (),
    confidence: bool = False,
    regions: object = None,
    unlabelled: object = None,
    captioned: object = None,
    train: object = None,
    teacher: str = "lite",
    proposer: str = "auto",
    masks: Any = None,
) -> Results[Segmented]:
    """Say what lies where on each photo, from class names alone.

    Args:
        photos: photos, a folder, a table, or demo:photos.
        names: class names: "cat, dog, ...", or a file with one name a line (default: folder names).
        model: a name, a loaded model, or None for ``lite``.
        templates: prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts).
        method: a segmenter; 'diptych systems --verb segment' lists them.
        settings: settings of the system by their names, such as epochs=100; 'diptych systems SLUG' lists them.
        background: words for all else, such as "sky, wall, floor".
        threshold: pixels below this probability are background. Must be in [0, 1].
        unknown: pixels below this probability are of no class. Must be in [0, 1].
        things: names whose objects are counted, "cat, dog" or all: instance and panoptic maps.
        void: values of label maps that are no class, beside those marked: "0".
        confidence: give the probability of each pixel too.
        regions: a table with a box a row, in pixels: these are looked at instead of whole photos.
        unlabelled: photos without labels, a hundred rather than ten, for a method that learns from some.
        captioned: photos with captions, a hundred at least, for a method that learns from some: a table.
        train: photos with label maps, a hundred rather than ten, for a method that learns masks.
        teacher: backbone whose image encoder teaches, for a method that asks for one.
        proposer: mask proposer, for a method that asks for one: auto (ranked-cells for ovseg, else merged-cells), merged-cells, ranked-cells, or a Mask2Former, CLIPSeg, OWLv2 or SAM as hf:NAME or a folder.
        masks: sAM or SAM 2 that draws masks, for a method that uses one: hf:NAME or a folder; a loaded one in Python.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """
