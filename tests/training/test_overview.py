"""The table of a network's parameters."""

import numpy as np

from semcolor_jax.training.overview import count_parameters, parameter_overview


def test_every_array_has_a_line_and_the_total_is_their_sum():
    params = {
        "head": {"kernel": np.zeros((3, 3, 4, 125), np.float32), "bias": np.zeros(125, np.float16)},
        "scale": np.float32(1),
    }
    lines = parameter_overview(params).splitlines()
    assert lines[0].split() == ["name", "shape", "type", "size"]
    assert " ".join(lines[2].split()) == "head/kernel 3 x 3 x 4 x 125 float32 4,500"
    assert lines[3].split() == ["head/bias", "125", "float16", "125"]
    assert lines[4].split() == ["scale", "scalar", "float32", "1"]
    assert lines[5] == "total: 4,626"
    assert count_parameters(params) == 4626
