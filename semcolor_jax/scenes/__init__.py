"""Labels the scenes of photos with Places365 categories, by teacher networks, in a sidecar file for each folder."""

SMALL_TEACHER = "small"
"""The name of this package's teacher, given in place of a file."""

HEAD_SIDE = 128
"""Default side in pixels of the small teacher's input."""

HEAD_L2 = 1e-2
"""Its regularisation; docs/data.md has the cross-validation that chose it."""
