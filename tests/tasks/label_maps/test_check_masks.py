from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.tasks.check import check
from tests.data.test_format import masked

CLASSES = "value,name\n0,sky\n1,cow\n"


def save(root: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(root / "masks" / "a.png")


def test_good_masks_have_no_finding(tmp_path: Path) -> None:
    assert check(masked(tmp_path, CLASSES)).findings == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "cannot be read, such as {}: no such file."),
        (
            np.zeros((30, 40, 3), np.uint8),
            "cannot be read, such as {}: a mask has one number per pixel, and this is RGB",
        ),
        (np.zeros((15, 20), np.uint8), "1 photo has a mask of another size"),
    ],
)
def test_masks_that_stop_a_board_are_errors(tmp_path: Path, values: np.ndarray | None, reason: str) -> None:
    """The board ended by them after minutes, and check had no problem found."""
    masked(tmp_path, CLASSES)
    (tmp_path / "masks" / "a.png").unlink() if values is None else save(tmp_path, values)
    (finding,) = check(tmp_path).findings
    assert (finding.kind, finding.severity) == ("mask", "error")
    assert reason.format(tmp_path / "masks" / "a.png") in finding.message


def test_values_without_a_class_are_noted_with_their_share(tmp_path: Path) -> None:
    masked(tmp_path, CLASSES)
    values = np.zeros((30, 40), np.uint8)
    values[:, :10] = 7
    save(tmp_path, values)
    (finding,) = check(tmp_path).findings
    assert (finding.kind, finding.severity) == ("mask", "note")
    assert finding.message.startswith("25.0% of the pixels of masks")


def test_a_class_called_void_that_is_not_marked_is_a_warning(tmp_path: Path) -> None:
    """Its pixels were measured as a class: a board said so of no photo."""
    (finding,) = check(masked(tmp_path, "value,name\n0,void (ignore)\n1,cow\n")).findings
    assert (finding.severity, finding.message) == ("warning", "'void (ignore)' counts as a class like the others.")
    assert check(masked(tmp_path, "value,name,void\n0,void,1\n1,cow,\n")).findings[0].kind == "mask"
