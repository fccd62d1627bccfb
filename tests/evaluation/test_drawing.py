import re

import numpy as np

from semcolor_jax.evaluation import drawing
from semcolor_jax.taxonomy.label_sets import COCO_STUFF, coco_stuff_palette


def test_class_map_blends_the_palette_and_leaves_ignored_pixels_grey():
    grey = np.full((2, 4, 3), 100, np.uint8)
    classes = np.array([[5, 5, 5, 9], [5, 5, 255, 255]], np.uint8)
    cell = drawing.class_map(grey, classes)
    np.testing.assert_array_equal(cell.image[1, 2:], grey[1, 2:])
    np.testing.assert_allclose(cell.image[0, 0], 40 + 0.6 * coco_stuff_palette()[5].astype(float), atol=0.51)
    assert cell.classes == [(5, 5 / 8), (9, 1 / 8)]


def test_the_legend_breaks_lines_and_never_drops_a_class():
    classes = [(COCO_STUFF.index(name), 0.1) for name in ("person", "building-other", "sky-other", "tree")]
    lines = drawing._legend_lines(classes, 160)
    assert [index for line in lines for index in line] == [index for index, _ in classes]
    assert all(len(line) == 1 or sum(map(drawing._legend_width, line)) <= 160 for line in lines)
    assert len(lines) > 1


def test_long_names_are_shortened_to_fit():
    text = drawing._shorten("a_very_long_file_name_from_a_camera_0001.jpg", 100)
    assert re.fullmatch(r"a_ver.*\.\.\..*1\.jpg", text)
    assert drawing._FONT.getlength(text) <= 100
    assert drawing._shorten("short", 100) == "short"


def test_every_row_is_as_high_as_its_highest_cell():
    photo = drawing.PhotoCell(np.full((50, drawing.MIN_COLUMN, 3), 9, np.uint8), "a")
    many = drawing.SceneCell([(f"scene {i}", 0.2) for i in range(5)], truth=None, rank=None)
    low = drawing.draw_rows(["photo"], [{"photo": photo}])
    high = drawing.draw_rows(["photo", "scenes"], [{"photo": photo, "scenes": many}])
    assert high.shape[0] - low.shape[0] == 5 * (drawing.LINE + 14) - 50
    assert high.shape[1] - low.shape[1] == drawing.GAP + drawing.SCENE_COLUMN
    assert ((high == 9).all(axis=-1)).sum() == 50 * drawing.MIN_COLUMN
