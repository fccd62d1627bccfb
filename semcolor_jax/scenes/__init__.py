"""Scene labels: teachers that know Places365 categories, and the sidecar file that they write for a folder."""

SMALL_TEACHER = "small"
"""The name of the teacher in this package, where a teacher's file is asked for."""

HEAD_SIDE = 128
"""Pixels a side of the photos that the small teacher looks at, unless another is asked for."""

HEAD_L2 = 1e-2
"""Its regularisation; docs/data.md has the cross-validation that chose it."""
