"""The vgg_like network once more, in slow numpy, written from the paper's text instead of from our code."""

import numpy as np


def same_convolution(x, layer, stride=1):
    """3x3 cross-correlation of one image (H, W, C) with an HWIO kernel; zero padding as Keras' "same"."""
    before = 1 if stride == 1 else 0  # even sides: stride 2 needs one row more, and it goes to the end
    padded = np.pad(x, [(before, 1), (before, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    windows = windows[::stride, ::stride]
    return np.einsum("hwcij,ijco->hwo", windows, layer["kernel"]) + layer["bias"]


def relu(x):
    return np.maximum(x, 0)


def normalise(x, params, statistics):
    return (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-3) * params["scale"] + params["bias"]


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def vgg_like_network(lightness, params, batch_stats):
    """Forward pass of one image (H, W, 1) whose sides are multiples of 16, at inference."""
    encoder, decoder = params["backbone"], params["decoder"]
    statistics = batch_stats["backbone"]
    x, skips = lightness / 50 - 1, {}
    for block in (1, 2, 3, 4):
        x = skips[block] = relu(same_convolution(x, encoder[f"conv{block}_1"]))
        x = relu(same_convolution(x, encoder[f"conv{block}_2"], stride=2))
        x = normalise(x, encoder[f"norm{block}"], statistics[f"norm{block}"])
    x = relu(same_convolution(x, encoder["conv5_1"]))
    x = relu(same_convolution(x, encoder["conv5_2"]))
    x = normalise(x, encoder["norm5"], statistics["norm5"])
    hidden = relu(dense(x.mean((0, 1)), params["scene_head"]["hidden"]))
    for block in (4, 3, 2, 1):
        x = np.concatenate([x.repeat(2, 0).repeat(2, 1), skips[block]], -1)
        for index in (1, 2, 3):
            x = relu(same_convolution(x, decoder[f"conv{block}_{index}"]))
    return {
        "ab": 110 * np.tanh(dense(x, params["reg_head"])),
        "color_logits": dense(x, params["soft_head"]),
        "seg_logits": dense(x, params["seg_head"]),
        "scene_logits": dense(hidden, params["scene_head"]["logits"]),
    }
