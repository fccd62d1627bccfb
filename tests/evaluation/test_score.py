import csv
import json
import re

import numpy as np
import pytest
from photo_pairs import photo_pairs
from PIL import Image
from pth_files import write_pth

from semcolor_jax.cli.main import main
from semcolor_jax.data.example import Sample, no_labels, no_scene
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import evaluate
from semcolor_jax.evaluation.score import pairing, run, statistics, streaming
from semcolor_jax.evaluation.score.measures import make_measure
from semcolor_jax.evaluation.score.results import ResultCache
from semcolor_jax.metrics import fid, similarity
from semcolor_jax.metrics.lpips import Lpips
from semcolor_jax.metrics.valid_area import bucket
from semcolor_jax.photos.files import read_photo

QUICK = ("psnr", "ssim", "l2ab", "colourfulness")


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folders(tmp_path):
    """Twelve originals, a method with all of them, and one with everything that can go wrong."""
    truth, prediction = photo_pairs(12, side=48)
    for index in range(12):
        save(tmp_path / "originals" / f"p{index:02}.png", truth[index])
        save(tmp_path / "good" / f"p{index:02}.png", prediction[index])
    wrong = tmp_path / "wrong"
    for index in range(3, 12):
        save(wrong / f"p{index:02}.png", prediction[index])
    save(wrong / "p03.png", prediction[3][:40])  # another size
    (wrong / "p04.png").write_bytes(b"no image")
    save(wrong / "p05.png", prediction[5][..., 0])  # greyscale, a file of one channel
    save(wrong / "p06.png", prediction[6][..., :1].repeat(3, axis=-1))  # greyscale in three
    save(wrong / "sub" / "p07.png", prediction[7])  # a second p07
    save(wrong / "stranger.png", prediction[8])
    return tmp_path


def scored(folders, *methods, size=None, metrics=QUICK, **options):
    measures = [make_measure(name) for name in metrics]
    paths = [folders / method for method in methods]
    return run.score(folders / "originals", paths, output=folders / "out", size=size, measures=measures, **options)


def test_values_equal_those_of_single_images(folders):
    result = scored(folders, "good", metrics=(*QUICK, "lpips"))
    distance = Lpips("alex")
    for stem, row in result.images["good"].items():
        truth, photo = (read_photo(folders / part / f"{stem}.png") for part in ("originals", "good"))
        for name, value in similarity.of_pair(truth, photo).items():
            assert row[name] == pytest.approx(value, rel=1e-5)
        assert row["lpips_alex"] == pytest.approx(distance(truth[None], photo[None])[0], abs=1e-5)
    assert len(result.images["good"]) == 12


def test_means_and_both_deltas(folders):
    result = scored(folders, "good")
    own = np.array([row["colourfulness"] for row in result.images["good"].values()])
    true = np.array([row["colourfulness"] for row in result.images["original"].values()])
    row = result.rows["good"]
    assert row["colourfulness"].value == pytest.approx(own.mean())
    assert row["colourfulness_of_means"].value == pytest.approx(abs(own.mean() - true.mean()))
    assert row["colourfulness_per_image"].value == pytest.approx(np.abs(own - true).mean())
    assert list(result.rows["original"]) == ["colourfulness", "signed_colourfulness"]
    assert row["psnr"].low < row["psnr"].value < row["psnr"].high
    assert result.curves["good"][-1] == pytest.approx(1, abs=0.05)


def test_wrong_pairs_are_named_counted_and_left_out(folders):
    result = scored(folders, "good", "wrong")
    found = {(problem.kind, problem.stem) for problem in result.problems}
    assert found == {
        *(("missing", stem) for stem in ("p00", "p01", "p02")),
        ("size", "p03"),
        ("unreadable", "p04"),
        ("grayscale", "p05"),
        ("grayscale", "p06"),
        ("duplicate", "p07"),
        ("no original", "stranger"),
    }
    assert all(problem.method == "wrong" for problem in result.problems)
    assert set(result.images["wrong"]) == {"p05", "p06", "p08", "p09", "p10", "p11"}
    assert result.rows["wrong"]["psnr"].photos == 6
    assert result.rows["good"]["psnr"].photos == 12


