"""Markdown and LaTeX of a table: numbers as printed, sections set apart, and no name that breaks the file."""

from __future__ import annotations

from wsol_bench.report.printed_table import PrintedTable
from wsol_bench.report.table_texts import latex, markdown, write_texts

TABLE = PrintedTable(
    "x",
    "Values [%]",
    ("name", "value"),
    (("a|b <i> *c*", 1.234), ("50 % of $x_1$ & {y}\\z", None), ("50 % of $x_1$ & {y}\\z", 2.0)),
    ("A ~note^.",),
    section=0,
)


def test_markdown() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[0] == r"**Values \[%\]**"
    assert lines[2:4] == ["| name | value |", "| --- | ---: |"]
    assert lines[4] == r"| a\|b &lt;i&gt; \*c\* | 1.23 |"
    assert lines[5].endswith("| - |")
    assert lines[-1] == r"A \~note^."


def test_latex() -> None:
    text = latex(TABLE)
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{Values [\%]. A \textasciitilde{}note\textasciicircum{}.}" in text
    assert r"a|b \textless{}i\textgreater{} *c* & 1.23 \\" in text
    assert r"50 \% of \$x\_1\$ \& \{y\}\textbackslash{}z & - \\" in text
    assert text.count(r"\midrule") == 2


def test_a_name_over_two_lines_stays_in_its_row() -> None:
    table = PrintedTable("x", "t", ("a",), (("one\ntwo",),))
    assert "| one two |" in markdown(table)
    assert r"one two \\" in latex(table)


def test_files(tmp_path) -> None:
    files = write_texts(TABLE, tmp_path)
    assert {name: path.name for name, path in files.items()} == {
        "CSV": "table-x.csv", "Markdown": "table-x.md", "LaTeX": "table-x.tex",
    }  # fmt: skip
    assert files["LaTeX"].read_text() == latex(TABLE)
