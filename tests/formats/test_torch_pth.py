import contextlib
import io
import pickle
import zipfile

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pth_files import literal, state_dict, tensor, write_legacy, write_pth, write_zip

from semcolor_jax.errors import UserError
from semcolor_jax.formats.torch_pth import read_pth

LAYOUTS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
SIX = np.arange(6, dtype="<f4").tobytes()


@LAYOUTS
@given(
    array=npst.arrays(
        dtype=st.sampled_from(["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]),
        shape=npst.array_shapes(min_dims=0, max_dims=4, max_side=3),
    )
)
def test_tensors_come_back_as_they_were(tmp_path_factory, array, legacy):
    path = tmp_path_factory.mktemp("pth") / "weights.pth"
    read = read_pth(write_pth(path, {"conv.weight": array, "n": np.array(7)}, legacy=legacy))
    assert list(read) == ["conv.weight", "n"]
    np.testing.assert_array_equal(read["conv.weight"], array)
    assert read["conv.weight"].dtype == array.dtype
    assert read["conv.weight"].flags.writeable
    assert read["n"] == 7


def test_views_share_a_storage(tmp_path):
    items = {
        "rows": tensor("FloatStorage", "0", 6, size=(2, 3), stride=(3, 1)),
        "columns": tensor("FloatStorage", "0", 6, size=(3, 2), stride=(1, 3)),
        "end": tensor("FloatStorage", "0", 6, offset=4, size=(2,), stride=(1,)),
        "repeated": tensor("FloatStorage", "0", 6, offset=5, size=(2, 2), stride=(0, 0)),
        "empty": tensor("FloatStorage", "0", 6, offset=6, size=(0, 3), stride=(3, 1)),
    }
    for path in (
        write_zip(tmp_path / "zip.pth", state_dict(items), {"0": SIX}),
        write_legacy(tmp_path / "legacy.pth", state_dict(items), {"0": (6, SIX)}),
    ):
        read = read_pth(path)
        np.testing.assert_array_equal(read["rows"], [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(read["columns"], [[0, 3], [1, 4], [2, 5]])
        np.testing.assert_array_equal(read["end"], [4, 5])
        np.testing.assert_array_equal(read["repeated"], [[5, 5], [5, 5]])
        assert read["empty"].shape == (0, 3)


def test_bfloat16_comes_as_float32(tmp_path):
    values = np.array([1.0, -2.5, 3e38], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    items = {"x": tensor("BFloat16Storage", "0", 3, size=(3,), stride=(1,))}
    read = read_pth(write_zip(tmp_path / "x.pth", state_dict(items), {"0": upper.tobytes()}))["x"]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values, rtol=2**-7)
    np.testing.assert_array_equal(read[:2], values[:2])


def test_big_endian_files(tmp_path):
    items = {"x": tensor("FloatStorage", "0", 2, size=(2,), stride=(1,))}
    path = write_zip(tmp_path / "x.pth", state_dict(items), {"0": np.array([1, 2], ">f4").tobytes()}, byte_order="big")
    read = read_pth(path)["x"]
    np.testing.assert_array_equal(read, [1, 2])
    assert read.dtype == np.float32


def test_a_checkpoint_with_a_state_dict_inside(tmp_path):
    inner = tensor("FloatStorage", "0", 6, size=(6,), stride=(1,))
    pickled = b"\x80\x02}(" + literal("epoch") + literal(3) + literal("state_dict") + b"}(" + literal("w") + inner
    path = write_zip(tmp_path / "checkpoint.pth", pickled + b"uu.", {"0": SIX})
    np.testing.assert_array_equal(read_pth(path)["w"], np.arange(6))


def test_parameters_are_tensors(tmp_path):
    inner = tensor("FloatStorage", "0", 6, size=(6,), stride=(1,))
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + inner + b"\x88" + literal({}) + b"tR"
    path = write_zip(tmp_path / "x.pth", state_dict({"w": parameter}), {"0": SIX})
    np.testing.assert_array_equal(read_pth(path)["w"], np.arange(6))


@pytest.mark.parametrize("module", ["os", "posix", "builtins", "torch", "torch.nn.modules.conv", "numpy"])
def test_other_names_are_refused_and_not_called(tmp_path, module):
    mark = tmp_path / "mark"
    call = f"c{module}\nsystem\n".encode() + b"(" + literal(f"touch '{mark}'") + b"tR"
    pickled = state_dict({"w": call})
    if module == "os":
        pickle.loads(pickled)
        assert mark.exists(), "the attack itself must work, or this test shows nothing"
        mark.unlink()
    for path in (write_zip(tmp_path / "a.pth", pickled, {}), write_legacy(tmp_path / "b.pth", pickled, {})):
        with pytest.raises(UserError, match=rf"refused: it asks for {module}\.system"):
            read_pth(path)
    assert not mark.exists()


def test_a_name_in_the_first_pickle_of_a_legacy_file_is_refused_too(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02cos\nsystem\n(" + literal("true") + b"tR.")
    with pytest.raises(UserError, match="refused"):
        read_pth(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02" + literal([1]) + b".", "holds a list"),
        (b"\x80\x02" + tensor("FloatStorage", "0", 6, size=(6,), stride=(1,)) + b".", "holds a Tensor"),
        (state_dict({"w": literal(1.5)}), "holds a float at 'w'"),
        (b"\x80\x02" + literal({3: 4}) + b".", "at 3"),
        (state_dict({"w": b"ctorch\nFloatStorage\n"}), "holds a StorageType at 'w'"),
    ],
)
def test_other_content_is_named(tmp_path, pickled, message):
    with pytest.raises(UserError, match=message):
        read_pth(write_zip(tmp_path / "x.pth", pickled, {"0": SIX}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1, "size": (2, 3), "stride": (3, 1)},
        {"size": (2, 3), "stride": (4, 1)},
        {"size": (2, 3), "stride": (1,)},
        {"size": (2, 3), "stride": (-3, 1)},
        {"offset": -1, "size": (2,), "stride": (1,)},
        {"size": (10**6, 10**6), "stride": (10**6, 1)},
    ],
)
def test_a_tensor_never_reaches_beyond_its_storage(tmp_path, wrong):
    items = {"w": tensor("FloatStorage", "0", 6, **wrong)}
    with pytest.raises(UserError, match="get it again"):
        read_pth(write_zip(tmp_path / "x.pth", state_dict(items), {"0": SIX}))


def test_a_storage_of_another_length_is_damage(tmp_path):
    items = {"w": tensor("FloatStorage", "0", 6, size=(6,), stride=(1,))}
    for data in (SIX[:-4], SIX + b"....", b""):
        with pytest.raises(UserError, match="instead of 24"):
            read_pth(write_zip(tmp_path / "x.pth", state_dict(items), {"0": data}))
    with pytest.raises(UserError, match="elements instead of 6"):
        read_pth(write_legacy(tmp_path / "y.pth", state_dict(items), {"0": (5, SIX)}))
    with pytest.raises(UserError, match="get it again"):
        read_pth(write_zip(tmp_path / "z.pth", state_dict(items), {}))


def test_compressed_members_are_refused(tmp_path):
    items = {"w": tensor("FloatStorage", "0", 6, size=(6,), stride=(1,))}
    with pytest.raises(UserError, match="is compressed"):
        read_pth(write_zip(tmp_path / "x.pth", state_dict(items), {"0": SIX}, compression=zipfile.ZIP_DEFLATED))


@LAYOUTS
@pytest.mark.parametrize("kept", [0, 1, 40, 200, -30, -1])
def test_a_truncated_file_is_the_users_to_mend(tmp_path, legacy, kept):
    path = write_pth(tmp_path / "x.pth", {"w": np.arange(100.0)}, legacy=legacy)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"x\.pth"):
        read_pth(path)


@given(st.data())
def test_damage_raises_nothing_but_user_errors(tmp_path_factory, data):
    legacy = data.draw(st.booleans())
    path = write_pth(tmp_path_factory.mktemp("pth") / "x.pth", {"w": np.arange(8.0), "b": np.arange(3)}, legacy=legacy)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert all(isinstance(array, np.ndarray) for array in read_pth(path).values())


def test_other_files(tmp_path):
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "other.zip").write_bytes(other.getvalue())
    with pytest.raises(UserError, match="zip archive of something else"):
        read_pth(tmp_path / "other.zip")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="magic number"):
        read_pth(tmp_path / "pickle")
    with pytest.raises(UserError, match=r"absent\.pth cannot be read"):
        read_pth(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="cannot be read"):
        read_pth(tmp_path)
