"""Made by tools/verbs_stub.py from the declarations in diptych.verbs: edit those."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from diptych.api.curation import CuratedPairs, FittedHead, Planned
from diptych.api.embeddings import Embeddings
from diptych.api.fitting import OtherSystem, System
from diptych.api.model import ModelLike
from diptych.api.photo_index import PhotoIndex
from diptych.api.results import Results
from diptych.api.space import FittedSpace
from diptych.core import (
    Backbone,
    Captioner,
    Classifier,
    Curator,
    Detector,
    Editor,
    Encoder,
    Extender,
    Finding,
    Objective,
    Recipe,
    Retriever,
    Rewriter,
    Segmenter,
    Table,
)
from diptych.data.words.contexts import Contexts
from diptych.evaluation.boards.audit import AuditedBackbone
from diptych.evaluation.boards.verb import BoardRow
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.few_shot.protocol import Reach
from diptych.evaluation.recommendation import Candidate
from diptych.search_index.rows import Hit
from diptych.tasks.audit.edits import RankedEdit
from diptych.tasks.audit.groups import AuditedPair
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
from diptych.tasks.training.tuned import Tuned
from diptych.train.schedule import Fit
from diptych.verbs.board.several_labels import ClassThreshold
from diptych.verbs.curate.looks import Look
from diptych.verbs.curate.regions import NamedRegions
from diptych.verbs.names import NamesLike, TemplatesLike, TextsLike

class _Audit:
    pairs: _Audit
    def __call__(
        self,
        photos: object,
        captions: Sequence[str] | None = None,
        model: ModelLike = None,
        *,
        image: str = "",
        text: str = "",
        clean: object = None,
        rate: float = 0.05,
        choice: Literal["threshold", "most-negative"] | None = None,
        threshold: float | None = None,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[AuditedPair]:
        """Find captions that fit their photos worse than right captions do, and the word of each that fits least.

        Args:
            photos: a table with pictures and captions.
            captions: one per photo, where photos are given and no table.
            model: a name, a loaded model, or None for ``lite``.
            image: column with the picture (default: path, filepath, image).
            text: column with the caption (default: caption, title, text).
            clean: a table of pairs like yours that are known to be right (default: photos that ship).
            rate: share of right captions that may stand out.
            choice: rank by the words instead: threshold, or most-negative. Must be one of 'threshold', 'most-negative'.
            threshold: rank by the words: those below this attribution are wrong.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .csv, .json or .html file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
            MissingHook: the model lacks what the scorer needs.
        """

    def groups(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        group: str = "",
        label: str = "",
        names: NamesLike = None,
        seed: int = 0,
        gap: float = 0.05,
        least: int = 5,
        selection: str = "half",
        against: str | Backbone | Sequence[str | Backbone] = (),
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Find the two groups of each class between which accuracy drops most, and measure the drop on other photos.

        Args:
            data: a table, a folder with labels.csv, or folders CLASS/GROUP.
            model: a name, a loaded model, or None for ``lite``.
            group: column with the groups, such as domain.
            label: column with the classes (default: class_name, class or label).
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            seed: seed of halves and controls.
            gap: accuracies of the two groups must differ by more than this. Must be in [0, 1).
            least: least number of items of a class in each group and half. Must be at least 1.
            selection: half: select groups on half of the items and measure on the others; all: both on all. Must be one of 'half', 'all'.
            against: further models, measured between the groups that the first one selects.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def report(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        against: str | Backbone | Sequence[str | Backbone] = (),
        names: NamesLike = None,
        label: str = "",
        seed: int = 0,
        shift: str | Sequence[str] | Mapping[str, Any] = (),
        ood: str | Sequence[str] | Mapping[str, Any] = (),
        cues: str | Sequence[str] | Mapping[str, Any] = (),
        group: str = "",
        only: str | Sequence[str] = (),
        images: bool = True,
        measured: str | Path | None = None,
        at_most: str | Sequence[str] | Mapping[str, float] = (),
        at_least: str | Sequence[str] | Mapping[str, float] = (),
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Run every audit that the data allow, and list the worst findings first. Exit code 5: a bound is broken.

        Args:
            data: a folder of classes, or a table with classes or captions; test, and optionally train.
            model: a name, a loaded model, or None for ``lite``.
            against: another model to compare with; repeat.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            label: column with the classes.
            seed: seed of halves and controls.
            shift: pictures of the same classes, elsewhere: NAME=DATA; repeat.
            ood: pictures of none of the classes: NAME=DATA; repeat.
            cues: pictures with shape and texture of two classes: NAME=DATA; repeat.
            group: column with groups, such as domain; all splits are one then.
            only: audits to run, with commas (default: all).
            images: show pictures on the page.
            measured: results of these models from elsewhere: a table of model, measure, value.
            at_most: upper bound, MEASURE=NUMBER or MEASURE:ABOUT=NUMBER; repeat.
            at_least: lower bound, such as accuracy=0.8; repeat.
            settings: a setting of an audit, such as SLUG.most=100; repeat for several.
            out: write a .html page or a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def edits(
        self,
        table: str | Path | Table[Any],
        model: ModelLike = None,
        *,
        margin: float | None = None,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[RankedEdit]:
        """Rank the edits of each picture: the requested change must show, and the rest must stay the same.

        Args:
            table: a table: source, edit, target, and source_attributes, target_attributes with | between.
            model: a name, a loaded model, or None for ``lite``.
            margin: how far beyond the plane the ideal edit is; 0: on it (default: the target's). Must be at least 0.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def blind(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        vision: str | Backbone | Encoder[Any] = "lite",
        top: float = 0.01,
        bottom: float = 0.3,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Find pairs of pictures that a second encoder tells apart and the model does not.

        Args:
            data: pictures, or the folder of MMVP-VLM, MMVP or Winoground.
            model: a name, a loaded model, or None for ``lite``.
            vision: the second image encoder: timm:ARCH.TAG, or a backbone; lite: Lite0 without its projection.
            top: share of pairs that count as alike.
            bottom: share of pairs that count as different.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def sources(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        group: str = "",
        label: str = "",
        names: NamesLike = None,
        seed: int = 0,
        sources: str | Sequence[str] = (),
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Train heads on each source and on mixtures, and compare them at equal accuracy.

        Args:
            data: a table, a folder with labels.csv, or folders CLASS/GROUP.
            model: a name, a loaded model, or None for ``lite``.
            group: column with the groups, such as domain.
            label: column with the classes (default: class_name, class or label).
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            seed: seed of halves and controls.
            sources: a group; repeat it. The first is the reference (default: all groups).
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def association(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        attribute: str,
        label: str = "",
        names: NamesLike = None,
        template: str = "",
        seed: int = 0,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Put pictures of two objects side by side, and ask for the attribute of one.

        Args:
            data: a table, or a folder with labels.csv: one object per picture.
            model: a name, a loaded model, or None for ``lite``.
            attribute: column with the attribute, such as color.
            label: column with the classes.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            template: question with {object} and {value} (default: about the color).
            seed: seed of the pairs.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def robustness(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        against: str | Backbone | Sequence[str | Backbone] = (),
        names: NamesLike = None,
        label: str = "",
        seed: int = 0,
        shift: str | Sequence[str] | Mapping[str, Any] = (),
        ood: str | Sequence[str] | Mapping[str, Any] = (),
        cues: str | Sequence[str] | Mapping[str, Any] = (),
        group: str = "",
        factors: str | Sequence[str] = (),
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Measure a model along independent axes: visual factors, shifts, shape bias, calibration, unknown objects.

        Args:
            data: a folder of classes, or a table with classes or captions; test, and optionally train.
            model: a name, a loaded model, or None for ``lite``.
            against: another model to compare with; repeat.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            label: column with the classes.
            seed: seed of halves and controls.
            shift: pictures of the same classes, elsewhere: NAME=DATA; repeat.
            ood: pictures of none of the classes: NAME=DATA; repeat.
            cues: pictures with shape and texture of two classes: NAME=DATA; repeat.
            group: column with groups, such as domain; all splits are one then.
            factors: a visual factor, such as darker; repeat (default: all).
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def shortcuts(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        against: str | Backbone | Sequence[str | Backbone] = (),
        names: NamesLike = None,
        label: str = "",
        seed: int = 0,
        share: float | None = None,
        opacities: float | Sequence[float] = (),
        draws: int | None = None,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Finding]:
        """Plant a mark that correlates with the label, and measure how much heads on a model's features rely on it.

        Args:
            data: a folder of classes, or a table with classes or captions; test, and optionally train.
            model: a name, a loaded model, or None for ``lite``.
            against: another model to compare with; repeat.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            label: column with the classes.
            seed: seed of halves and controls.
            share: share of training pictures whose mark agrees with the label.
            opacities: opacity of the mark, such as 0.3; repeat.
            draws: trainings of each head and opacity.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            out: also write a .json file. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

audit: _Audit

class _Board:
    classify: _Board
    def __call__(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        shots: int | Sequence[int] = (1, 4, 16),
        seeds: int | Sequence[int] = (1, 2, 3),
        val: str = "coop",
        names: NamesLike = None,
        templates: TemplatesLike = None,
        texts: TextsLike = None,
        unlabelled: str | PathLike[str] | None = None,
        budget: float | None = None,
        timeout: float | None = None,
        export: str | None = None,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[Row]:
        """Run every classifier at several shots and seeds; finished rows are kept and used again.

        Args:
            data: a folder with train and test, a table, or demo:clothes; several are compared.
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
            methods: names of systems, with commas, as diptych systems lists them (default: all).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            shots: training photos of each class.
            seeds: seeds of the draws.
            val: coop: choose on min(shots, 4) val items per class; full: on all of val; none: choose nothing, with settings that are the same for all data sets.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            templates: a file of prompts, or one prompt with {}; repeat for several (default: seven prompts).
            texts: descriptions of the classes: a JSON pool, or one that ships (default: the data set's).
            unlabelled: photos for label-free systems (default: train).
            budget: seconds for the whole board; rows that are finished by then are shown.
            timeout: seconds for each system.
            export: write OUT/model: best (chosen on val), or the slug of a system.
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows, board.json, board.csv and report.html. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def detect(
        self,
        data: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        thing: str | None = None,
        auxiliary: str | PathLike[str] | None = None,
        rate: float = 0.1,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Run every detector on normal and anomalous photos; a third of the normal train photos sets the threshold.

        Args:
            data: a folder of MVTec's layout: train/good, test/good, test/KIND ...
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            thing: what the photos show, such as "hazelnut", for detectors that read it.
            auxiliary: labelled anomalies of other objects to learn from, in MVTec's layout.
            rate: share of normal photos that a threshold may flag. Must be in (0, 1).
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def retrieve(
        self,
        data: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        entity: str = "entity",
        image: str | None = None,
        text: str | None = None,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Run every retriever that trains no tower: each third of the entities is searched in turn, the others train it.

        Args:
            data: a table of records with a column that says what each is of, or grocery_packages.
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            entity: column that says what a record shows: records with the same value match.
            image: column with the picture's path.
            text: column with the text.
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def segment(
        self,
        data: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        names: NamesLike = None,
        templates: TemplatesLike = None,
        unlabelled: Any = None,
        teacher: str = "lite:2026-11",
        proposer: str = "auto",
        masks: Any = None,
        background: str | Sequence[str] = (),
        threshold: float | None = None,
        void: str | Sequence[int] = (),
        items: int | None = None,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Run every segmenter on the test split, or else val: mIoU of the whole set, and the gain over the one that trains
        nothing.

        Args:
            data: a folder with labels.csv (path, mask) and classes.csv or in ADE20K's layout, its name in DIPTYCH_DATA, mosaic:NAME or paste:NAME.
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite:2026-11``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            templates: a file of prompts, or one prompt with {}; repeat for several (default: seven prompts).
            unlabelled: photos for systems that learn from some (default: imagenet1k_sample).
            teacher: backbone whose image encoder teaches, for a method that asks for one.
            proposer: mask proposer, for a method that asks for one: auto (ranked-cells for ovseg, else merged-cells), merged-cells, ranked-cells, a Mask2Former, CLIPSeg, OWLv2 or SAM as hf:NAME, a folder or SAM's .pth.
            masks: SAM or SAM 2 for a method that uses one: hf:NAME, a folder or SAM's .pth; a loaded one in Python.
            background: words for the class "background": "sky, wall".
            threshold: pixels below this probability are background. Must be in [0, 1].
            void: mask values to ignore, besides those marked: "0, 255".
            items: measure this many photos, the same ones for every system (default: all). Must be at least 1.
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def audit(
        self,
        data: Any,
        model: ModelLike = None,
        *,
        against: str | Sequence[str] = (),
        names: NamesLike = None,
        label: str = "",
        seed: int = 0,
        shift: str | Sequence[str] | Mapping[str, Any] = (),
        ood: str | Sequence[str] | Mapping[str, Any] = (),
        cues: str | Sequence[str] | Mapping[str, Any] = (),
        group: str = "",
        only: str | Sequence[str] = (),
        budget: float | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[AuditedBackbone]:
        """Run the same audits on several backbones, and compare each with the first, paired where possible.

        Args:
            data: a folder of classes, or a table with classes or captions; test, and optionally train.
            model: a name, a loaded model, or None for ``lite``.
            against: a backbone to compare with the first; repeat for several.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            label: column with the classes.
            seed: seed of halves and controls.
            shift: pictures of the same classes, elsewhere: NAME=DATA; repeat.
            ood: pictures of none of the classes: NAME=DATA; repeat.
            cues: pictures with shape and texture of two classes: NAME=DATA; repeat.
            group: column with groups, such as domain; all splits are one then.
            only: audits to run, with commas (default: all).
            budget: seconds for all rows; those that are finished by then are shown.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def caption(
        self,
        table: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        references: str = "caption*",
        texts: Any = None,
        judge: str | Backbone | None = None,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Caption the test (or val) photos by every captioner; gains over the nearest sentence.

        Args:
            table: a table of photos with human captions.
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            references: its columns of captions.
            texts: sentences to learn from (default: the captions of the train split).
            judge: another backbone, which gives CLIPScore.
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def curate(
        self,
        data: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        captions: str = "caption*",
        wrong: float = 0.3,
        keep: float = 0.5,
        metadata: str | Path = "wordnet",
        head: str | Path | None = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Run every curator on captioned photos, some with swapped captions; gains are over a random choice of as many
        pairs.

        Args:
            data: a table of photos with captions.
            model: a name, a loaded model, or None for ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            captions: its columns of captions.
            wrong: share of the pairs whose captions are swapped.
            keep: share of the pairs that is kept.
            metadata: wordnet, a JSON list, or a file with one entry per line; for metaclip.
            head: a head that 'curate head' wrote, by whose scores pairs are kept.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def extend(
        self,
        clips: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        names: NamesLike = None,
        template: str = "a photo of a {}.",
        frames: int = 8,
        fitted: Any = (),
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Fit every extender on labelled clips and classify the held-out ones; gains are over the mean of the frames.

        Args:
            clips: a folder with train and test (or val): CLASS/CLIP. Or point clouds, or light curves with classes.
            model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            names: class names: a file, or "cat, dog, ..." (default: folder names).
            template: one prompt with {}.
            frames: frames sampled from each clip. Must be at least 1.
            fitted: folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system is fitted beside them but those of the baseline rows.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def finetune(
        self,
        data: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        parts: str = "heads",
        also: Any = (),
        captions: str = "",
        lr: float | None = None,
        epochs: int = 10,
        train_batch: int = 64,
        decay: float = 0.0,
        templates: TemplatesLike = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Fine-tune by every system from the same start, and measure the held-out rows; gains over the backbone before.

        Args:
            data: class folders with train and test, or a table with labels or captions.
            model: a name, a loaded model, or None for ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            parts: parts to train: all, heads (on frozen towers: minutes on a CPU), image, text.
            also: other labelled data, measured before and after, to show what is forgotten.
            captions: column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.
            lr: learning rate (default: 1e-5, and 3e-4 for heads). Must be at least 0.
            epochs: passes over the training rows. Must be at least 1.
            train_batch: batch size: rows in one step. Must be at least 2.
            decay: weight decay. Must be at least 0.
            templates: a file of prompts, or one prompt with {}; repeat for several (default: one prompt).
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def pretrain(
        self,
        table: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        seeds: int | Sequence[int] = (1, 2, 3),
        budget: float | None = None,
        parts: str = "heads",
        also: Any = (),
        captions: str = "",
        lr: float | None = None,
        epochs: int = 10,
        train_batch: int = 128,
        decay: float = 0.2,
        regions: str | Path | None = None,
        rewrites: str | Path | None = None,
        scorer: str | Backbone | None = None,
        teacher: str | Backbone | None = None,
        language_model: str | None = None,
        proposer: str | None = None,
        steps: int | None = None,
        seconds: float | None = None,
        base: str = "before",
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[BoardRow]:
        """Train by every objective from the same start on captioned photos, and measure the held-out ones: retrieval, other
        sets by class names, regions and a dense probe where there are boxes.

        Args:
            table: a table of photos with captions, or painted scenes: scenes, scenes:small.
            model: a name, a loaded model, or None for ``lite``.
            methods: systems, with commas, as NAME or NAME:VARIANT (default: all of the verb).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            seeds: seeds of draws and trainings.
            budget: seconds for all rows; those that are finished by then are shown.
            parts: parts to train: all, heads (on frozen towers: minutes on a CPU), image, text.
            also: other labelled data, measured before and after, to show what is forgotten.
            captions: column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.
            lr: learning rate (default: 1e-5, and 3e-4 for heads). Must be at least 0.
            epochs: passes over the training rows. Must be at least 1.
            train_batch: batch size: rows in one step. Must be at least 2.
            decay: weight decay. Must be at least 0.
            regions: a table with a box and a phrase in each row, for systems that read regions.
            rewrites: rewritten captions, for systems that draw among them: a .json pool or recorded .jsonl.
            scorer: backbone that scores captions, for systems that choose them (default: its own).
            teacher: backbone that teaches, for systems that distil one into another.
            language_model: language model that reads the texts, for systems with such a text tower: smollm2, hf:org/name, a folder.
            proposer: finds regions where the data have none: merged-cells, or a detector or mask model of transformers.
            steps: train every objective for this many steps, instead of epochs. Must be at least 1.
            seconds: train every objective for this many seconds (CPU time on a CPU); with steps too, each is trained both ways.
            base: baseline of the gains: "before", or an objective trained for the same length.
            out: folder for rows and board. None: no row is kept.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def several_labels(
        self,
        table: str | PathLike[str],
        model: ModelLike = None,
        *,
        labels: str = "labels",
        separator: str = ";",
        path: str = "path",
        method: str | Classifier | System[Classifier] = "zero-shot",
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        templates: TemplatesLike = None,
        texts: TextsLike = None,
        seed: int = 0,
    ) -> Results[ClassThreshold]:
        """Choose a threshold for each class on half of the photos, and measure on the other half.

        Args:
            table: a .csv, .tsv or .parquet with paths and several labels per row.
            model: a name, a loaded model, or None for ``lite``.
            labels: column of the labels.
            separator: separator of labels.
            path: column of the picture files.
            method: a system that needs no labels.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            templates: a file of prompts, or one prompt with {}; repeat for several (default: seven prompts).
            texts: descriptions of the classes: a JSON pool, or one that ships (default: the data set's).
            seed: seed of the two halves.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def few_shot(
        self,
        data: Any,
        out: str | PathLike[str],
        model: ModelLike = None,
        *,
        methods: str | Sequence[str] | None = (),
        settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
        shots: int | Sequence[int] = (1, 2, 4, 8, 16),
        seeds: int | Sequence[int] = (1, 2, 3),
        val: str = "coop",
        cross: Any = (),
        shifted: Any = (),
        texts: TextsLike = None,
        overwrite: bool = False,
    ) -> Results[Reach]:
        """Measure shots 1 to 16, base to new classes, other data sets and shifted test sets, with three seeds.

        Args:
            data: a folder with train and test, a table, or demo:clothes.
            out: results folder; the same command resumes from it.
            model: a name, a loaded model, or None for ``lite``.
            methods: names of systems, with commas, as diptych systems lists them (default: all).
            settings: a setting of a system, such as SLUG.epochs=100; repeat for several.
            shots: training photos of each class.
            seeds: seeds of the draws.
            val: coop: choose on min(shots, 4) val items per class; full: on all of val; none: choose nothing, with settings that are the same for all data sets.
            cross: another data set, with its own classes; repeat for several.
            shifted: a test set of the same classes that looks different; repeat for several.
            texts: descriptions of the classes: a JSON pool, or one that ships (default: the data set's).
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

board: _Board

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
    fit_workers: int = 0,
    n: int = 1,
    rate: float | None = 0.05,
    seed: int = 0,
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> Results[Captions]:
    """Caption each photo, after learning from sentences or from photos with captions.

    Args:
        photos: photos, a folder, a table, or demo:photos.
        texts: sentences to learn from: a list, a .txt with one per line, or a table with caption columns.
        model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
        like: photos with captions to learn from: a table, optionally with a column user, or a folder.
        user: imitate this user of the captions to learn from, for methods that distinguish users.
        clean: for nearest captions: photos like yours that no sentence describes; they set the threshold (default: photos that ship).
        references: columns of the photos' table to measure against, such as "caption_*".
        judge: another backbone, which gives CLIPScore.
        method: a captioner; 'diptych systems --verb caption' lists them.
        variant: variant of the method, such as small; 'diptych systems METHOD' lists them.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
        n: captions of each photo. Must be at least 1.
        rate: for nearest captions: share of photos that no sentence describes and that may get one anyway. Must be in (0, 1).
        seed: seed of trainings and draws.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

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
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> Results[Prediction]:
    """Name what each photo shows, from a list of class names.

    Args:
        photos: photos, videos, point clouds or light curves; a folder, a table, or demo:photos.
        names: class names: "cat, dog, ...", or a file with one name per line (default: folder names).
        model: a name, a loaded model, or None for ``lite``.
        templates: prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts).
        method: a system that learns from no labels: see 'diptych systems'.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        texts: descriptions of the classes, for systems that read them: a JSON pool, or one that ships.
        contexts: contexts that photos may have: general, waterbirds or your own JSON file (general).
        factors: which factors of the contexts to infer (default for general: quality,condition).
        frames: frames sampled from each clip; each folder of pictures then counts as one clip. Must be at least 1.
        regions: a table with one box per row, in pixels: the boxes are used instead of whole photos.
        top: classes shown for each photo. Must be at least 1.
        threshold: leave out classes below this probability. Must be in [0, 1].
        reasons: reasons shown for each photo, from systems that have some. Must be at least 0.
        classifier: a folder that 'board', 'extend' or 'systems --weights' wrote, instead of names.
        sets: with an exported classifier: sets of classes that contain the true one for this share of photos, such as 0.9.
        per_class: make these sets reach their coverage within each class too, if it has enough photos.
        unknown_rate: with an exported classifier: call photos unknown, of known classes at most this share, such as 0.05.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

class _Curate:
    plan: _Curate
    def __call__(
        self,
        sources: str | Path | Sequence[str | Path],
        model: ModelLike = None,
        *,
        method: str | Curator | System[Curator] = "metaclip",
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        image: str = "",
        text: str = "",
        resume: bool = False,
        metadata: str | Path = "wordnet",
        head: Any = "",
        mirror: bool = False,
        phrases: str | Path = "",
        least_words: int = 3,
        merge: Any = (),
        clusters: int = 2000,
        components: int = 25,
        sample: int = 100000,
        attributes: str | Path = "",
        top: int = 64,
        sampled: int = 256,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
        cluster: str | None = None,
        cluster_threads: int = 1,
    ) -> CurationPlan:
        """Look at every pair of a pool once, and write counts of entries, scores, a sample, hashes, or picked tiles.

        Args:
            sources: .txt with one text per line, .csv, .tsv, tars, Parquet, articles in JATS XML, or slides.
            model: a name, a loaded model, or None for ``lite``.
            method: metaclip, clip-score, caption-checks, semdedup, vector-head, biomedica or pathgen.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            image: column with the picture (default: filepath, path, image).
            text: column with the text (default: title, caption, text).
            resume: resume a pass that was killed.
            metadata: wordnet, a JSON list, or a file with one entry per line; for metaclip.
            head: safetensors file of a head; for vector-head.
            mirror: compare with mirror images too; for semdedup.
            phrases: file of forbidden phrases, one per line; for caption-checks.
            least_words: least number of words of a text; for caption-checks. Must be at least 0.
            merge: add an older plan; repeat for several.
            clusters: clusters of pictures; for biomedica. Must be at least 1.
            components: principal components; for biomedica. Must be at least 1.
            sample: pictures that clusters are made from; for biomedica. Must be at least 1.
            attributes: file of phrases to look for, one per line; for pathgen.
            top: tiles per slide by attributes, and by findings; for pathgen. Must be at least 0.
            sampled: tiles per slide by clusters; for pathgen. Must be at least 0.
            out: file of the plan. None: a temporary file, which goes with what is returned.
            overwrite: replace files of an earlier call.
            cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
            cluster_threads: CPUs of each worker.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def apply(
        self,
        source: str | Path,
        plan: Any = "plan.parquet",
        out: str | PathLike[str] | None = None,
        model: ModelLike = None,
        *,
        method: str | Curator | System[Curator] = "metaclip",
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        image: str = "",
        text: str = "",
        resume: bool = False,
        metadata: str | Path = "wordnet",
        head: Any = "",
        mirror: bool = False,
        phrases: str | Path = "",
        least_words: int = 3,
        t: float = 20000,
        tail: float = 0.0,
        share: float = 0.3,
        threshold: float | None = None,
        seed: int = 0,
        votes: str | Path = "",
        taxonomy: str | Path = "",
        only: str | Sequence[str] = (),
        drop: str | Sequence[str] = (),
        most: float | None = None,
        eps: float = 0.05,
        prefer: str = "hard",
        cells: int | None = None,
        rule: str = "vector",
        bits: int = 10,
        precision: float | None = None,
        below: bool = False,
        words: int = 50,
        agent: str | Sequence[str] = (),
        agent_key: str = "",
        cluster: str | None = None,
        cluster_threads: int = 1,
    ) -> CuratedPairs:
        """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet.

        Args:
            source: .txt with one text per line, .csv, .tsv, tars, Parquet, articles in JATS XML, or slides.
            plan: what diptych curate plan wrote.
            out: folder of the kept pairs. It must be given.
            model: a name, a loaded model, or None for ``lite``.
            method: metaclip, clip-score, caption-checks, semdedup, vector-head, biomedica or pathgen.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            image: column with the picture (default: filepath, path, image).
            text: column with the text (default: title, caption, text).
            resume: resume a pass that was killed.
            metadata: wordnet, a JSON list, or a file with one entry per line; for metaclip.
            head: safetensors file of a head; for vector-head.
            mirror: compare with mirror images too; for semdedup.
            phrases: file of forbidden phrases, one per line; for caption-checks.
            least_words: least number of words of a text; for caption-checks. Must be at least 0.
            t: texts an entry may keep by itself; inf keeps all that match. For metaclip.
            tail: choose t so that entries below it have this share of the matches; for metaclip. Must be in [0, 1].
            share: best share of the pool that stays; for clip-score and vector-head. Must be in [0, 1].
            threshold: keep pairs with at least this score instead; for clip-score and vector-head.
            seed: seed of the draws.
            votes: table of labels that people gave to looks; for biomedica.
            taxonomy: JSON of broad labels and narrower ones; for biomedica.
            only: keep pairs of this label; repeat for several.
            drop: drop pairs of this label; repeat for several.
            most: pairs to keep of each label, roughly (default: all); for biomedica.
            eps: duplicates have a cosine of at least 1 minus this; for semdedup.
            prefer: which of a group of duplicates stays: hard, easy or random; for semdedup. Must be one of 'hard', 'easy', 'random'.
            cells: cells that are searched separately; for semdedup. Must be at least 1.
            rule: what makes duplicates: vector, hash, both or either; for semdedup.
            bits: bits in which hashes of duplicates may differ; for semdedup.
            precision: keep pairs above the threshold at which this share is right; for vector-head.
            below: keep low scores; for vector-head.
            words: words of a caption; for pathgen. Must be at least 1.
            agent: MODEL@http://host/v1 for all agents of pathgen, or describe=, revise=, judge= or shorten= before it for one; repeat.
            agent_key: environment variable with the agents' API key.
            cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
            cluster_threads: CPUs of each worker.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def looks(
        self,
        plan: Any = "plan.parquet",
        out: str | PathLike[str] | None = None,
        *,
        method: str | Curator | System[Curator] = "biomedica",
        count: int = 5,
        overwrite: bool = False,
    ) -> Results[Look]:
        """Write a table with a few items of each cluster, for people to label.

        Args:
            plan: what diptych curate plan wrote.
            out: table to fill. None: nothing is written.
            method: the system that planned.
            count: items of each cluster. Must be at least 1.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def head(
        self,
        labelled: Any,
        model: ModelLike = None,
        *,
        positive: str,
        seed: int = 0,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> FittedHead:
        """Fit a head on labelled pictures, for vector-head, and measure it on held-out pictures.

        Args:
            labelled: pictures with classes: folders of classes, or a table.
            model: a name, a loaded model, or None for ``lite``.
            positive: the positive class.
            seed: seed of the held-out pictures.
            out: file of the head. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def regions(
        self,
        photos: Any,
        model: ModelLike = None,
        *,
        captions: str = "",
        proposer: str = "merged-cells",
        agent: str = "",
        agent_key: str = "",
        truth: Any = None,
        out: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> Results[NamedRegions]:
        """Find regions of photos and say what each shows: noun phrases of the captions, or a captioner.

        Args:
            photos: a table or a folder with captions; with an agent, any photos.
            model: a name, a loaded model, or None for ``lite``.
            captions: column of the captions, or a pattern such as 'caption_*'.
            proposer: finds regions: merged-cells, or, as hf:NAME or a folder, an open-vocabulary detector (OWL-ViT, OWLv2), which reads the phrases, or a mask model of transformers.
            agent: MODEL@http://host/v1 that names what it sees in each region, instead of the captions.
            agent_key: environment variable with its API key.
            truth: a table of true boxes with a column category: measures how right the regions are.
            out: table to write, one box per row, which other commands take as regions. None: nothing is written.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

curate: _Curate

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
    fit_workers: int = 0,
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> Results[Detected]:
    """Find anomalous photos and locate the anomalies, from normal photos or from words.

    Args:
        photos: photos, a folder or a table.
        model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
        normal: photos without anomalies, of the same kind.
        thing: what the photos show, such as "hazelnut", for detectors that read it.
        auxiliary: labelled anomalies of other objects to learn from, in MVTec's layout.
        method: a detector (default: winclip-style for words, else feature-memory).
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        rate: flag photos at this rate of false alarms, such as 0.05; needs normal photos. Must be in (0, 1).
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
        seed: seed of draws and trainings.
        out: folder for heat maps and detect.json. None: nothing is written.
        overwrite: replace files of an earlier call.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

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
    inverter: str | None = None,
    denoiser: str | None = None,
    anyway: bool = False,
    segmenter: str | None = None,
    like: object = None,
    frames: int | None = None,
    count: int | None = None,
    seed: int = 0,
    method: str | Editor | System[Editor] | None = None,
    variant: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    fitted: str | Path | None = None,
    fit_workers: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Pair]:
    """Change pictures and clips with words: say what they show, and what they should show.

    Args:
        photos: photos, a folder, a table or clips; none: pictures that the generator draws.
        model: a name, a loaded model, or None for that of ``fitted``, else ``tiny``.
        source: what the pictures show: "a red circle".
        target: what they should show: "a blue circle"; some methods take several.
        subject: a picture of the object to insert, for methods that take one.
        mask: a PNG of a photo's size, white where it may change, for a method that takes it.
        strength: factor on the change; 0 returns the input. Must be at least 0.
        threshold: least relevance of what may change, for a method that has one. Must be at least 0.
        generator: factors, small, or a FILE with StyleGAN2 weights, .pt or .safetensors (default: factors; for photos small).
        inverter: a FILE of e4e or pSp that finds photos in the generator; it may hold the generator too.
        denoiser: small, or local:FOLDER with a diffusers pipeline (default: small).
        anyway: accept words that the generator or denoiser never learnt, although the pictures then show something else.
        segmenter: a segmenter, for a method that takes one.
        like: photos to learn from, for a method that learns from some.
        frames: frames sampled from each clip (default: 8). Must be at least 1.
        count: pictures drawn from the generator (default: 4). Must be at least 1.
        seed: seed of the pictures drawn, and of the training.
        method: an editor; 'diptych systems --verb edit' lists them (default: by the input).
        variant: variant of the method, such as small; "" is the paper's.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
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
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> Embeddings:
    """Write unit embeddings in the files of clip-retrieval: img_emb/img_emb_0.npy and
    metadata/metadata_0.parquet.

    Args:
        photos: a folder, a table, tars, one photo, or demo:photos.
        out: folder to write. None: nothing is written.
        model: a name, a loaded model, or None for ``lite``.
        texts: encode texts instead: a file with one text per line, or one text: "a red car".
        regions: a table with one box per row, in pixels: the boxes are used instead of whole photos.
        parquet: write Parquet of image_id and embedding beside them, in OUT/parquet.
        overwrite: replace files of an earlier call.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

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
    """Write a backbone's encoders as graphs, measure them, and fail (exit code 5) if a bound is broken.

    Args:
        model: a name, a loaded model, or None for ``lite``.
        out: folder to write.
        to: onnx or openvino (float32), or int8 (of the image encoder, for OpenVINO; needs images).
        images: your images, to measure parity and to calibrate int8.
        labelled: a folder of class folders, on which top-1 must not fall.
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
    fit_workers: int = 0,
    fitted: str | Path | None = None,
) -> FittedSpace:
    """Learn classes of clips, point clouds or light curves from labelled ones, and save a space that names others.

    Args:
        data: a folder train/CLASS/CLIP, and test/ or val/: videos or folders of frames, or point clouds. Or one with light_curves.csv and stars.csv.
        out: new folder for the space, and for the tuned weights where there are some. None: nothing is written.
        model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
        names: class names: a file, or "cat, dog, ..." (default: folder names).
        template: one prompt with {} for the class of a clip or cloud.
        method: for clips vifi-clip (tunes the backbone; the order of frames has no effect), or any other extender: see diptych systems --verb extend.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        tunes: full (both towers) or heads (the layers after their pooling; quick; the default).
        frames: frames sampled from each clip (default: 8). Must be at least 1.
        label: with light curves: column of the class in stars.csv.
        epochs: passes over the clips, clouds or curves (default: 50). Must be at least 1.
        seed: seed of the order and the views.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
        fitted: folder of a space that was fitted before, to measure on test or val; nothing is learnt or written.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def finetune(
    data: Any,
    out: str | PathLike[str],
    model: ModelLike = None,
    *,
    parts: str = "all",
    also: Any = (),
    captions: str = "",
    lr: float | None = None,
    epochs: int = 5,
    train_batch: int = 64,
    decay: float = 0.0,
    method: str | Objective | System[Objective] | Recipe | OtherSystem = "wise-ft",
    variant: str = "",
    caption_weights: str | Sequence[float] = (),
    outside: bool = False,
    seed: int = 0,
    resume: bool = False,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    workers: int = 2,
    fit: Fit | None = None,
    steps: int | None = None,
    accumulate: int = 1,
    optimizer: str = "adamw",
    betas: str | Sequence[float] = (0.9, 0.98),
    eps: float = 1e-06,
    warmup: int | None = None,
    schedule: str = "cosine",
    cooldown: int = 0,
    floor: float = 0.0,
    min_lr: float | None = None,
    clip: float = 1.0,
    ema: float | None = None,
    patience: int | None = None,
    unlock: int = 0,
    layer_decay: float = 1.0,
    patch_dropout: float = 0.0,
    crop: float | None = None,
    recolour: bool = False,
    recompute: bool = False,
    text_tokens: int | None = None,
    compile: bool = False,
    shard: bool = False,
    shard_blocks: bool = False,
    shard_offload: bool = False,
    chunk: int | None = None,
    measure_every: int | None = None,
    save_every: int = 50,
    keep: int = 2,
    skip_bad_steps: int = 0,
    log_every: int = 10,
    log: str = "",
    templates: TemplatesLike = None,
) -> Tuned:
    """Fine-tune a backbone on your data; every command then takes it as --backbone local:OUT/model.

    Args:
        data: class folders with train and test, or a table with labels or captions.
        out: folder for model, log, checkpoints and report.
        model: a name, a loaded model, or None for ``lite``.
        parts: parts to train; heads learn on frozen towers, in minutes on a CPU. Must be one of 'all', 'heads', 'image', 'text'.
        also: other labelled data, measured before and after, to show what is forgotten.
        captions: column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.
        lr: learning rate (default: 1e-5, and 3e-4 for heads). Must be at least 0.
        epochs: passes over the training rows. Must be at least 1.
        train_batch: batch size: rows in one step. Must be at least 2.
        decay: weight decay. Must be at least 0.
        method: see diptych systems --verb finetune.
        variant: variant of the method, such as m3 or lwf.
        caption_weights: weight of each column of captions, such as "0.3,0.7": one caption of a row is drawn in each epoch.
        outside: allow paths that lead outside the table's folder, such as absolute ones; only for tables that you trust.
        seed: seed of draws and new weights.
        resume: resume a training that was stopped; a finished one with these settings is returned.
        settings: settings of the system by name, such as temperature=0.07; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        workers: processes that load and augment, 0 for none. Scripts with workers keep their calls below ``if __name__ == "__main__":`` where the system starts processes anew. Must be at least 0.
        fit: all settings of the loop as a ``diptych.train.schedule.Fit``, in place of the arguments of the loop.
        steps: steps of the training, instead of epochs. Must be at least 1.
        accumulate: batches in one step. Pair losses take negatives from all of them, in the memory of one (GradCache). Must be at least 1.
        optimizer: optimiser. Must be one of 'adamw', 'adam', 'radam', 'sgd'.
        betas: betas of Adam, such as "0.9,0.98".
        eps: epsilon of Adam.
        warmup: warm-up: steps in which the rate rises (default: 20, or a tenth of all steps if that is less). Must be at least 0.
        schedule: schedule of the rate after the warm-up. Must be one of 'cosine', 'constant'.
        cooldown: last steps in which a constant rate falls to its floor. Must be at least 0.
        floor: final learning rate, as a share of the learning rate. Must be in [0, 1].
        min_lr: final learning rate itself, such as 1e-6, instead of a share (default: 0). Must be at least 0.
        clip: largest gradient norm; 0: no clipping. Must be at least 0.
        ema: decay of a moving average of the weights, which is then measured and written.
        patience: early stopping: epochs without a lower loss on the split val. Must be at least 1.
        unlock: when one tower learns: last layers of the other one to train too. Must be at least 0.
        layer_decay: layer-wise decay: factor on the rate for each layer nearer to a tower's input.
        patch_dropout: share of the patches that a ViT leaves out in each step.
        crop: random crops with at least this share of the area, such as 0.9, for losses of pairs.
        recolour: random changes of brightness, contrast and hue of crops; some crops grey.
        recompute: gradient checkpointing: less memory, slower.
        text_tokens: token budget: most tokens, padding included, that the text tower reads at once, in groups of similar length. For losses of embeddings alone. Must be at least 1.
        compile: torch.compile for the blocks of towers: faster after a slow start.
        shard: shard weights, optimiser and checkpoints across the processes of torchrun (FSDP2).
        shard_blocks: with sharded weights, gather one block of a tower at a time, not all. For losses of embeddings alone.
        shard_offload: with sharded weights, keep them, their gradients and the optimiser in host memory.
        chunk: rows of the loss's logits in memory at a time, for losses that support it. Must be at least 1.
        measure_every: steps between measurements during training; 0: none (default: each epoch, or a tenth of all steps). Must be at least 0.
        save_every: steps between checkpoints. Must be at least 1.
        keep: how many of the latest checkpoints to keep. Must be at least 1.
        skip_bad_steps: skip up to this many non-finite steps, resuming from the latest checkpoint; 0: stop at the first one. Must be at least 0.
        log_every: steps between lines of the log. Must be at least 1.
        log: where to log, besides log.jsonl and TensorBoard: wandb.
        templates: a file of prompts, or one prompt with {}; repeat for several (default: one prompt).

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        Collapsed: little is left of the spread of the embeddings, or of what the model knew; the trained model is in ``out/doubted``.
    """

def generate(
    texts: str | Sequence[str],
    model: ModelLike = None,
    *,
    denoiser: str = "small",
    anyway: bool = False,
    negative: str = "",
    count: int = 4,
    steps: int | None = None,
    guidance: float = 3.0,
    scheduler: str | None = None,
    lora: str | Path | None = None,
    seed: int = 0,
    method: str | Editor | System[Editor] | None = None,
    variant: str = "",
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    like: object = None,
    fitted: str | Path | None = None,
    fit_workers: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Pair]:
    """Make pictures from words.

    Args:
        texts: what the pictures should show: "a red circle".
        model: a name, a loaded model, or None for that of ``fitted``, else ``tiny``.
        denoiser: small, or local:FOLDER with a diffusers pipeline.
        anyway: accept words that the small denoiser never learnt, although the pictures then show something else.
        negative: what the pictures should not show: "blurred, grey".
        count: pictures made of each text. Must be at least 1.
        steps: steps of sampling; 10 unless given with the small denoiser, 25 with others. Must be at least 1.
        guidance: guidance scale, how strongly the text counts; 1 is no guidance. Must be at least 0.
        scheduler: ddim, or of a pipeline euler, euler-a, dpm++, unipc or pndm; of flow matching euler-flow or heun-flow (default: ddim, or euler-flow).
        lora: FOLDER with a LoRA of the pipeline, in safetensors.
        seed: seed of the noise, and of a training.
        method: a system that draws pictures from words, instead of the denoiser.
        variant: variant of the method; 'diptych systems METHOD' lists them.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        like: photos with captions to learn from, for a method that learns.
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
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
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> PhotoIndex:
    """Make a search index of photos and captions, or add to one; unchanged files are not read again.

    Args:
        photos: photos, folders, tables with captions, .tar files, vectors, or demo:photos; light curves.
        out: folder of the index, or lance:FOLDER, s3://BUCKET/NAME, qdrant://HOST:PORT/NAME; made if absent, else added to, with its backbone. None: nothing is written.
        model: a name, a loaded model, or None for that of the index, or ``lite`` where it is made.
        remove: delete entries: a path, or a pattern such as "*/holiday/*".
        prune: delete entries below PHOTOS whose files are gone.
        ann: build the approximate index now, whatever the size (extra: index).
        cut: mark right answers, so that a search can leave out weak ones: captions, a column, or a .csv file.
        export: copy the index to NAME.lance (extra: lance) or NAME.parquet, for other tools.
        image: column of a table with the picture's path.
        caption: column of a table with the caption.
        frames: these are clips: frames sampled from each (videos: 8). Must be at least 1.
        regions: a table with one box per row, in pixels: the boxes are used instead of whole photos.
        overwrite: replace files of an earlier call.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

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
    fit_workers: int = 0,
    threshold: float | None = None,
    one_to_one: bool = False,
    groups: Any = None,
    text_columns: str | Sequence[str] = (),
    image_columns: str | Sequence[str] = (),
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Results[Link]:
    """Link matching records of two tables by pictures and texts; labelled pairs choose the threshold.

    Args:
        left: a table, folder or tar of records: pictures, texts or both.
        right: the table in which to look for matches.
        model: a name, a loaded model, or None for that of ``fitted``, else ``lite``.
        pairs: labelled matches: a table with the columns left and right; in Python also (left, right) of each.
        ids: columns that name records, in the labelled matches and in the links: LEFT,RIGHT (default: rows from 0).
        method: a retriever; see diptych systems --verb retrieve.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        variant: its variant (clippings: maps with pairs, else mean).
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
        threshold: link pairs with at least this score (default: chosen on labelled matches).
        one_to_one: link each record at most once.
        groups: CSV of all records and their groups: records that are linked, directly or through others.
        text_columns: columns with the texts: LEFT,RIGHT or one for both.
        image_columns: columns with the pictures: LEFT,RIGHT or one for both.
        out: CSV to write. None: nothing is written.
        overwrite: replace files of an earlier call.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def pretrain(
    data: Any,
    out: str | PathLike[str],
    model: ModelLike = None,
    *,
    parts: str = "all",
    also: Any = (),
    captions: str = "",
    lr: float | None = None,
    epochs: int = 10,
    train_batch: int = 128,
    decay: float = 0.2,
    method: str | Objective | System[Objective] | Recipe | OtherSystem = "clip-loss",
    variant: str = "",
    caption_weights: str | Sequence[float] = (),
    outside: bool = False,
    seed: int = 0,
    resume: bool = False,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    workers: int = 2,
    fit: Fit | None = None,
    steps: int | None = None,
    accumulate: int = 1,
    optimizer: str = "adamw",
    betas: str | Sequence[float] = (0.9, 0.98),
    eps: float = 1e-06,
    warmup: int | None = None,
    schedule: str = "cosine",
    cooldown: int = 0,
    floor: float = 0.0,
    min_lr: float | None = None,
    clip: float = 1.0,
    ema: float | None = None,
    patience: int | None = None,
    unlock: int = 0,
    layer_decay: float = 1.0,
    patch_dropout: float = 0.0,
    crop: float | None = None,
    recolour: bool = False,
    recompute: bool = False,
    text_tokens: int | None = None,
    compile: bool = False,
    shard: bool = False,
    shard_blocks: bool = False,
    shard_offload: bool = False,
    chunk: int | None = None,
    measure_every: int | None = None,
    save_every: int = 50,
    keep: int = 2,
    skip_bad_steps: int = 0,
    log_every: int = 10,
    log: str = "",
    regions: str | Path | None = None,
    rewrites: str | Path | None = None,
    scorer: str | Backbone | None = None,
    teacher: str | Backbone | None = None,
    language_model: str | None = None,
    proposer: str | None = None,
    scratch: bool = False,
    denoiser: str = "small",
    stream: bool = False,
    shuffle: int = 4096,
    held_out: int = 256,
    resampled: bool = False,
    weights: str | Sequence[float] = (),
    lanes: int = 8,
) -> Tuned:
    """Train a backbone on captioned photos; every command then takes it as --backbone local:OUT/model.

    Args:
        data: a table with paths and captions, a folder with captions, or tars, several joined by "::"; for some, photos alone.
        out: folder for model, log, checkpoints and report.
        model: a name, a loaded model, or None for ``lite``.
        parts: parts to train; heads learn on frozen towers, in minutes on a CPU. Must be one of 'all', 'heads', 'image', 'text'.
        also: other labelled data, measured before and after, to show what is forgotten.
        captions: column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.
        lr: learning rate (default: 1e-5, and 3e-4 for heads). Must be at least 0.
        epochs: passes over the training rows. Must be at least 1.
        train_batch: batch size: rows in one step. Must be at least 2.
        decay: weight decay. Must be at least 0.
        method: see diptych systems --verb pretrain.
        variant: variant of the objective, such as loob; see diptych systems NAME.
        caption_weights: weight of each column of captions, such as "0.3,0.7": one caption of a row is drawn in each epoch.
        outside: allow paths that lead outside the table's folder, such as absolute ones; only for tables that you trust.
        seed: seed of draws and new weights.
        resume: resume a training that was stopped; a finished one with these settings is returned.
        settings: settings of the system by name, such as temperature=0.07; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        workers: processes that load and augment, 0 for none. Scripts with workers keep their calls below ``if __name__ == "__main__":`` where the system starts processes anew. Must be at least 0.
        fit: all settings of the loop as a ``diptych.train.schedule.Fit``, in place of the arguments of the loop.
        steps: steps of the training, instead of epochs. Must be at least 1.
        accumulate: batches in one step. Pair losses take negatives from all of them, in the memory of one (GradCache). Must be at least 1.
        optimizer: optimiser. Must be one of 'adamw', 'adam', 'radam', 'sgd'.
        betas: betas of Adam, such as "0.9,0.98".
        eps: epsilon of Adam.
        warmup: warm-up: steps in which the rate rises (default: 20, or a tenth of all steps if that is less). Must be at least 0.
        schedule: schedule of the rate after the warm-up. Must be one of 'cosine', 'constant'.
        cooldown: last steps in which a constant rate falls to its floor. Must be at least 0.
        floor: final learning rate, as a share of the learning rate. Must be in [0, 1].
        min_lr: final learning rate itself, such as 1e-6, instead of a share (default: 0). Must be at least 0.
        clip: largest gradient norm; 0: no clipping. Must be at least 0.
        ema: decay of a moving average of the weights, which is then measured and written.
        patience: early stopping: epochs without a lower loss on the split val. Must be at least 1.
        unlock: when one tower learns: last layers of the other one to train too. Must be at least 0.
        layer_decay: layer-wise decay: factor on the rate for each layer nearer to a tower's input.
        patch_dropout: share of the patches that a ViT leaves out in each step.
        crop: random crops with at least this share of the area, such as 0.9, for losses of pairs.
        recolour: random changes of brightness, contrast and hue of crops; some crops grey.
        recompute: gradient checkpointing: less memory, slower.
        text_tokens: token budget: most tokens, padding included, that the text tower reads at once, in groups of similar length. For losses of embeddings alone. Must be at least 1.
        compile: torch.compile for the blocks of towers: faster after a slow start.
        shard: shard weights, optimiser and checkpoints across the processes of torchrun (FSDP2).
        shard_blocks: with sharded weights, gather one block of a tower at a time, not all. For losses of embeddings alone.
        shard_offload: with sharded weights, keep them, their gradients and the optimiser in host memory.
        chunk: rows of the loss's logits in memory at a time, for losses that support it. Must be at least 1.
        measure_every: steps between measurements during training; 0: none (default: each epoch, or a tenth of all steps). Must be at least 0.
        save_every: steps between checkpoints. Must be at least 1.
        keep: how many of the latest checkpoints to keep. Must be at least 1.
        skip_bad_steps: skip up to this many non-finite steps, resuming from the latest checkpoint; 0: stop at the first one. Must be at least 0.
        log_every: steps between lines of the log. Must be at least 1.
        log: where to log, besides log.jsonl and TensorBoard: wandb.
        regions: a table with a box and a phrase in each row, for systems that read regions.
        rewrites: rewritten captions, for systems that draw among them: a .json pool or recorded .jsonl.
        scorer: backbone that scores captions, for systems that choose them (default: its own).
        teacher: backbone that teaches, for systems that distil one into another.
        language_model: language model that reads the texts, for systems with such a text tower: smollm2, hf:org/name, a folder.
        proposer: finds regions where the data have none: merged-cells, or a detector or mask model of transformers.
        scratch: start from random weights of the backbone's shape.
        denoiser: denoiser that teaches details, for systems that learn from one: small, or local:FOLDER with a diffusers pipeline.
        stream: read a .csv, .tsv or Parquet file as a stream; tars, and a folder of them, always are one.
        shuffle: size of the shuffle buffer, in pairs. Must be at least 1.
        held_out: pairs at the start of a stream to hold out for measuring. Must be at least 2.
        resampled: draw shards with replacement, instead of each once per epoch.
        weights: with sources joined by "::", how often a shard of each is drawn, such as "2,1"; they are then drawn with replacement.
        lanes: shards that a process reads at once: as many of its workers read as divide this number. Must be in [1, 256].

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        Collapsed: little is left of the spread of the embeddings, or of what the model knew; the trained model is in ``out/doubted``.
    """

def recommend(
    data: Any,
    model: ModelLike = None,
    *,
    names: NamesLike = None,
    templates: TemplatesLike = None,
    methods: Sequence[str] = (),
    folds: int = 5,
    most: int = 32,
    seed: int = 0,
) -> Results[Candidate]:
    """Recommend a classifier for your labelled photos, with the gain to expect; test photos are not used.

    Args:
        data: a folder of class folders, or a table with labels. With splits, train and val are used.
        model: a name, a loaded model, or None for ``lite``.
        names: class names: a file, or "cat, dog, ..." (default: folder names).
        templates: a file of prompts, or one prompt with {}; repeat for several (default: seven prompts).
        methods: classifiers to compare, with commas (default: all that learn from labelled photos in seconds).
        folds: cross-validation folds: each is predicted by what was fitted on the others. Must be at least 2.
        most: largest number of photos per class. Must be at least 2.
        seed: seed of the folds, and of the draw if there are more photos.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def rewrite(
    prompts: str | Sequence[str],
    model: ModelLike = None,
    *,
    like: object = None,
    method: str | Rewriter | System[Rewriter] = "uf-fgtg",
    variant: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    choices: int = 5,
    denoiser: str = "small",
    fitted: str | Path | None = None,
    fit_workers: int = 0,
    seed: int = 0,
) -> Results[Rewrites]:
    """Write longer prompts from short ones, several of each to choose from.

    Args:
        prompts: a .txt file with one prompt per line, or prompts.
        model: a name, a loaded model, or None for that of ``fitted``, else ``tiny``.
        like: photos with a short and a long caption each to learn from: a table or folder.
        method: a rewriter; 'diptych systems --verb rewrite' lists them.
        variant: variant of the method; uf-fgtg has small (default), text (no denoiser), and "", the paper's.
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        choices: rewrites of each prompt. Must be at least 1.
        denoiser: small, or local:FOLDER with a diffusers pipeline.
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
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
) -> Results[Hit]:
    """Find the entries nearest to words, pictures, or both.

    Args:
        folder: folder or address of diptych index.
        query: words and pictures, added up: "a red car" photo.jpg "2:at night".
        model: a name, a loaded model, or None for that of the index.
        minus: words or pictures to move away from, such as "0.5:snow".
        where: condition on metadata: label=cat, "year>=1990", "name~*holiday*".
        top: number of answers. Must be at least 1.
        captions: share of the captions in the score (default 0). Must be in [0, 1].
        exact: compare with every entry, instead of an approximate search.
        at_least: keep answers above a cut where this share is expected to be right, such as 0.8; an index of another backbone than lite needs marked answers. Must be in (0, 1).

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

def segment(
    photos: object,
    names: NamesLike = None,
    model: ModelLike = None,
    *,
    templates: TemplatesLike = None,
    method: str | Segmenter | System[Segmenter] | None = None,
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
    teacher: str = "lite:2026-11",
    proposer: str = "auto",
    masks: Any = None,
    fitted: str | Path | None = None,
    fit_workers: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    cluster: str | None = None,
    cluster_threads: int = 1,
) -> Results[Segmented]:
    """Mark which pixels of each photo show which class, from a list of class names.

    Args:
        photos: photos, a folder, a table, or demo:photos.
        names: class names: "cat, dog, ...", or a file with one name per line (default: folder names).
        model: a name, a loaded model, or None for that of ``fitted``, else ``lite:2026-11``.
        templates: prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts).
        method: a segmenter; 'diptych systems --verb segment' lists them (default: maskclip on backbones with an image tower, stuff-context on others, such as lite).
        settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
        background: words for everything else, such as "sky, wall, floor".
        threshold: pixels below this probability are background. Must be in [0, 1].
        unknown: leave pixels below this probability without a class. Must be in [0, 1].
        risk: share of a photo's pixels that may be labelled wrongly; calibration photos set the probability below which pixels are unknown (default with these: 0.1). Must be in (0, 1).
        calibration: photos with label maps that the method does not learn from (split val, else train); a risk of 0.1 needs ten.
        things: names whose objects are counted, "cat, dog" or all: instance and panoptic maps.
        void: values of label maps to ignore, besides those marked: "0".
        confidence: also give the probability of each pixel.
        regions: a table with one box per row, in pixels: the boxes are used instead of whole photos.
        unlabelled: photos without labels to learn from, about a hundred.
        captioned: a table of photos with captions to learn from, at least a hundred.
        train: photos with label maps to learn from, about a hundred.
        teacher: backbone whose image encoder teaches, for a method that asks for one.
        proposer: mask proposer, for a method that asks for one: auto (ranked-cells for ovseg, else merged-cells), merged-cells, ranked-cells, a Mask2Former, CLIPSeg, OWLv2 or SAM as hf:NAME, a folder or SAM's .pth.
        masks: SAM or SAM 2 for a method that uses one: hf:NAME, a folder or SAM's .pth; a loaded one in Python.
        fitted: folder of the fitted system: read if it exists, else written.
        fit_workers: processes that load and augment while a system is trained; 0: the training process does it itself. Must be at least 0.
        out: folder for overlays, label maps and areas. None: nothing is written.
        overwrite: replace files of an earlier call.
        cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
        cluster_threads: CPUs of each worker.

    Raises:
        UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
    """

class CurationPlan(Planned):
    """A plan over a pool of pairs, which chooses from this pool. It keeps the system, its settings and the model."""

    def apply(
        self,
        out: str | PathLike[str] | None = None,
        *,
        settings: Mapping[str, Any] | Sequence[str] | None = None,
        resume: bool = False,
        t: float = 20000,
        tail: float = 0.0,
        share: float = 0.3,
        threshold: float | None = None,
        seed: int = 0,
        votes: str | Path = "",
        taxonomy: str | Path = "",
        only: str | Sequence[str] = (),
        drop: str | Sequence[str] = (),
        most: float | None = None,
        eps: float = 0.05,
        prefer: str = "hard",
        cells: int | None = None,
        rule: str = "vector",
        bits: int = 10,
        precision: float | None = None,
        below: bool = False,
        words: int = 50,
        agent: str | Sequence[str] = (),
        agent_key: str = "",
        cluster: str | None = None,
        cluster_threads: int = 1,
    ) -> CuratedPairs:
        """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet.

        Args:
            out: folder of the kept pairs. It must be given.
            settings: settings of the system by name, such as epochs=100; 'published' takes those of the authors. 'diptych systems SLUG' lists them.
            resume: resume a pass that was killed.
            t: texts an entry may keep by itself; inf keeps all that match. For metaclip.
            tail: choose t so that entries below it have this share of the matches; for metaclip. Must be in [0, 1].
            share: best share of the pool that stays; for clip-score and vector-head. Must be in [0, 1].
            threshold: keep pairs with at least this score instead; for clip-score and vector-head.
            seed: seed of the draws.
            votes: table of labels that people gave to looks; for biomedica.
            taxonomy: JSON of broad labels and narrower ones; for biomedica.
            only: keep pairs of this label; repeat for several.
            drop: drop pairs of this label; repeat for several.
            most: pairs to keep of each label, roughly (default: all); for biomedica.
            eps: duplicates have a cosine of at least 1 minus this; for semdedup.
            prefer: which of a group of duplicates stays: hard, easy or random; for semdedup. Must be one of 'hard', 'easy', 'random'.
            cells: cells that are searched separately; for semdedup. Must be at least 1.
            rule: what makes duplicates: vector, hash, both or either; for semdedup.
            bits: bits in which hashes of duplicates may differ; for semdedup.
            precision: keep pairs above the threshold at which this share is right; for vector-head.
            below: keep low scores; for vector-head.
            words: words of a caption; for pathgen. Must be at least 1.
            agent: MODEL@http://host/v1 for all agents of pathgen, or describe=, revise=, judge= or shorten= before it for one; repeat.
            agent_key: environment variable with the agents' API key.
            cluster: let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.
            cluster_threads: CPUs of each worker.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """

    def looks(
        self,
        out: str | PathLike[str] | None = None,
        *,
        count: int = 5,
        overwrite: bool = False,
    ) -> Results[Look]:
        """Write a table with a few items of each cluster, for people to label.

        Args:
            out: table to fill. None: nothing is written.
            count: items of each cluster. Must be at least 1.
            overwrite: replace files of an earlier call.

        Raises:
            UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.
        """
