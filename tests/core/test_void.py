from __future__ import annotations

import numpy as np
import pytest

from diptych.core.void import as_map, void_in, void_of


@pytest.mark.parametrize(
    ("classes", "kind", "void"), [(1, np.uint8, 255), (255, np.uint8, 255), (256, np.uint16, 65535)]
)
def test_the_number_of_classes_decides_the_width_and_the_value_of_no_class(classes: int, kind: type, void: int) -> None:
    """The last class and no class are always told apart."""
    labels = as_map(np.array([[0, classes - 1, void]]), classes)
    assert labels.dtype == kind
    assert labels.tolist() == [[0, classes - 1, void]]
    assert void_of(classes) == void_in(labels) == void != classes - 1
