"""Published weights of the comparison methods become a model that colours; what cannot be read is refused."""

import h5py
import jax
import numpy as np
import pytest
from pth_files import write_pth
from small_files import iizuka_arrays, random_layer, write_caffemodel, zhang_blobs, zhang_tensors

from semcolor_jax.baselines.published import load_published
from semcolor_jax.baselines.registry import default_config
from semcolor_jax.checkpoints import published
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.cli.main import main
from semcolor_jax.errors import UserError
from semcolor_jax.inference.restore import load_colorizer, load_predictor


@pytest.fixture
def small(monkeypatch):
    """Makes the command build networks a 64th as wide as the published ones, for files as small."""

    def thin(method):
        config = default_config(method)
        config.model.width = 1
        return config

    monkeypatch.setattr(published, "default_config", thin)


def test_a_converted_zhang_network_decodes_at_the_papers_temperature(tmp_path, rng, small):
    """T = 1 is dull; the temperature belongs to the method, whatever file its weights come from."""
    published.convert("zhang2016", write_pth(tmp_path / "x.pth", zhang_tensors(rng)), tmp_path / "work")
    assert load_config(tmp_path / "work").inference.temperature == 0.38


@pytest.mark.slow
def test_the_command_writes_a_release_that_colours(tmp_path, rng, small, monkeypatch):
    file = write_caffemodel(tmp_path / "x.caffemodel", zhang_blobs(rng))
    main(["model", "convert", "zhang2016", str(file), "-o", str(tmp_path / "work")])
    photo = rng.integers(0, 256, (21, 30, 3)).astype(np.uint8)
    assert load_colorizer(tmp_path / "work")(photo).rgb.shape == photo.shape
    restored = load_predictor(tmp_path / "work").variables
    expected = load_published("zhang2016", file)
    jax.tree.map(np.testing.assert_array_equal, restored["params"], expected.params)
    with pytest.raises(UserError, match="exists already"):
        published.convert("zhang2016", file, tmp_path / "work")


def test_iizukas_converted_file_fits_the_network(tmp_path, rng, small):
    np.savez(tmp_path / "x.npz", allow_pickle=False, **iizuka_arrays(rng))
    published.convert("iizuka2016", tmp_path / "x.npz", tmp_path / "work")
    config = load_config(tmp_path / "work")
    assert (config.model.global_side, config.model.input, config.model.scenes) == (64, "grey", False)


def test_refusals_say_what_is_wrong(tmp_path, rng, small, capsys):
    with pytest.raises(UserError, match="no file"):
        load_published("zhang2016", tmp_path / "missing.pth")
    torch7 = tmp_path / "colornet.t7"
    torch7.write_bytes(b"\x04\x00\x00\x00")
    with pytest.raises(SystemExit) as left:
        main(["model", "convert", "iizuka2016", str(torch7), "-o", str(tmp_path / "work")])
    assert left.value.code == 2
    assert "tools/iizuka_t7_to_npz.py" in capsys.readouterr().err
    with pytest.raises(UserError, match="no published weights of the method 'semcolor'; give one of: iizuka2016, "):
        load_published("semcolor", torch7)
    blobs = zhang_blobs(rng)
    del blobs["conv5_2"]
    with pytest.raises(UserError, match=r"has 0 arrays in layer 'conv5_2', where 2 belong"):
        load_published("zhang2016", write_caffemodel(tmp_path / "x.caffemodel", blobs))
    wide = {**zhang_blobs(rng), "conv2_1": random_layer(rng, 3, 1, 3, 3)}
    with pytest.raises(UserError, match=r"params/conv2_1/.* has the shape"):
        published.convert("zhang2016", write_caffemodel(tmp_path / "y.caffemodel", wide), tmp_path / "work")
    assert not (tmp_path / "work").exists()
    broken = tmp_path / "z.caffemodel.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        load_published("larsson2016", broken)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1.0
    with pytest.raises(UserError, match="no group 'data'"):
        load_published("larsson2016", tmp_path / "other.h5")
