"""Answers of ``classify`` by what was fitted before: an exported classifier, or a space with its classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import Backbone, Run
    from diptych.tasks.classified import Classified
    from diptych.tasks.classify_samples import Source


def space_in(given: Any) -> Any:
    """Return the fitted space with its classes that a model is; anything else as it is."""
    return getattr(getattr(given, "loaded", None), "classifier", given)


def by_classifier(
    verb: Any, ready: Any, source: Source, run: Callable[[], Run], load: Callable[[str], Backbone], stated: Any
) -> tuple[Classified, Run]:
    """Return the answer of a fitted classifier, and the run of it.

    Args:
        verb: the ``Classify`` that asks.
        ready: the classifier, the space, or the folder of one.
        source: what is classified.
        run: makes the run of the options, where the classifier has none.
        load: loads the backbone that a folder names.
        stated: what the folder of a fitted space says of it; None: ``ready`` is no such folder.

    Raises:
        UsageError: ``ready`` is none of these, or cannot give what is asked.
    """
    from diptych.tasks.classify_samples import by_folder
    from diptych.tasks.classify_with_model import answer
    from diptych.tasks.model import Predictor
    from diptych.tasks.space_classifier import SpaceClassifier, classify_samples

    shown: dict[str, Any] = {"top": verb.top, "threshold": verb.threshold}
    promised = ("sets", "per_class", "unknown_rate", "reasons")
    promises: dict[str, Any] = {name: getattr(verb, name) for name in promised}
    if isinstance(space := space_in(ready), SpaceClassifier):
        by = source.run(getattr(ready, "run", None) or run())
        return classify_samples(source.samples, space, by, **shown), by
    if isinstance(ready, Predictor):
        by = source.run(ready.run)
        return answer(source.samples, ready, by, name=verb.served, **shown, **promises), by
    if not isinstance(ready, (str, Path)):
        raise UsageError(f"{{classifier}} is a folder or a fitted classifier, not {type(ready).__name__}.")
    return by_folder(source, Path(ready).expanduser(), load, run, stated, **shown, **promises)
