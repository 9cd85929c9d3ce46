"""Made by tools/verbs_stub.py from the declarations in diptych.verbs: edit those."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from diptych.api.embeddings import Embeddings
from diptych.api.fitting import System
from diptych.api.model import ModelLike
from diptych.api.photo_index import PhotoIndex
from diptych.api.results import Results
from diptych.api.space import FittedSpace
from diptych.core import Backbone, Captioner, Classifier, Detector, Editor, Extender, Retriever, Rewriter, Segmenter
from diptych.data.words.contexts import Contexts
from diptych.search_index.rows import Found
from diptych.tasks.caption import Captions
from diptych.tasks.classified import Prediction
from diptych.tasks.detect import Detected
from diptych.tasks.edit import Pair
from diptych.tasks.export.tower import Form, Graph
from diptych.tasks.label_maps.segmented import Segmented
from diptych.tasks.link import Link
from diptych.tasks.model import Predictor
from diptych.tasks.rewrite import Rewrites
from diptych.tasks.space_classifier import SpaceClassifier
from diptych.verbs.names import NamesLike, TemplatesLike, TextsLike

def caption(
    photos: object,
    texts: TextsLike = None,
    model: ModelLike = None,
    *,
    like: object = None,
    user: str | None = None,
    clean: object = None,
    references: str | None = None,
    judge: str | Backbone | None = None,
    method: str | Captioner | System[Captioner] = "nearest-caption",
    variant: str = "",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    fitted: str | Path | None = None,
    n: int = 1,
    rate: float | None = 0.05,
    seed: int = 0,
) -> Results[Captions]:
    """Write a caption of each photo, learnt from sentences, or from photos with captions.

    Args:
        photos: photos, a folder, a table, or demo:photos.
        texts: sentences to learn from: a list, a .txt with one per line, or a table with caption columns.
        model: a name, a loaded model, or None for ``lite``.
        like: photos with captions to learn from: a table, perhaps with a column user, or a folder.
        user: write as this user of the captions to learn from does, for a method that has users.
        clean: nearest captions: photos of your kind that no sentence describes, on which the rate is held (default: some that ship).
        references: columns of the photos' table to measure against, such as "caption_*".
        judge: another backbone, which gives CLIPScore.
        method: a captioner; 'diptych systems --verb caption' lists them.
        variant: variant of the method, such as small; 'diptych systems METHOD' lists them.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        fitted: folder of what the method fitted: read if it is there, else written.
        n: captions of each photo. Must be at least 1.
        rate: nearest captions: share of photos that no sentence describes and that get one all the same. Must be in (0, 1).
        seed: seed of trainings and draws.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def classify(
    photos: object,
    names: NamesLike = None,
    model: ModelLike = None,
    *,
    templates: TemplatesLike = None,
    method: str | Classifier | System[Classifier] = "zero-shot",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    texts: TextsLike = None,
    contexts: str | Contexts | None = None,
    factors: str | Sequence[str] | None = None,
    frames: int | None = None,
    regions: str | Path | None = None,
    top: int = 5,
    threshold: float | None = None,
    reasons: int = 0,
    classifier: str | Path | Predictor | SpaceClassifier | None = None,
    sets: float | None = None,
    per_class: bool = False,
    unknown_rate: float | None = None,
) -> Results[Prediction]:
    """Say what is on each photo, from class names alone.

    Args:
        photos: photos, videos, point clouds, a folder, a table, or demo:photos; light curves.
        names: class names: "cat, dog, ...", or a file with one name per line (default: folder names).
        model: a name, a loaded model, or None for ``lite``.
        templates: prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts).
        method: a system that learns from no labels: see 'diptych systems'.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        texts: descriptions of the classes, for systems that read them: a JSON pool, or one that ships.
        contexts: contexts that photos may have: general, waterbirds or your own JSON file (general).
        factors: those factors of the contexts that are inferred (of general: quality,condition).
        frames: frames sampled from each clip; folders of pictures are then clips. Must be at least 1.
        regions: a table with one box per row, in pixels: these are looked at instead of whole photos.
        top: classes shown for each photo. Must be at least 1.
        threshold: leave out classes below this probability. Must be in [0, 1].
        reasons: reasons shown for each photo, from systems that have some. Must be at least 0.
        classifier: a folder that 'board classify --export' or 'extend' wrote, in place of names.
        sets: with an exported classifier: sets of classes that hold the true one this often, such as 0.9.
        per_class: with sets: also within each class that allows it.
        unknown_rate: with an exported classifier: say unknown, wrongly at most this often, such as 0.05.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

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
    fitted: str | Path | None = None,
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
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        rate: flag photos at this rate of false alarms, such as 0.05; needs normal photos. Must be in (0, 1).
        fitted: folder of what the method fitted: read if it is there, else written.
        seed: seed of draws and trainings.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def edit(
    photos: object = None,
    model: ModelLike = None,
    *,
    source: str = "",
    target: str | Sequence[str] = (),
    subject: object = None,
    mask: object = None,
    strength: float = 1.0,
    threshold: float | None = None,
    generator: str | None = None,
    denoiser: str | None = None,
    segmenter: str | None = None,
    like: object = None,
    frames: int | None = None,
    count: int | None = None,
    seed: int = 0,
    method: str | Editor | System[Editor] | None = None,
    variant: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    fitted: str | Path | None = None,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Pair]:
    """Change pictures and clips by words: what is there, and what shall be.

    Args:
        photos: photos, a folder, a table or clips; none: pictures that the generator draws.
        model: a name, a loaded model, or None for ``tiny``.
        source: what the pictures show: "a red circle".
        target: what they shall show: "a blue circle"; some methods take several.
        subject: a picture of what shall appear, for a method that takes one.
        mask: a PNG of a photo's size, white where it may change, for a method that takes it.
        strength: factor on the change; 0 gives the input back. Must be at least 0.
        threshold: least relevance of what may change, for a method that has one. Must be at least 0.
        generator: factors, small, or local:FILE with StyleGAN2 weights in safetensors (default: factors; for photos small).
        denoiser: small, or local:FOLDER with a pipeline of diffusers (default: small).
        segmenter: a segmenter, for a method that takes one.
        like: photos to learn from, for a method that learns from some.
        frames: frames sampled from each clip (default: 8). Must be at least 1.
        count: pictures drawn from the generator (default: 4). Must be at least 1.
        seed: seed of the pictures drawn, and of the training.
        method: an editor; 'diptych systems --verb edit' lists them (default: by the input).
        variant: variant of the method, such as small; "" is the paper's.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        fitted: folder of what the method fitted: read if it is there, else written.
        out: folder for pictures before and after, and edit.json. None: nothing is written.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def encode(
    photos: Any = None,
    out: str | PathLike[str] | None = None,
    model: ModelLike = None,
    *,
    texts: str | Sequence[str] | Path | None = None,
    regions: Any = None,
    parquet: bool = False,
    overwrite: bool = False,
) -> Embeddings:
    """Make unit embeddings, in files as of clip-retrieval: img_emb/img_emb_0.npy and metadata/metadata_0.parquet.

    Args:
        photos: a folder, a table, tars, one photo, or demo:photos.
        out: folder to write. None: nothing is written.
        model: a name, a loaded model, or None for ``lite``.
        texts: encode texts instead: a file with one text per line.
        regions: a table with one box per row, in pixels: these are looked at instead of whole photos.
        parquet: write Parquet of image_id and embedding beside them, in OUT/parquet.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def export(
    model: ModelLike,
    out: str | PathLike[str],
    *,
    to: Form = "onnx",
    images: Any = None,
    labelled: Any = None,
    names: NamesLike = None,
    templates: TemplatesLike = None,
    max_drop: float = 0.3,
    limit: int = 256,
    overwrite: bool = False,
) -> Results[Graph]:
    """Write a backbone's encoders as graphs, measure them, and fail (exit code 5) where a bound is broken.

    Args:
        model: a name, a loaded model, or None for ``lite``.
        out: folder to write.
        to: onnx or openvino (float32), or int8 (of the image encoder, for OpenVINO; needs images).
        images: your images: parity is measured, and int8 calibrated, on them.
        labelled: a folder of class folders: top-1 must not fall there.
        names: class names: a file, or "cat, dog, ..." (default: folder names).
        templates: a file of prompts, or one prompt with {}; repeat for several (default: seven prompts).
        max_drop: points of top-1 that may be lost. Must be at least 0.
        limit: images of each kind that are used, evenly spread. Must be at least 1.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        BoundBroken: a bound does not hold; export.json in the folder has what was measured.
    """

def extend(
    data: Any,
    out: str | PathLike[str] | None = None,
    model: ModelLike = None,
    *,
    names: NamesLike = None,
    template: str = "a photo of a {}.",
    method: str | Extender | System[Extender] | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    tunes: str | None = None,
    frames: int | None = None,
    label: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
) -> FittedSpace:
    """Learn classes of clips, point clouds or light curves from labelled ones, and keep the space that names others.

    Args:
        data: a folder train/CLASS/CLIP, and test/ or val/: videos or folders of frames, or point clouds. Or one with light_curves.csv and stars.csv.
        out: new folder for the space, and for the tuned weights where there are some. None: nothing is written.
        model: a name, a loaded model, or None for ``lite``.
        names: class names: a file, or "cat, dog, ..." (default: folder names).
        template: one prompt with {} for the class of a clip or cloud.
        method: for clips vifi-clip (tunes the backbone; the order of frames has no effect), or any other extender: see diptych systems --verb extend.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        tunes: full (both towers) or heads (the layers after their pooling; quick; the default).
        frames: frames sampled from each clip (default: 8). Must be at least 1.
        label: with light curves: column of the class in stars.csv.
        epochs: passes over the clips, clouds or curves (default: 50). Must be at least 1.
        seed: seed of the order and the views.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def generate(
    texts: str | Sequence[str],
    model: ModelLike = None,
    *,
    denoiser: str = "small",
    anyway: bool = False,
    count: int = 4,
    steps: int = 25,
    guidance: float = 3.0,
    seed: int = 0,
    method: str | Editor | System[Editor] | None = None,
    variant: str = "",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    like: object = None,
    fitted: str | Path | None = None,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Pair]:
    """Make pictures from words.

    Args:
        texts: what the pictures shall show: "a red circle".
        model: a name, a loaded model, or None for ``tiny``.
        denoiser: small, or local:FOLDER with a pipeline of diffusers.
        anyway: go on with words that the small denoiser never learnt: the pictures show something else.
        count: pictures made of each text. Must be at least 1.
        steps: steps of sampling. Must be at least 1.
        guidance: how strongly the text is followed; 1 is not at all more. Must be at least 0.
        seed: seed of the noise, and of a training.
        method: a system that makes pictures from words, in the place of the denoiser.
        variant: variant of the method; 'diptych systems METHOD' lists them.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        like: photos with captions to learn from, for a method that learns.
        fitted: folder of what the method fitted: read if it is there, else written.
        out: folder for the pictures and generate.json. None: nothing is written.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def index(
    photos: Any = None,
    out: str | PathLike[str] | None = None,
    model: ModelLike = None,
    *,
    remove: str | Sequence[str] = (),
    prune: bool = False,
    ann: bool = False,
    cut: str | None = None,
    export: Any = None,
    image: str | None = None,
    caption: str | None = None,
    frames: int | None = None,
    regions: Any = None,
    overwrite: bool = False,
) -> PhotoIndex:
    """Make a search index of photos and captions, or add to one; unchanged files are not read again.

    Args:
        photos: photos, folders, tables with captions, .tar files, vectors, or demo:photos; light curves.
        out: folder of the index; made if absent, else added to, with its backbone. None: nothing is written.
        model: a name, a loaded model, or None for ``lite``.
        remove: delete entries: a path, or a pattern such as "*/holiday/*".
        prune: delete entries below PHOTOS that are no longer there.
        ann: build the approximate index now, whatever the size (extra: index).
        cut: mark answers for the cut of a search: captions, a column, or a .csv file.
        export: copy the index to NAME.lance (extra: lance) or NAME.parquet, for others.
        image: column of a table with the picture's path.
        caption: column of a table with the caption.
        frames: these are clips: frames sampled from each (videos: 8). Must be at least 1.
        regions: a table with one box per row, in pixels: these are looked at instead of whole photos.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def link(
    left: Any,
    right: Any,
    model: ModelLike = None,
    *,
    pairs: Any = None,
    ids: str | Sequence[str] = (),
    method: str | Retriever | System[Retriever] = "clippings",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    variant: str | None = None,
    fitted: str | Path | None = None,
    threshold: float | None = None,
    one_to_one: bool = False,
    groups: Any = None,
    text_columns: str | Sequence[str] = (),
    image_columns: str | Sequence[str] = (),
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Link]:
    """Link the records of two tables by pictures and texts, with a threshold that labelled pairs choose.

    Args:
        left: a table, folder or tar of records: pictures, texts or both.
        right: the table in which to look for matches.
        model: a name, a loaded model, or None for ``lite``.
        pairs: labelled matches: a table with the columns left and right; in Python also (left, right) of each.
        ids: columns that name records, in the labelled matches and in the links: LEFT,RIGHT (default: rows from 0).
        method: a retriever; see diptych systems --verb retrieve.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        variant: its variant (clippings: maps with pairs, else mean).
        fitted: folder of what the method fitted: read if it is there, else written.
        threshold: link from this score on (default: chosen on labelled matches).
        one_to_one: link no record twice.
        groups: CSV of all records and their groups: what is linked, also by way of others.
        text_columns: columns with the texts: LEFT,RIGHT or one for both.
        image_columns: columns with the pictures: LEFT,RIGHT or one for both.
        out: CSV to write. None: nothing is written.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def rewrite(
    prompts: str | Sequence[str],
    model: ModelLike = None,
    *,
    like: object = None,
    method: str | Rewriter | System[Rewriter] = "uf-fgtg",
    variant: str = "small",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    choices: int = 5,
    denoiser: str = "small",
    fitted: str | Path | None = None,
    seed: int = 0,
) -> Results[Rewrites]:
    """Write longer prompts from short ones, several of each to choose from.

    Args:
        prompts: a .txt file with one prompt per line, or prompts.
        model: a name, a loaded model, or None for ``tiny``.
        like: photos with a short and a long caption each to learn from: a table or folder.
        method: a rewriter; 'diptych systems --verb rewrite' lists them.
        variant: variant of the method: small, text (no denoiser), or "", the paper's.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        choices: rewrites of each prompt. Must be at least 1.
        denoiser: small, or local:FOLDER with a pipeline of diffusers.
        fitted: folder of what the method fitted: read if it is there, else written.
        seed: seed of the training.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def search(
    folder: Any,
    query: Any,
    model: ModelLike = None,
    *,
    minus: Any = (),
    where: str | Sequence[str] = (),
    top: int = 10,
    captions: float | None = None,
    exact: bool = False,
    at_least: float | None = None,
) -> Results[Found]:
    """Find the entries nearest to words, pictures, or both.

    Args:
        folder: folder of diptych index.
        query: words and pictures, added up: "a red car" photo.jpg "2:at night".
        model: a name, a loaded model, or None for ``lite``.
        minus: words or pictures to move away from, such as "0.5:snow".
        where: condition on metadata: label=cat, "year>=1990", "name~*holiday*".
        top: number of answers. Must be at least 1.
        captions: share of the captions in the score (default 0). Must be in [0, 1].
        exact: look at every entry, however many.
        at_least: cut where this share of answers is expected to be right, such as 0.8, in an index with marked answers. Must be in [0, 1].

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
    risk: float | None = None,
    calibration: object = None,
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
    fitted: str | Path | None = None,
) -> Results[Segmented]:
    """Say what lies where on each photo, from class names alone.

    Args:
        photos: photos, a folder, a table, or demo:photos.
        names: class names: "cat, dog, ...", or a file with one name per line (default: folder names).
        model: a name, a loaded model, or None for ``lite``.
        templates: prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts).
        method: a segmenter; 'diptych systems --verb segment' lists them.
        settings: settings of the system by their names, such as epochs=100; 'published' takes the authors'. 'diptych systems SLUG' lists them.
        background: words for all else, such as "sky, wall, floor".
        threshold: pixels below this probability are background. Must be in [0, 1].
        unknown: pixels below this probability are of no class. Must be in [0, 1].
        risk: share of a photo's pixels that may be named wrongly; the calibration photos choose below which probability pixels are unknown (default with these: 0.1). Must be in (0, 1).
        calibration: photos with label maps, ten for a risk of 0.1, that the method does not learn from: split val, or else train.
        things: names whose objects are counted, "cat, dog" or all: instance and panoptic maps.
        void: values of label maps that are no class, beside those marked: "0".
        confidence: give the probability of each pixel too.
        regions: a table with one box per row, in pixels: these are looked at instead of whole photos.
        unlabelled: photos without labels, a hundred rather than ten, for a method that learns from some.
        captioned: photos with captions, a hundred at least, for a method that learns from some: a table.
        train: photos with label maps, a hundred rather than ten, for a method that learns masks.
        teacher: backbone whose image encoder teaches, for a method that asks for one.
        proposer: mask proposer, for a method that asks for one: auto (ranked-cells for ovseg, else merged-cells), merged-cells, ranked-cells, or a Mask2Former, CLIPSeg, OWLv2 or SAM as hf:NAME or a folder.
        masks: SAM or SAM 2 that draws masks, for a method that uses one: hf:NAME or a folder; a loaded one in Python.
        fitted: folder of what the method fitted: read if it is there, else written.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """
