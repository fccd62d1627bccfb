"""experiments/paper.py in one command: from small archives and models to all tables and figures."""

import csv
import io
import json
import tarfile
import zipfile

import jax.numpy as jnp
import numpy as np
import paper
import pytest
from paper_report import coloring
from PIL import Image

from semcolor_jax.data.embedded import photos
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions

pytestmark = pytest.mark.slow
SIDE, COUNT = 48, 2
MODELS = ("regsoft", "segclasregsoft")


def jpeg(index):
    buffer = io.BytesIO()
    Image.fromarray(photos()[index].image[:SIDE, :SIDE]).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def png(index):
    buffer = io.BytesIO()
    Image.fromarray(photos()[index].image[-SIDE:, -SIDE:]).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Three of the four published archives, with two photos each, a labelled folder, and models by name."""
    root = tmp_path_factory.mktemp("archives")
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as file:
        for index in range(COUNT):
            info = tarfile.TarInfo(f"ILSVRC2012_val_{index + 1:08d}.JPEG")
            info.size = len(jpeg(index))
            file.addfile(info, io.BytesIO(jpeg(index)))
    with zipfile.ZipFile(root / "DIV2K_valid_HR.zip", "w") as file:
        for index in range(COUNT):
            file.writestr(f"DIV2K_valid_HR/{801 + index:04d}.png", png(index))
    with zipfile.ZipFile(root / "val2017.zip", "w") as file:
        for index in range(COUNT + 1):
            file.writestr(f"val2017/{139 + index:012d}.jpg", jpeg(index))
    for model in MODELS:
        (root / "models" / model).mkdir(parents=True)
        (root / "models" / model / "config.json").write_text(json.dumps({"model": {"variant": model}}))
    for part in ("train", "val"):
        for folder, content in (("images/a.jpg", jpeg(3)), ("labels/a.png", None)):
            path = root / "stuff" / part / folder
            path.parent.mkdir(parents=True)
            if content:
                path.write_bytes(content)
            else:
                Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)
    (root / "stuff" / "labels.json").write_text('{"ignore": 255, "unlabeled": null, "classes": {"0": "sky-other"}}')
    return root


def warm(lightness):
    shape = lightness.shape[:3]
    return Predictions(ab=jnp.broadcast_to(jnp.array([5.0, 20.0]), (*shape, 2)))


@pytest.fixture(scope="module")
def page(archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coloring, "load_colorizer", lambda path: Colorizer(warm, choice=ColorChoice("reg")))
        paper.main(command(archives, folder))
        (folder / "first.txt").write_text((folder / "paper/paper.md").read_text())
        patch.setattr(coloring, "load_colorizer", lambda path: pytest.fail("colours again"))
        paper.main(command(archives, folder))  # the second run has nothing left to do
    return folder / "paper" / "paper.md"


def command(archives, folder):
    return [
        *(f"--results={folder}", f"--archives={archives}", f"--models={archives / 'models'}", f"--limit={COUNT}"),
        *(f"--size={SIDE}", f"--labelled=folder:{archives / 'stuff'}", "--photos=2"),
    ]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_method_with_a_model_is_coloured_and_scored(page):
    rows = {
        (row["method"], row["set"], row["metric"]): row
        for name in ("table3", "table4")
        for row in rows_of(page.parent / f"{name}.csv")
        if row["source"] == "ours"
    }
    for method in MODELS:
        for set_name in ("imagenet_ctest1k", "div2k_valid", "coco_stuff_ctest1k"):
            assert rows[method, set_name, "psnr_channels"]["photos"] == str(COUNT), (method, set_name)
    assert "imagenet_ctest1k/zhang2016" in rows["zhang2016", "imagenet_ctest1k", "ssim"]["remark"]


def test_a_second_run_changes_nothing(page):
    assert page.read_text() == (page.parents[1] / "first.txt").read_text()


def test_table_1_counts_photos_beside_the_papers(page):
    rows = {row["set"]: row for row in rows_of(page.parent / "table1.csv")}
    assert rows["ImageNet"]["testing"] == str(COUNT)
    assert rows["ImageNet"]["testing (paper)"] == "1000"
    assert rows["Places365"]["testing"] == ""
    assert (rows["COCO-Stuff"]["training"], rows["COCO-Stuff"]["validation"]) == ("1", "1")
    assert (rows["COCO-Stuff"]["training (paper)"], rows["COCO-Stuff"]["validation (paper)"]) == ("118000", "5000")


def test_table_2_has_the_methods_with_their_branches_and_models(page):
    rows = {row["method"]: row for row in rows_of(page.parent / "table2.csv")}
    assert rows["RegSoft"]["branches"] == "(2) + (3)"
    assert rows["SegClasRegSoft"]["branches"] == "(1) + (2) + (3) + (4)"
    assert rows["SegClasRegSoft"]["model"] == "segclasregsoft"
    assert rows["Zhang et al."]["model"] == ""
    assert (page.parent / "table2.tex").read_text().count(r"\toprule") == 1


def test_the_figures_of_the_data_sets(page):
    text = page.read_text()
    for number in (9, 11):
        assert f"![Fig. {number}](fig{number:02}.png)" in text
        with Image.open(page.parent / f"fig{number:02}.png") as image:
            image.load()
    assert "Fig. 10" in text
    assert "places365_ctest1k" in text
