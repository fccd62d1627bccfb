"""The report that puts the results of several sessions side by side."""

import json
import statistics

import accelerator_report
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import read_photo

THRESHOLDS = np.arange(151)


def run(gain, *, reach, share=0.9, branches=("soft", "reg"), images=100):
    """What a job records: on set "b" the gain is 0.1 dB higher than on "a"; all errors lie below `reach` units."""

    def row(extra=0.0):
        return {"psnr_gain": gain + extra, "ab_share": share, "colour_share": 0.5, "photos": 3}

    curve = np.minimum(THRESHOLDS / reach, 1).tolist()
    return {
        "images": images,
        "photos": 6,
        "mean": {branch: row(0.05) for branch in branches},
        "sets": {"a": {branch: row() for branch in branches}, "b": {branch: row(0.1) for branch in branches}},
        "curves": {name: curve for name in (*branches, "grey")},
    }


def write(path, **jobs):
    path.write_text(json.dumps(jobs), encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path):
    first = write(
        tmp_path / "first.json",
        ablation={"RegSoft, seed 0": run(1.0, reach=50), "SegClasRegSoft, seed 0": run(1.25, reach=30)},
    )
    second = write(
        tmp_path / "second.json",
        ablation={"RegSoft, seed 1": run(1.5, reach=50), "SegClasRegSoft, seed 1": run(1.53, reach=30)},
        comparison={"Iizuka 2016, seed 0": run(0.25, reach=75, branches=("reg",))},
    )
    return [first, second]


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_runs_of_several_sessions_count_by_their_mean_and_spread(results):
    rows = rows_of(accelerator_report.mean_table(accelerator_report.gather(results)))
    assert [row[:2] for row in rows] == [
        ["RegSoft", "annealed mean"],
        ["RegSoft", "regression"],
        ["SegClasRegSoft", "annealed mean"],
        ["SegClasRegSoft", "regression"],
        ["Iizuka 2016", "regression"],
    ]
    gain, ab, colour, area, runs = rows[0][2:]
    assert gain == f"{1.3:.3f} ± {statistics.stdev([1.05, 1.55]):.3f}"
    assert (ab, colour, runs) == ("0.900 ± 0.000", "0.500 ± 0.000", "2")
    assert area == f"{1 - 25 / 150:.4f} ± 0.0000"  # the triangle above a curve that rises over 50 units
    assert rows[4][5:] == [f"{1 - 37.5 / 150:.4f}", "1"]


def test_tables_call_a_methods_colours_what_its_results_call_them(results, tmp_path):
    larsson = run(0.3, reach=75, branches=("reg",)) | {"titles": {"reg": "decoded histograms", "soft": "annealed mean"}}
    runs = accelerator_report.gather(
        [*results, write(tmp_path / "l.json", comparison={"Larsson 2016, seed 0": larsson})]
    )
    assert rows_of(accelerator_report.mean_table(runs))[-1][:2] == ["Larsson 2016", "decoded histograms"]
    assert rows_of(accelerator_report.difference_table(runs))[-1][:2] == ["Larsson 2016", "decoded histograms"]
    assert "Larsson 2016, decoded histograms" in accelerator_report.set_table(runs).splitlines()[0]


def test_methods_are_compared_set_by_set(results):
    rows = rows_of(accelerator_report.difference_table(accelerator_report.gather(results)))
    assert rows[0] == ["SegClasRegSoft", "annealed mean", "+0.140 ± 0.000", "2 of 2"]
    assert rows[2] == ["Iizuka 2016", "regression", "-1.000 ± 0.000", "0 of 2"]


def test_sets_with_labels_have_a_column_of_their_own(results):
    runs = accelerator_report.gather(results)
    for of_method in runs["SegClasRegSoft"].values():
        of_method["sets"]["b"]["soft"]["psnr_gain"] += 1
    row = rows_of(accelerator_report.difference_table(runs, labelled=["b"]))[0]
    assert row == ["SegClasRegSoft", "annealed mean", "+0.640 ± 0.500", "+1.140", "+0.140", "2 of 2"]


def test_an_unknown_set_is_refused_before_anything_is_written(results, tmp_path, capsys):
    with pytest.raises(SystemExit):
        accelerator_report.main([*map(str, results), "--labelled", "b,c", "--output", str(tmp_path / "out.json")])
    assert "names no set of these results: c; there are a, b." in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_every_set_has_the_first_methods_gain_and_the_others_above_it(results):
    table = accelerator_report.set_table(accelerator_report.gather(results))
    assert [row[:4] for row in rows_of(table)] == [["a", "3", "1.25", "1.25"], ["b", "3", "1.35", "1.35"]]
    assert [row[4:] for row in rows_of(table)] == [["+0.14", "+0.14", "-1.00"]] * 2


def test_the_same_run_twice_is_one_and_another_of_the_same_name_is_refused(results, tmp_path):
    assert accelerator_report.gather([*results, results[0]]) == accelerator_report.gather(results)
    other = write(tmp_path / "other.json", ablation={"RegSoft, seed 0": run(2.0, reach=50)})
    with pytest.raises(UserError, match="another run of RegSoft, seed 0"):
        accelerator_report.gather([*results, other])
    of_other_photos = {**run(2.0, reach=50), "sets": {"c": run(2.0, reach=50)["sets"]["a"]}}
    with pytest.raises(UserError, match="of different sets of photos"):
        accelerator_report.gather([*results, write(tmp_path / "c.json", ablation={"RegSoft, seed 2": of_other_photos})])
    with pytest.raises(UserError, match="no results of ablation or comparison"):
        accelerator_report.gather([write(tmp_path / "empty.json", smoke={})])


def test_a_record_and_later_results_make_the_next_record(results, tmp_path):
    record = tmp_path / "out.json"
    accelerator_report.main([str(results[0]), "--output", str(record)])
    later = accelerator_report.gather([record, results[1]])
    assert later == accelerator_report.gather(results)
    assert accelerator_report.report(later) == accelerator_report.report(accelerator_report.gather(results))


def test_record_tables_and_figure_lie_side_by_side(results, tmp_path, capsys):
    output = tmp_path / "out.json"
    accelerator_report.main([*map(str, results), "--output", str(output)])
    assert output.with_suffix(".md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert json.loads(output.read_text())["SegClasRegSoft"]["1"]["images"] == 100
    assert np.ptp(read_photo(output.with_suffix(".png"))) > 200
