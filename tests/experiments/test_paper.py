"""experiments/paper.py end to end: a few embedded photos, two methods, everything else missing."""

import csv
import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import paper
import pytest
from paper_report import curves, layout, pictures, published, scoring, tables
from PIL import Image

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.embedded import photos
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice, grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.metrics import similarity
from semcolor_jax.models import Predictions
from semcolor_jax.photos.files import read_photo, write_image

SIDE = 64
METHODS = ("zhang2016", "segclasregsoft", "mine")


def crops(count):
    rng = np.random.default_rng(3)
    for index in range(count):
        photo = photos()[index % len(photos())].image
        top, left = (rng.integers(0, length - SIDE) for length in photo.shape[:2])
        yield photo[top : top + SIDE, left : left + SIDE]


def with_colors(photo, *, share):
    grey = photo.mean(axis=-1, keepdims=True)
    return np.rint(grey + share * (photo - grey)).astype(np.uint8)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Five photos; one method has all, one lacks a photo, one has photos of another size only."""
    root = tmp_path_factory.mktemp("results")
    for name in ("imagenet_ctest1k", "internet", "legacy"):
        for folder in (layout.ORIGINAL, *METHODS):
            (root / name / folder).mkdir(parents=True)
        for index, photo in enumerate(crops(5)):
            file = f"p{index}.png"
            write_image(root / name / layout.ORIGINAL / file, photo)
            write_image(root / name / "segclasregsoft" / file, with_colors(photo, share=0.2 * index))
            write_image(root / name / "mine" / file, photo[:-1])
            if index != 2:
                write_image(root / name / "zhang2016" / file, with_colors(photo, share=0.3))
    return root


@pytest.fixture(scope="module")
def output(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    paper.main([f"--results={results}", f"--output={folder}", f"--size={SIDE}", "--photos=2"])
    return folder


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_cell_is_the_mean_over_the_photos(results, output):
    folder = results / "imagenet_ctest1k"
    expected = np.mean(
        [
            similarity.of_pair(read_photo(path), read_photo(folder / "zhang2016" / path.name))["psnr_channels"]
            for path in sorted((folder / layout.ORIGINAL).iterdir())
            if path.stem != "p2"
        ]
    )
    (row,) = [
        row
        for row in rows_of(output / "table3.csv")
        if (row["source"], row["method"], row["set"], row["metric"])
        == ("ours", "zhang2016", "imagenet_ctest1k", "psnr_channels")
    ]
    assert float(row["value"]) == pytest.approx(expected, abs=1e-4)
    assert row["photos"] == "4"
    assert row["remark"] == "ImageNet ctest1k: over 4 of 5 photos."


def test_the_papers_tables_have_the_papers_forms(output):
    for name in ("table3", "table4"):
        metrics = {row["metric"] for row in rows_of(output / f"{name}.csv")}
        assert metrics == {"psnr_channels", "ssim", "l2_ab_channels"}


def test_every_empty_cell_has_its_reason(output):
    for name in ("table3", "table4", "perceptual"):
        for row in rows_of(output / f"{name}.csv"):
            assert row["value"] or row["remark"], row
    reasons = {row["remark"] for row in rows_of(output / "table3.csv") if row["method"] == "iizuka2016"}
    assert any("imagenet_ctest1k/iizuka2016" in reason for reason in reasons)
    by_cell = {(row["method"], row["set"], row["metric"]): row for row in rows_of(output / "table3.csv")}
    assert "no pair of mine can be scored" in by_cell["mine", "imagenet_ctest1k", "psnr_channels"]["remark"]
    top1 = [row for row in rows_of(output / "perceptual.csv") if row["metric"] == "imagenet_top1"]
    assert "vgg16-397923af.pth" in next(row["remark"] for row in top1 if row["method"] == "zhang2016")


def test_fid_where_it_can_be_computed(results, output):
    rows = [
        row for row in rows_of(output / "perceptual.csv") if row["metric"] == "FID" and row["method"] == "zhang2016"
    ]
    assert "pt_inception" not in rows[0]["remark"]
    assert "inception_v3_google-1a9a5a14.pth" in rows[0]["remark"]
    scores = scoring.score_sets(
        layout.find_sets(results), output=output / "scores", settings=scoring.Settings(size=SIDE)
    )
    scored = scores["imagenet_ctest1k"]
    assert scored.score is not None
    known = dataclasses.replace(scored.score, fid_title="FID-VGG16", fid={"zhang2016": (3.14159, 4, 4)})
    scores["imagenet_ctest1k"] = dataclasses.replace(scored, score=known)
    table = tables.perceptual_table(scores)
    assert table.columns[0].title == "FID-VGG16"
    assert {row.method: row.cells[0].text for row in table.rows}["zhang2016"] == "3.14"


def test_the_papers_figures_are_labelled_as_the_papers(output):
    stated = {}
    for name in ("table3", "table4"):
        for row in rows_of(output / f"{name}.csv"):
            if row["source"] == "paper" and row["value"]:
                stated[row["set"], row["method"], row["metric"]] = float(row["value"])
    assert stated == published.STATED
    page = (output / "table3.md").read_text()
    assert re.search(r"\*Larsson et al\. \(the paper's figure\)\*  *\| +23\.335 \| +0\.869 ", page)


def test_latex_has_the_same_number_of_cells_in_each_line(output):
    for name, columns in (("table3", 6), ("table4", 6), ("perceptual", 10)):
        text = (output / f"{name}.tex").read_text()
        body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
        assert {line.count("&") for line in body} == {columns}
        assert all(line.endswith(r"\\") for line in body)


def test_the_page_shows_each_figure_or_says_why_not(output):
    page = (output / "paper.md").read_text()
    numbers = [int(number) for number in re.findall(r"\*\*Fig\. (\d+)\*\*", page)]
    assert sorted(numbers) == list(range(9, 24))
    drawn = re.findall(r"\]\((fig\d+\.png)\)", page)
    assert drawn == ["fig12.png", "fig15.png", "fig16.png", "fig21.png", "fig22.png"]
    for file in drawn:
        with Image.open(output / file) as image:
            image.load()
    assert "no network was named" in page
    assert "div2k_valid/original" in page


def test_a_second_run_computes_nothing_anew(results, output, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("measured again")

    from semcolor_jax.evaluation.score import run

    monkeypatch.setattr(run, "_compute", refuse)
    settings = scoring.Settings(size=SIDE)
    scores = scoring.score_sets(layout.find_sets(results), output=output / "scores", settings=settings)
    assert scores["imagenet_ctest1k"].names.keys() == {"zhang2016", "segclasregsoft"}


def test_gains_are_those_over_the_grey_copy(results, output):
    settings = scoring.Settings(size=SIDE)
    sets = layout.find_sets(results)
    scored = scoring.score_sets(sets, output=output / "scores", settings=settings)["imagenet_ctest1k"]

    def pooled(*pair):
        return similarity.of_pair(*pair)["psnr"]

    ranked = pictures.gains(sets["imagenet_ctest1k"], scored, method="segclasregsoft", size=SIDE)
    for stem, decibels in ranked:
        truth, ours = (
            read_photo(results / "imagenet_ctest1k" / f / f"{stem}.png") for f in ("original", "segclasregsoft")
        )
        grey = grey_copy(rgb_to_lab(truth, xp=np)[..., :1])
        assert decibels == pytest.approx(pooled(truth, ours) - pooled(truth, grey), abs=1e-3)
    assert [gain.decibels for gain in ranked] == sorted((gain.decibels for gain in ranked), reverse=True)


@pytest.mark.parametrize(("photos", "best", "worst"), [(1, 1, 0), (2, 1, 1), (5, 3, 2), (20, 5, 5)])
def test_no_photo_is_success_and_failure(photos, best, worst):
    ranked = [pictures.Gain(f"p{index}", 10.0 - index) for index in range(photos)]
    success, failure = pictures.success_and_failure(ranked, count=5)
    assert (len(success), len(failure)) == (best, worst)
    assert not {gain.stem for gain in success} & {gain.stem for gain in failure}
    assert not failure or failure[0].stem == f"p{photos - 1}"


def test_equal_gains_stand_by_name():
    _, failure = pictures.success_and_failure([pictures.Gain(name, 0.0) for name in "abcd"], count=1)
    assert failure[0].stem == "b"


def test_curves_have_the_same_color_in_all_panels():
    shares = np.linspace(0, 1, 151)
    picture = curves.draw_curves({"one": {"x": shares, "y": shares**0.5}, "two": {"y": shares**0.5}})
    assert picture.shape == (curves.HEIGHT, 2 * curves.WIDTH, 3)
    colors = [set(map(tuple, half.reshape(-1, 3))) for half in np.split(picture, 2, axis=1)]
    of_x, of_y = (tuple(bytes.fromhex(color[1:])) for color in curves.COLORS[:2])
    assert [of_x in found for found in colors] == [True, False]
    assert [of_y in found for found in colors] == [True, True]


def test_long_names_of_methods_stay_within_the_panel():
    shares = np.linspace(0, 1, 151)
    picture = curves.draw_curves({"one": {"x" * length: shares for length in (3, 40)}})
    assert (picture[:, -6:] == 255).all()
    assert (picture[curves.HEIGHT // 2 :, -curves.RIGHT - 4 : -curves.RIGHT] < 128).any()  # and reach its border


def test_segmentation_views(results):
    def predict(lightness):
        shape = lightness.shape[:3]
        seg = jnp.zeros((*shape, 183)).at[:, : shape[1] // 2, :, 1].set(1)
        return Predictions(ab=jnp.zeros((*shape, 2)), seg_logits=seg)

    def with_segmentation(change):
        def predict_otherwise(lightness):
            predictions = predict(lightness)
            return dataclasses.replace(predictions, seg_logits=change(predictions.seg_logits))

        return Colorizer(predict_otherwise, choice=ColorChoice("reg"))

    files = {"p0": results / "legacy" / "original" / "p0.png"}
    assert pictures.draw_segmentation(files, Colorizer(predict, choice=ColorChoice("reg"))).shape[2] == 3
    coarse = with_segmentation(lambda seg: seg[:, ::2, ::2])
    expected = pictures.draw_segmentation(files, Colorizer(predict, choice=ColorChoice("reg")))
    np.testing.assert_array_equal(pictures.draw_segmentation(files, coarse), expected)
    blind = with_segmentation(lambda seg: None)
    with pytest.raises(UserError, match="no segmentation branch"):
        pictures.draw_segmentation(files, blind)


def test_unpacking_an_archive(tmp_path):
    archive = tmp_path / "DIV2K_valid_HR"
    archive.mkdir()
    for index in range(801, 901):
        write_image(archive / f"{index:04}.png", np.full((12, 12, 3), (index % 256, 90, 30), np.uint8))
    layout.unpack(tmp_path / "results", [f"div2k_valid={archive}"])
    folder = layout.find_sets(tmp_path / "results")["div2k_valid"].original
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == [f"{index:04}.png" for index in range(801, 901)]
    np.testing.assert_array_equal(read_photo(folder / "0900.png"), read_photo(archive / "0900.png"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--results=nowhere"], "there is no folder nowhere"),
        (["--results=.", "--folder=imagenet"], "not of the form"),
        (["--results=.", "--folder=coco/zhang2016=."], "names the set 'coco'"),
        (["--results=.", "--unpack=internet=a.zip"], "names the set 'internet'"),
        (["--results=.", "--model=nothing"], "There is no model 'nothing'"),
    ],
)
def test_mistakes_are_named_in_one_sentence(options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        paper.main(options)
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err


def test_folders_given_by_flags(results):
    elsewhere = results / "legacy" / "zhang2016"
    sets = layout.find_sets(results, [f"coco_stuff_ctest1k/larsson2016={elsewhere}"])
    assert sets["coco_stuff_ctest1k"].methods == {"larsson2016": elsewhere}
    assert list(sets["imagenet_ctest1k"].methods) == ["zhang2016", "segclasregsoft", "mine"]


def test_footnotes_are_numbered_once():
    cells = (tables.Cell("", note="why"), tables.Cell("1.00"), tables.Cell("", note="why"))
    columns = tuple(tables.Column("div2k_valid", key, key, "up") for key in ("psnr", "ssim", "l2_ab"))
    table = tables.Table("t", "T", columns, (tables.Row("m", "m & n", cells),), ())
    assert "| m & n | (1) | 1.00 | (1) |" in re.sub(" +", " ", tables.markdown(table))
    assert tables.markdown(table).count("why") == 1
    assert r"m \& n & $^{1}$ & 1.00 & $^{1}$ \\" in re.sub(" +", " ", tables.latex(table))
