"""What controls have wrong: names, texts, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from diptych.core import ClassNames, Evidence, Run
from diptych.evaluation.spoils import Altered, applied, as_subclass, shuffled_names


@dataclass(frozen=True)
class System:
    size: int = 1


class Broken(System):
    pass


def test_a_subclass_keeps_the_settings_and_the_evidence_may_change_too() -> None:
    classes, evidence, run = ClassNames(("a", "b")), Evidence[int](), Run()
    altered = as_subclass(Broken)
    system, same, given = applied(altered, System(3), classes, evidence, run)
    assert (type(system), system.size) == (Broken, 3)
    assert (same, given) == (classes, evidence)
    both = Altered(altered.change, shuffled_names)
    system, names, _ = applied(both, System(3), classes, evidence, run)
    assert (type(system), names.names) == (Broken, ("b", "a"))
    assert applied(None, system, classes, evidence, run) == (system, classes, evidence)


def test_no_class_keeps_its_own_name() -> None:
    classes = ClassNames(tuple("abcdefg"), ("a photo of {}.",))
    for seed in range(5):
        shuffled, _ = shuffled_names(classes, Evidence[int](), replace(Run(), seed=seed))
        assert sorted(shuffled.names) == list(classes.names)
        assert not np.equal(shuffled.names, classes.names).any()
        assert shuffled.templates == classes.templates
