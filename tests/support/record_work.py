"""The seeded records of ``diptych.testing``."""

from __future__ import annotations

import numpy as np

from diptych.core import Column, Table
from diptych.data.records.records import Records
from diptych.testing.samples import records

__all__ = ["records", "table"]


def table(found: Records, entities: np.ndarray) -> Table:
    return Table(found, {"entity": Column("entity", entities)})
