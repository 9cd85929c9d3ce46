"""The seeded point clouds of ``diptych.testing``."""

from diptych.testing.samples import cloud_task, clouds, shape, shapes

__all__ = ["cloud_task", "clouds", "shape", "shapes"]
