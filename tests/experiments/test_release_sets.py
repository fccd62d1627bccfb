"""The released models' data sets: what chooses, what judges, what is never seen; means of groups of them."""

import itertools
import runpy
from pathlib import Path

import pytest
from release_sets import COLUMNS, CONFIGS, UNSEEN, Photo, group_rows, groups, half, spread, summary


def photo(psnr, *, choosing, chroma):
    values = {"grey": dict.fromkeys(COLUMNS, 20.0), "model": dict.fromkeys(COLUMNS, 10.0) | {"psnr": psnr}}
    return Photo(choosing=choosing, chroma=chroma, colourfulness=40.0, values=values)


def test_every_photo_either_may_choose_or_only_judges():
    files = [Path(f"{i:02}.jpg") for i in range(7)]
    choosing, judging = half(files, choosing=True), half(files, choosing=False)
    assert [path.stem for path in choosing] == ["00", "02", "04", "06"]
    assert sorted(choosing + judging) == files
    assert spread(files, limit=3) == [files[0], files[2], files[4]]
    assert spread(files, limit=0) == spread(files, limit=9) == files


@pytest.mark.parametrize(
    ("name", "spec"), [("release", "D"), ("release_v1_1", "D"), ("release_v1_1", "D,96"), ("accelerator", "D")]
)
def test_no_training_of_a_release_mixes_in_the_unseen_set(name, spec):
    mix = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](spec).data.mix
    names = {part.partition("=")[0].rpartition("/")[2] for part in mix.split(",")}
    known = set(itertools.chain(*groups().values()))
    assert names <= known - set(UNSEEN)


def test_a_set_is_in_one_group():
    names = list(itertools.chain(*groups().values()))
    assert len(names) == len(set(names)) == 25


def test_rows_of_groups_leave_out_what_their_titles_say():
    photos = {name: [photo(22.0, choosing=True, chroma=9.0)] for name in itertools.chain(*groups().values())}
    photos["pets"] = [photo(26.0, choosing=False, chroma=9.0), photo(30.0, choosing=True, chroma=1.0)]
    rows = group_rows(photos)
    assert rows["new sets"]["photos"] == 12
    assert rows["new sets, chroma of 3 or more"]["photos"] == 11
    assert rows["new sets, not used for choosing"]["photos"] == 1
    assert rows["new sets, not used for choosing"]["model"]["psnr_above_grey"] == 6.0
    assert rows["new sets, chroma of 3 or more"]["model"]["psnr"] == pytest.approx((10 * 22 + 26) / 11, abs=1e-4)
    assert rows["pets"]["model"] == summary(photos["pets"])["model"]
    assert rows["pets"]["model"]["ab_distance_of_grey"] == 0.5
    assert "unseen, not used for choosing" not in rows
