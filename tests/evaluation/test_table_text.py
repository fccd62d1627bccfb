import csv
import io

from semcolor_jax.evaluation import table_text

HEADER = ["method", "PSNR ↑"]
ROWS = [["a|b", "23.10 [22.5, 24.0]"], ["1e3", ""]]


def test_markdown_escapes_bars_and_leaves_what_looks_like_a_number():
    lines = table_text.markdown(HEADER, ROWS).splitlines()
    cells = [[cell.strip() for cell in line.replace(r"\|", "/").strip("|").split("|")] for line in lines]
    assert cells[0] == HEADER
    assert cells[2:] == [["a/b", "23.10 [22.5, 24.0]"], ["1e3", ""]]
    assert cells[1][0].startswith(":-")
    assert cells[1][1].endswith("-:")


def test_latex_has_booktabs_rules_and_raw_cells():
    text = table_text.latex(["method", r"PSNR $\uparrow$"], [["a", r"1 {\scriptsize [0, 2]}"]], above=["group", "rule"])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines == [
        r"\begin{tabular}{lr}",
        *(r"\toprule", "group", "rule"),
        r"method & PSNR $\uparrow$ \\",
        r"\midrule",
        r"a & 1 {\scriptsize [0, 2]} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert table_text.escape_latex(r"50 %_Δ\~") == r"50 \%\_$\Delta$\textbackslash{}\textasciitilde{}"


def test_plain_columns_end_at_the_same_place():
    lines = table_text.plain(HEADER, ROWS).splitlines()
    assert lines[0].index("PSNR ↑") + len("PSNR ↑") == len(lines[2]) == lines[2].index("24.0]") + len("24.0]")
    assert set(lines[1]) == {"-", " "}


def test_csv_quotes_what_csv_reads_back():
    rows = [["a", "b,c"], ['say "x"', "2"]]
    text = table_text.as_csv(rows)
    assert list(csv.reader(io.StringIO(text))) == rows
    assert "\r" not in text
