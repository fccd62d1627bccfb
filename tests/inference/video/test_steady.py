import itertools

import numpy as np
import pytest

from semcolor_jax.color import rgb_to_lab

pytest.importorskip("av", reason="needs the extra `video`")
pytest.importorskip("cv2", reason="needs the extra `video`")

from clips import photo_of

from semcolor_jax.inference.video.steady import Steady


def lightness_of(seed=0, height=64, width=96):
    """A textured picture, which flow can follow."""
    rng = np.random.default_rng(seed)
    detail = rng.normal(0, 6, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
    return np.clip(rgb_to_lab(photo_of(height, width, seed), xp=np)[..., 0] + detail, 0, 100).astype(np.float32)


def noisy(shape, rng, ab=(10, -5), spread=3.0):
    """Colours that are off by as much in every frame, all over: what a network's indecision looks like."""
    return (np.asarray(ab) + rng.normal(0, spread, 2) + np.zeros((*shape, 2))).astype(np.float32)


def flicker(frames):
    return np.mean([np.linalg.norm(b - a, axis=-1).mean() for a, b in itertools.pairwise(frames)])


def test_noisy_colours_of_a_still_scene_become_steady():
    rng, scene = np.random.default_rng(0), lightness_of()
    steady = Steady()
    colors = [noisy(scene.shape, rng) for _ in range(30)]
    result = [steady(scene, ab) for ab in colors]
    assert flicker(result[5:]) < 0.25 * flicker(colors[5:])
    # The mean of the frames so far.
    np.testing.assert_allclose(result[9], np.mean(colors[:10], axis=0), atol=0.05)


def test_a_lamp_that_flickers_is_no_cut():
    rng, scene = np.random.default_rng(0), lightness_of()
    steady = Steady()
    colors = [noisy(scene.shape, rng) for _ in range(30)]
    lit = [np.clip((scene + 16) * factor - 16, 0, 100) for factor in rng.uniform(0.85, 1.1, 30)]
    result = [steady(frame.astype(np.float32), ab) for frame, ab in zip(lit, colors, strict=True)]
    assert steady.cuts == 0
    assert flicker(result[5:]) < 0.35 * flicker(colors[5:])


def test_the_first_frame_and_a_single_one_stay_as_they_are():
    rng, scene = np.random.default_rng(0), lightness_of()
    colors = [noisy(scene.shape, rng) for _ in range(3)]
    np.testing.assert_array_equal(Steady()(scene, colors[0]), colors[0])
    each = Steady(1)
    for ab in colors:
        np.testing.assert_array_equal(each(scene, ab), ab)


def test_colours_move_with_the_camera():
    wide = lightness_of(width=160)
    colors = np.zeros((64, 160, 2), np.float32)
    colors[:, 80:, 0] = 40
    steady, result = Steady(), colors
    for left in range(0, 40, 2):
        result = steady(wide[:, left : left + 96], colors[:, left : left + 96])
    np.testing.assert_allclose(result[8:-8, 8:-8], colors[8:-8, 38 + 8 : 38 + 96 - 8], atol=4)


def test_a_cut_begins_anew():
    rng = np.random.default_rng(0)
    steady = Steady()
    first, second = lightness_of(0), lightness_of(7)
    for _ in range(5):
        steady(first, noisy(first.shape, rng, ab=(40, 40)))
    colors = noisy(first.shape, rng, ab=(-20, -20))
    np.testing.assert_array_equal(steady(second, colors), colors)
    assert steady.cuts == 1


def test_no_ghost_behind_a_moving_thing():
    """A red block crosses a blue scene: where it was, the scene is as blue as it ever was."""
    scene = lightness_of()
    steady, result = Steady(), np.empty(0)
    for left in range(0, 60, 3):
        frame, colors = scene.copy(), np.zeros((*scene.shape, 2), np.float32)
        colors[...] = (0, -30)
        block = slice(20, 44), slice(left, left + 20)
        frame[block] = lightness_of(3)[block[0], :20] / 3
        colors[block] = (50, 30)
        result = steady(frame, colors)
    assert steady.cuts == 0
    behind = np.linalg.norm(result[20:44, 10:54] - (0, -30), axis=-1)
    assert behind.max() < 6
    assert np.linalg.norm(result[24:40, 61:73] - (50, 30), axis=-1).mean() < 6


def test_a_run_that_goes_on_gives_the_same():
    rng, scene = np.random.default_rng(0), lightness_of()
    colors = [noisy(scene.shape, rng) for _ in range(6)]
    whole, first = Steady(), Steady()
    for ab in colors[:3]:
        whole(scene, ab)
        first(scene, ab)
    second = Steady(past=first.past)
    for ab in colors[3:]:
        np.testing.assert_array_equal(second(scene, ab), whole(scene, ab))


@pytest.mark.parametrize("shape", [(1, 1), (8, 200), (17, 16)])
def test_pictures_of_any_size(shape):
    rng = np.random.default_rng(0)
    steady = Steady()
    for _ in range(2):
        assert steady(rng.uniform(0, 100, shape).astype(np.float32), noisy(shape, rng)).shape == (*shape, 2)
