"""What PyTorch itself writes."""

from collections import OrderedDict

import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.formats.torch_pth import read_pth

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@LAYOUTS
def test_a_network_and_every_type(tmp_path, zipped):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    base = torch.arange(24).reshape(2, 3, 4)
    types = (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8)
    extra = {str(dtype): base.to(dtype) for dtype in (*types, torch.uint8, torch.bool)}
    extra |= {"permuted": base.permute(2, 0, 1), "slice": base[:, 1:, ::2], "scalar": torch.tensor(2.5)}
    extra |= {"expanded": torch.ones(1, 3).expand(2, 3), "parameter": torch.nn.Parameter(torch.ones(2))}
    state = OrderedDict(network.state_dict(), **extra)
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    read = read_pth(tmp_path / "x.pth")
    assert list(read) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().numpy()
        np.testing.assert_array_equal(read[name], expected)
        assert read[name].dtype == expected.dtype


@LAYOUTS
def test_bfloat16(tmp_path, zipped):
    values = torch.randn(50).bfloat16()
    torch.save({"x": values}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    np.testing.assert_array_equal(read_pth(tmp_path / "x.pth")["x"], values.float().numpy())


@LAYOUTS
def test_a_whole_model_is_refused(tmp_path, zipped):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"refused: it asks for .*Linear"):
        read_pth(tmp_path / "x.pth")
