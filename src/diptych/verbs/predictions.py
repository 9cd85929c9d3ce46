"""What ``classify`` answers: the classes of each photo, its files, and what a user should know beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core.wording import first_of, number_of, one_line
from diptych.tasks.classified import Promises
from diptych.verbs.answer import Answer, speed
from diptych.verbs.photos import paths_of

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import Run
    from diptych.tasks.classified import Classified, Prediction
    from diptych.tasks.classify_samples import Source


class ClassifyFacts(Promises):
    """Labels of all pictures, and how they were found; those that may be absent come from a calibrated classifier."""

    backbone: str
    method: str
    score: str
    threshold: float | None
    classnames: list[str]
    templates: list[str]
    template_hash: str
    seconds: dict[str, float]
    settings: dict[str, str]


class Labels(Answer["Prediction"]):
    """The classes of each photo, the most likely first; ``asked`` is the ``Classify`` that ran."""

    rows_key = "predictions"

    def __init__(self, verb: Any, result: Classified, source: Source, run: Run | None = None) -> None:
        super().__init__(iter(result.predictions), source.samples)
        self.verb, self.result, self.source, self.by = verb, result, source, run
        self.failed += result.failed
        self.sorted = ""

    def title(self, items: Sequence[Prediction]) -> str:
        """Return how many photos were classified, and by what."""
        what = "photo" if self.source.kind is None else self.source.kind.one
        return f"{number_of(len(items), what)}: {self.result.method} with {self.result.backbone}"

    def names(self) -> list[str]:
        """Return the names of all that could be read."""
        return [p.name for p in self.result.predictions]

    def label(self, item: Prediction) -> str:
        """Return the most likely class."""
        return item.label

    def line(self, item: Prediction) -> str:
        """Return the classes with their probabilities, and the set."""
        shown = "  ".join(f"{one_line(label)} {100 * value:.0f}%" for label, value in item.top)
        shown = shown or "(none above the threshold)"
        if item.unknown:
            shown = f"unknown ({shown})"
        return shown if item.inside is None else f"{shown}  | one of: {', '.join(item.inside)}"

    def printed(self, item: Prediction, name: str) -> str:
        """Return the line, and a line for each reason."""
        reasons = [f"{'':<{len(name)}}    {weight:+.3g}  {text}" for text, weight in item.reasons or ()]
        return "\n".join([super().printed(item, name), *reasons])

    def columns(self, items: Sequence[Prediction]) -> dict[str, list[Any]]:
        """Return the most likely class and its probability."""
        return {"label": [p.label for p in items], "probability": [p.probability for p in items]}

    def classes(self) -> tuple[str, ...]:
        """Return the names of all classes."""
        return () if self.result.table is None else tuple(self.result.classes.names)

    def truth(self, items: Sequence[Prediction]) -> tuple[str, ...]:
        """Return the class of each photo by its folder or table; () where the names that were asked are others."""
        from diptych.data.words.classnames import tidy

        source, names = self.source, set(self.result.classes.names)
        if not source.truth:
            return ()
        of_name = {source.samples.name(i): label for i, label in enumerate(source.truth)}
        true = tuple(of_name.get(item.name, "") for item in items)
        true = tuple(label if label in names else tidy(label) for label in true)
        return true if names.issuperset(true) else ()

    def probabilities(self) -> Any:
        """Return the probabilities of all classes."""
        return self.result.table

    def picture(self, item: Prediction) -> Image.Image | None:
        """Return the photo."""
        from PIL import Image

        samples = self.source.samples
        place = next((i for i in range(len(samples)) if samples.name(i) == item.name), None)
        picture = None if place is None else samples[place]
        return picture if isinstance(picture, Image.Image) else None

    def facts(self) -> ClassifyFacts:
        """Return what answered, with which names, and how long it took."""
        result = self.result
        return {
            "backbone": result.backbone, "method": result.method, "score": result.score, "threshold": result.threshold,
            **result.promises, "classnames": list(result.classes.names), "templates": list(result.classes.templates),
            "template_hash": result.classes.template_hash,
            "seconds": {name: round(value, 4) for name, value in result.seconds.items()},
            "settings": {name: str(value) for name, value in self.verb.given_settings().items()},
        }  # fmt: skip

    def remarks(self, items: Sequence[Prediction]) -> list[str]:
        """Return that names are numbers or not English, that one leaves no choice, and which pictures are specks."""
        from diptych.data.images import SMALL, specks
        from diptych.data.words.classnames import unreadable_names
        from diptych.data.words.english import not_english
        from diptych.tasks.classified import same_symbols

        remarks, names = [], self.result.classes.names
        if not self.verb.is_fitted() and (numbers := unreadable_names(names)):
            remarks.append(numbers)
        if self.verb.names is not None and (foreign := not_english(names, self.result.backbone, self.result.languages)):
            remarks.append(foreign)
        if self.result.table is not None and (same := same_symbols(names, self.result.table)):
            remarks.append(
                f"{self.result.backbone} does not tell {first_of(same)} apart: every photo has the same probability of "
                f"each, so give words."
            )
        if len(names) == 1 and self.result.score == "softmax":
            remarks.append(
                "With one name every photo gets it, at 100 %: add names of what else may be there, with commas between."
            )
        files = paths_of(self.verb.photos) is not None
        if small := specks(p.name for p in self.result.predictions) if files else []:
            remarks.append(
                f"{small[0]} has fewer than {SMALL} pixels, as {len(small)} here: what is said of it means nothing."
            )
        return remarks

    def ends(self) -> list[str]:
        """Return where copies are, and the speed."""
        result, sorted_into = self.result, [self.sorted] if self.sorted else []
        if self.by is None:
            return sorted_into
        return [
            *sorted_into,
            speed(result.encoded, result.seconds["encode"], self.by, result.backbone, self.source.title),
        ]

    def report(self, path: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write a table, a page with the photos, or the plain data."""
        from diptych.data.files import write_whole

        if path.suffix == ".csv":
            write_whole(path, self.result.as_csv(), overwrite=overwrite)
        elif path.suffix == ".html":
            from diptych.tasks.pages import photo_page

            write_whole(path, photo_page.html(self.result, self.source.samples), overwrite=overwrite)
        else:
            super().report(path, data, overwrite=overwrite)
        return []