def test_an_unreadable_original_leaves_its_pairs_out_of_every_method(folders):
    (folders / "originals" / "p09.png").write_bytes(b"")
    result = scored(folders, "good")
    assert [(p.kind, p.method, p.stem) for p in result.problems] == [("unreadable", "original", "p09")]
    assert result.rows["good"]["psnr"].photos == 11


def test_a_method_without_any_pair_is_a_mistake(folders):
    save(folders / "other" / "x.png", np.zeros((48, 48, 3), np.uint8))
    save(folders / "small" / "p00.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="has the name of one in"):
        scored(folders, "other")
    with pytest.raises(
        UserError,
        match=r"11 no coloured photo, 1 size differs.*; the first: .*p00\.png has 8x8",
    ):
        scored(folders, "small")
    with pytest.raises(UserError, match="given twice"):
        scored(folders, "good", "good")
    with pytest.raises(UserError, match="does not exist"):
        scored(folders, "absent")


def test_folders_of_one_name_are_told_apart(folders):
    for run_name in ("one", "two"):
        save(folders / run_name / "colorized" / "p00.png", np.zeros((48, 48, 3), np.uint8))
    result = pairing.pair_folders(folders / "originals", [folders / name / "colorized" for name in ("one", "two")])
    assert [name.rpartition("/")[0].rpartition("/")[2] for name in result.methods] == ["one", "two"]


def test_nothing_is_computed_twice(folders, monkeypatch):
    first = scored(folders, "good")
    with monkeypatch.context() as patch:
        patch.setattr(run, "_compute", lambda *_: pytest.fail("computed again"))
        assert scored(folders, "good") == first
    computed = []
    original = run._compute
    monkeypatch.setattr(run, "_compute", lambda m, batch: computed.append((m.name, batch.stems)) or original(m, batch))
    save(folders / "good" / "p03.png", np.full((48, 48, 3), 9, np.uint8))  # another file
    again = scored(folders, "good")
    assert computed == [(name, ("p03",)) for name in QUICK]
    assert again.images["good"]["p03"] != first.images["good"]["p03"]
    assert again.images["good"]["p04"] == first.images["good"]["p04"]


def test_measures_of_pairs_see_no_originals(folders, monkeypatch):
    seen = []
    original = run._compute
    monkeypatch.setattr(run, "_compute", lambda m, batch: seen.append((m.name, len(batch.stems))) or original(m, batch))
    scored(folders, "good", metrics=("psnr", "colourfulness"))
    assert sorted(seen) == [("colourfulness", 12), ("colourfulness", 12), ("psnr", 12)]


def test_a_killed_run_goes_on(folders):
    expected = scored(folders, "good")
    cache = folders / "out" / run.CACHE
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[: len(lines) // 2]) + b"not json\n" + lines[-1][:20])
    assert scored(folders, "good") == expected
    with ResultCache(cache):  # what was cut short is gone
        assert cache.read_bytes().count(b"not json") == 1


def test_photos_of_any_size_in_few_shapes():
    shapes = {bucket(h, w) for h in range(100, 513, 7) for w in range(100, 513, 7)}
    assert len(shapes) == 7 * 7
    assert bucket(64, 513) == (64, 768)
    rng = np.random.default_rng(0)
    loaded = [
        streaming.Loaded(str(i), "m", *rng.integers(0, 256, (2, h, w, 3), np.uint8), grayscale=False)
        for i, (h, w) in enumerate(rng.integers(20, 130, (30, 2)))
    ]
    seen = {}
    for group in streaming.batches(loaded, size=None):
        for index, stem in enumerate(group.batch.stems):
            height, width = group.batch.sizes[index]
            seen[stem] = np.asarray(group.batch.prediction[index, :height, :width])
    assert len(seen) == 30
    assert all((seen[pair.stem] == pair.prediction).all() for pair in loaded)


def test_threads_keep_the_order_and_hand_on_errors():
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    results = streaming.map_ahead(lambda item: 60 // (15 - item), items(), threads=3, ahead=2)
    assert next(results) == 4
    assert len(taken) <= 4  # no more than wait, and the one that was asked for
    assert [next(results) for _ in range(14)] == [60 // (15 - item) for item in range(1, 15)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_small_photos_get_no_lpips_and_are_named(folders):
    for part in ("originals", "good"):
        for index in range(11):
            image = read_photo(folders / part / f"p{index:02}.png")
            save(folders / part / f"p{index:02}.png", image[:9] if index == 0 else image[:30] if index < 5 else image)
    result = scored(folders, "good", metrics=("psnr", "ssim", "lpips"))
    assert result.rows["good"]["psnr"].photos == result.rows["good"]["ssim"].photos == 12
    assert result.rows["good"]["lpips_alex"].photos == 7
    small = [problem.stem for problem in result.problems if problem.kind == "too small"]
    assert small == ["p00", "p01", "p02", "p03", "p04"]
    pair = [read_photo(folders / part / "p00.png") for part in ("originals", "good")]
    assert result.images["good"]["p00"]["ssim"] == pytest.approx(similarity.of_pair(*pair)["ssim"])


@pytest.mark.parametrize("shape", [(48, 48, 3), (70, 51, 3), (33, 90, 3), (32, 32, 3)])
def test_the_central_square_is_that_of_evaluate(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    index, prob = no_scene()
    sample = Sample("x", image, no_labels(image), index, prob)
    expected = evaluate.center_square(sample, size=32).image
    np.testing.assert_array_equal(streaming.center_square(image, size=32), expected)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        estimate = statistics.mean(rng.normal(5, 2, 60), seed=seed)
        covered += estimate.low <= 5 <= estimate.high
    assert 0.89 <= covered / 200 <= 0.99
    values = rng.normal(5, 2, 400)
    estimate = statistics.mean(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(half, rel=0.1)
    assert statistics.mean(np.array([np.nan, 3.0])) == (3, 3, 3, 1)
    assert statistics.mean(np.array([])).photos == 0


@pytest.mark.slow
def test_the_command_writes_every_table(folders, capsys):
    paths = [str(folders / name) for name in ("originals", "good", "wrong")]
    command = ["score", *paths, "-o", str(folders / "out"), "--size", "32", "--metrics", "psnr,colourfulness"]
    main([*command, "--fid-features", "vgg16", "--imagenet-weights", str(folders / "absent.pth")])
    shown = capsys.readouterr().out
    texts = {name: (folders / "out" / f"score.{name}").read_text() for name in ("csv", "md", "tex")}
    for text in (shown, *texts.values()):
        flat = re.sub(r"\s+", " ", text.replace("\\", ""))
        assert "central 32x32 square" in flat
        assert "wrong: 3 left out of every mean: no coloured photo (p00, p01, p02)" in flat
        assert "wrong: 1 left out of every mean: unreadable file (p04)" in flat
        assert "wrong: 2 note: greyscale result, scored (p05, p06)" in flat
        assert "good 12, wrong 6" in flat
        assert "FID-VGG16" in flat
        assert set(re.findall(r"FID[-\w]*", flat.replace("comparable with FID", ""))) == {"FID-VGG16"}
        assert "download vgg16-397923af.pth from https://download.pytorch.org" in flat
    record = json.loads((folders / "out" / "score.json").read_text())
    assert record["means"]["good"]["psnr"]["photos"] == 12
    assert record["fid"]["good"]["reference_photos"] == 12
    assert sum(problem["excluded"] for problem in record["problems"]) == 7
    rows = list(csv.DictReader((folders / "out" / "per_image.csv").read_text().splitlines()))
    assert sum(row["problem"].startswith("excluded") for row in rows) == 7
    assert [row["photo"] for row in rows if row["problem"] == "grayscale"] == ["p05", "p06"]
    psnr = np.mean([float(row["psnr"]) for row in rows if row["method"] == "good"])
    assert psnr == pytest.approx(record["means"]["good"]["psnr"]["value"])


def test_fid_against_other_originals(folders):
    request = run.FidRequest(
        measure=run.Measure(
            name="mean",
            identity="mean",
            columns=(),
            protocol="",
            of_pairs=False,
            compute=lambda batch: [
                {"features": fid.encode_features(np.asarray(photo, np.float32).mean((0, 1)))}
                for photo in batch.prediction[: len(batch.stems)]
            ],
        ),
        title="FID of means",
        protocol="by the mean colour",
        reference=folders / "others",
    )
    truth, _ = photo_pairs(30, side=48)
    for index, image in enumerate(truth[20:]):
        save(folders / "others" / f"{index}.png", image)
    (folders / "others" / "broken.png").write_bytes(b"")
    result = scored(folders, "good", metrics=("psnr",), size=48, fid_request=request)
    sides = []
    for photos in ([read_photo(folders / "good" / f"p{i:02}.png") for i in range(12)], truth[20:]):
        statistic = fid.RunningStatistics()
        statistic.add(np.array([np.float64(photo).mean((0, 1)) for photo in photos]))
        sides.append(statistic.result())
    value, count, reference = result.fid["good"]
    assert (count, reference) == (12, 10)
    assert value == pytest.approx(fid.frechet_distance(*sides), rel=1e-4)
    assert [problem.method for problem in result.problems] == ["FID reference others"]


@pytest.fixture
def tiny_vgg16(tmp_path):
    """A VGG16 for 32 pixels a side that answers class 7, then 6, 5, 4, 3, whatever it sees."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    arrays = {}
    for place, before, after in zip(places, widths[:-1], widths[1:], strict=True):
        arrays |= {f"features.{place}.weight": np.zeros((after, before, 3, 3), np.float32)}
        arrays |= {f"features.{place}.bias": np.zeros(after, np.float32)}
    for place, before, after in ((0, 512, 4), (3, 4, 4), (6, 4, 1000)):
        bias = np.zeros(after, np.float32)
        if place == 6:
            bias[3:8] = [1, 2, 3, 4, 5]
        arrays |= {f"classifier.{place}.weight": np.zeros((after, before), np.float32)}
        arrays |= {f"classifier.{place}.bias": bias}
    return write_pth(tmp_path / "vgg16.pth", arrays)


def test_top_1_and_top_5_beside_the_originals(folders, tiny_vgg16, capsys):
    labels = folders / "labels.txt"
    labels.write_text("".join(f"p{i:02}.JPEG {label}\n" for i, label in enumerate([7, 7, 7, 3, 4, 5, 900, 901])))
    command = ["score", str(folders / "originals"), str(folders / "good"), "-o", str(folders / "out")]
    main([*command, "--metrics", "", "--imagenet-weights", str(tiny_vgg16), "--imagenet-labels", str(labels)])
    means = json.loads((folders / "out" / "score.json").read_text())["means"]
    for method in ("original", "good"):
        assert means[method]["imagenet_top1"]["value"] == pytest.approx(3 / 8)
        assert means[method]["imagenet_top5"]["value"] == pytest.approx(6 / 8)
        assert means[method]["imagenet_top5"]["photos"] == 8  # of twelve; the others have no class
    assert "photos without a class left out" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "psnr,fid"], "there is no metric 'fid'"),
        (["--metrics", ""], "nothing to measure"),
        (["--fid-weights", "x.pth"], "belong to --fid-features"),
        (["--imagenet-labels", "x.txt"], "belong to --imagenet-weights"),
        (["--metrics", "", "--fid-features", "tf"], "pt_inception-2015-12-05-6726825d.pth from https://github.com"),
    ],
)
def test_mistakes_are_one_sentence(folders, capsys, options, message):
    with pytest.raises(SystemExit) as exit_:
        main(["score", str(folders / "originals"), str(folders / "good"), "-o", str(folders / "out"), *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
