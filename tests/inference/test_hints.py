import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_network import Stripes, photo_of
from threadpoolctl import threadpool_info

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.inference import spreading
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.hints import Hint, hints_of, paint, read_hints
from semcolor_jax.inference.strips import Shift, merge

RED = "#a02020"


def ab_of(pixels):
    return rgb_to_lab(pixels if pixels.dtype == np.uint8 else pixels / 65535, xp=np)[..., 1:]


def regions(height, width, dtype=np.uint8):
    """Two flat greys that touch in the middle column: L 42 and 54."""
    photo = np.full((height, width, 3), 100, dtype)
    photo[:, width // 2 :] = 130
    return photo * np.asarray(257, dtype) if dtype == np.uint16 else photo


def network(height=9, width=12):
    return np.broadcast_to(np.array([4, -6], np.float32), (height, width, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(60, 80), (420, 600)])  # as it is solved, and larger
def test_a_hint_colours_its_region_and_not_the_one_beside_it(height, width, dtype):
    photo = regions(height, width, dtype)
    before, after = (
        ab_of(paint(photo, network(), hints)) for hints in ((), hints_of([(width // 4, height // 2, RED)]))
    )
    middle = width // 2
    assert np.linalg.norm(after - before, axis=-1)[:, middle:].max() < 2
    wanted = Hint(((0, 0),), (160, 32, 32)).ab
    assert np.linalg.norm(after - wanted, axis=-1)[:, : middle - 1].max() < 0.15 * np.linalg.norm(wanted - (4, -6))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_exact_at_every_hint_and_the_lightness_stays(seed, count):
    rng = np.random.default_rng(seed)
    photo = photo_of(30, 40, seed % 1000) // 2 + 50
    places = rng.choice(30 * 40, count, replace=False)
    # Colours that sRGB has in every lightness of the photo.
    hints = [Hint(((float(p % 40), float(p // 40)),), tuple(rng.integers(100, 140, 3).tolist())) for p in places]
    result = paint(photo, network(), hints)
    assert np.abs(rgb_to_lab(result, xp=np)[..., 0] - rgb_to_lab(photo, xp=np)[..., 0]).max() < 1.2
    for hint in hints:
        ((x, y),) = hint.points
        np.testing.assert_allclose(ab_of(result)[int(y), int(x)], hint.ab, atol=1.5)  # 8 bits


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_colour_goes_beyond_the_hints_and_the_network(seed):
    """The shift is a mean of hints' differences and of none."""
    rng = np.random.default_rng(seed)
    lightness = rng.uniform(0, 100, (12, 17)).astype(np.float32)
    cells = np.sort(rng.choice(lightness.size, 3, replace=False))
    given = rng.uniform(-40, 40, (3, 2))
    nothing = np.zeros((lightness.size, 2), np.float32)
    shift = spreading.spread(lightness, cells, network=nothing, colors=given, differences=given)
    assert (shift <= np.maximum(given.max(axis=0), 0) + 0.05).all()
    assert (shift >= np.minimum(given.min(axis=0), 0) - 0.05).all()
    np.testing.assert_array_equal(shift.reshape(-1, 2)[cells], given)


def test_the_optimisation_against_a_dense_solve():
    rng = np.random.default_rng(0)
    lightness = rng.uniform(40, 46, (5, 6)).astype(np.float32)
    cells, values = np.array([3, 17]), rng.uniform(-20, 20, (2, 2))
    target = rng.uniform(-5, 5, (30, 2))
    got = spreading._optimised(lightness, cells, values, target)

    level = lightness.astype(np.float64)
    padded = np.pad(level, 1, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    variance = windows.var(axis=(2, 3))
    system = 0.02 * np.eye(30)
    for p, q in np.ndindex(30, 30):
        (y, x), (v, u) = divmod(p, 6), divmod(q, 6)
        if p != q and max(abs(y - v), abs(x - u)) == 1:
            around = 0.6 * (variance[y, x] + variance[v, u]) / 2 + 1
            weight = np.exp(-((level[y, x] - level[v, u]) ** 2) / around) / np.hypot(y - v, x - u) + 1e-5
            system[p, p] += weight
            system[p, q] -= weight
    right = 0.02 * target
    system[cells], right[cells] = np.eye(30)[cells], values
    np.testing.assert_allclose(got, np.linalg.solve(system, right), atol=0.01)


def test_far_pixels_keep_their_very_bytes():
    photo = np.concatenate([regions(200, 100), photo_of(200, 300)], axis=1)
    photo[:, 95:100] = 0  # a strong edge
    before, after = paint(photo, network(), ()), paint(photo, network(), hints_of([(20, 100, RED)]))
    np.testing.assert_array_equal(after[:, 110:], before[:, 110:])
    assert (after[:, :40] != before[:, :40]).any(axis=-1).all()


def test_a_stroke_covers_its_width_and_the_last_hint_counts():
    photo = regions(40, 60)
    stroke = {"points": [[10, 10], [30, 10], [30, 30]], "radius": 2, "color": RED}
    result = ab_of(
        paint(photo, network(), hints_of([stroke, (20, 10, "navy"), {"x": 20.7, "y": 10.2, "color": [0, 90, 0]}]))
    )
    red, green = Hint(((0, 0),), (160, 32, 32)).ab, Hint(((0, 0),), (0, 90, 0)).ab
    for x, y in ((10, 10), (8, 10), (10, 8), (25, 12), (30, 30), (28, 20)):
        np.testing.assert_allclose(result[y, x], red, atol=1.5)
    np.testing.assert_allclose(result[10, 20], green, atol=1.5)


def test_upsampling_keeps_an_edge_that_lies_within_a_cell():
    photo = regions(64, 100)
    lightness = np.full((8, 10), 42, np.float32)
    lightness[:, 5:] = rgb_to_lab(photo[0, -1:], xp=np)[0, 0]
    ab = np.zeros((8, 10, 2), np.float32)
    ab[:, :5] = 20
    moved = merge(photo, np.zeros((1, 1, 2), np.float32), shift=Shift(ab, lightness))
    a = ab_of(moved)[32, :, 0]
    assert a[:49].min() > 19
    assert a[51:].max() < 2


def test_with_hints_replaces_and_does_not_run_the_network():
    stub = Stripes()
    colorizer = Colorizer(stub, side=16, choice=ColorChoice("reg"))
    photo = photo_of(30, 40)
    plain = colorizer.colorize(photo)
    hinted = plain.with_hints([(5, 5, RED)])
    assert len(stub.shapes) == 1
    np.testing.assert_array_equal(hinted.ab, plain.ab)
    direct = colorizer.colorize(photo, hints=[(5, 5, RED)])
    assert direct.hints == hinted.hints
    difference = np.abs(ab_of(direct.photo.pixels) - ab_of(hinted.photo.pixels))
    assert difference.mean() < 0.5  # the lightness of a coloured photo is that of the grey one, but for 8 bits
    without = hinted.with_hints([])
    assert np.abs(without.photo.pixels.astype(int) - plain.photo.pixels).max() <= 3


def test_a_blank_border_stays_grey_beside_a_hint():
    photo = np.full((60, 80, 3), 235, np.uint8)
    photo[10:-10, 10:-10] = photo_of(40, 60) // 2 + 40
    result = Colorizer(Stripes(), side=16, choice=ColorChoice("reg")).colorize(photo, hints=[(40, 30, RED)])
    assert np.ptp(result.photo.pixels[:9].astype(int), axis=-1).max() <= 1


def test_json_files(tmp_path):
    file = tmp_path / "hints.json"
    file.write_text(
        json.dumps({"hints": [{"x": 1, "y": 2, "color": "#fff"}, {"points": [[1, 2]], "color": [1, 2, 3]}]})
    )
    assert read_hints(file) == [Hint(((1, 2),), (255, 255, 255)), Hint(((1, 2),), (1, 2, 3))]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"x": 1}', "are no list"),
        ('"red"', "are no list"),
        ('[{"x": 1, "y": 2}]', r"Hint 1 of .*hints.json has the color None"),
        ('[{"x": 1, "y": 2, "color": "reddish"}]', "'reddish'"),
        ('[{"x": 1, "y": 2, "color": [0, 0, 256]}]', r"0\.\.255"),
        ('[{"x": 1, "y": "2", "color": "red"}]', "must be a number"),
        ('[{"x": 1, "y": NaN, "color": "red"}]', "must be a number"),
        ('[{"points": [], "color": "red"}]', "no points"),
        ('[{"points": [[1, 2, 3]], "color": "red"}]', r"a point is \[x, y\]"),
        ('[{"x": 1, "y": 1, "color": "red", "radius": -1}]', "at least 0"),
        ('[{"x": 1, "y": 1, "colour": "red"}]', "'colour'"),
        ("[1]", "must have x, y and color"),
        ("[", "not valid JSON"),
    ],
)
def test_mistakes_in_a_file_are_one_sentence(tmp_path, content, match):
    (tmp_path / "hints.json").write_text(content)
    with pytest.raises(UserError, match=match):
        read_hints(tmp_path / "hints.json")


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (40, 0), (0, 30), (1e9, 1e9)])
def test_a_hint_outside_the_photo_is_refused(x, y):
    with pytest.raises(UserError, match=r"Hint 1 is at .* outside the photo, which is 40 x 30 pixels"):
        Colorizer(Stripes(), side=16, choice=ColorChoice("reg")).colorize(photo_of(30, 40), hints=[(x, y, RED)])


def test_a_photo_of_one_pixel():
    photo = np.full((1, 1, 3), 120, np.uint8)
    result = paint(photo, network(1, 1), hints_of([(0, 0, RED)]))
    assert result[0, 0, 0] > result[0, 0, 2]


def test_the_solver_has_one_thread_of_blas(monkeypatch):
    """More of them wait for each other by spinning, which on a busy machine takes several times as long."""
    solve, threads = spreading.cg, []

    def watched(*args, **options):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return solve(*args, **options)

    monkeypatch.setattr(spreading, "cg", watched)
    paint(regions(20, 30), network(), hints_of([(5, 5, RED)]))
    assert set(threads) == {1}


def test_the_optimisation_takes_a_second_at_most():
    """Of processor time, on noise, which is its slowest case; photos of any size are solved at this one."""
    lightness = np.random.default_rng(0).uniform(30, 70, (222, 295)).astype(np.float32)
    given = np.array([[30.0, 10.0]])
    start = time.process_time()
    nothing = np.zeros((lightness.size, 2), np.float32)
    spreading.spread(lightness, np.array([30_000]), network=nothing, colors=given, differences=given)
    assert time.process_time() - start < 5  # a slow machine's threads may spin
