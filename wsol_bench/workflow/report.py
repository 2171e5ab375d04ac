"""The report of a study: one folder of HTML, pictures and tables that opens without a server and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsol_bench import __version__
from wsol_bench.annotations import firewall
from wsol_bench.atomic import whole_folder, write_json
from wsol_bench.errors import UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.report.conclusion import gaps_of, in_words, points
from wsol_bench.report.html_tables import (
    audit_counts,
    intervals_of,
    printed_html,
    realistic_of,
    results_table,
)
from wsol_bench.report.page import write_page
from wsol_bench.report.printed_table import PrintedTable
from wsol_bench.report.searched import marked
from wsol_bench.report.study_tables import audit_table
from wsol_bench.report.table_texts import write_texts
from wsol_bench.report.tables import METRIC_TITLES
from wsol_bench.training.trial_folder import dataset_slug
from wsol_bench.workflow.report_facts import commands_of, costs_table, provenance_of
from wsol_bench.workflow.report_gallery import galleries_of, sources_of
from wsol_bench.workflow.selection_tables import Figure, Study, audit_of, figures_of, tables_of

MARKER: Final = "report.json"
"""Names the format in a report's folder, so that only reports are ever replaced."""

SECTIONS: Final = (
    ("results", "Results"),
    ("explorer", "Explorer"),
    ("gallery", "Gallery"),
    ("curves", "Curves"),
    ("tables", "Tables"),
    ("audit", "Audit"),
    ("costs", "Costs"),
    ("provenance", "Provenance"),
)


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        page: the page to open.
        files: number of files.
        size: of all files, in bytes.
    """

    page: Path
    files: int
    size: int


def check_out(out: Path) -> None:
    """Refuses a folder that is not empty and no report, before any work is done.

    Raises:
        UsageError: see above.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file())):
        raise UsageError(
            f"Expected --out to be a new folder or an earlier report but '{out}' holds something else; fix: another "
            "name. Nothing was changed."
        )


def write_report(
    study: Study,
    out: Path,
    *,
    images: int = 8,
    figures: bool = True,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
) -> Written:
    """Writes the report, whole: an earlier report in ``out`` is replaced at the end, or not at all.

    Args:
        study: what was judged.
        out: the folder.
        images: per list of the gallery.
        figures: draw the figures of the protocol chapter.
        measured: costs of predictions by method, where they were measured.

    Raises:
        UsageError: ``out`` is something else than a report.
        RecordError: a record is damaged.
        DataError: an image cannot be read.
        MissingPackageError: matplotlib is not installed and figures are wanted.
    """
    check_out(out)
    with whole_folder(out, overwrite=True) as folder:
        write_page(folder, _content(study, folder, images, figures, measured or {}))
        write_json(folder / MARKER, {"report": 1, "dataset": study.plan.dataset, "code_version": __version__})
    files = [path for path in out.rglob("*") if path.is_file()]
    return Written(out / "index.html", len(files), sum(path.stat().st_size for path in files))


def _content(
    study: Study, folder: Path, images: int, figures: bool, measured: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    judged = study.judged
    protocol, headline = judged.protocol, judged.protocol.headline
    with firewall.ledger() as book:
        galleries = galleries_of(study, folder, images)
        made = tables_of(study)
        drawn = _figures(study, folder) if figures else []
    audited = audit_of(study)
    _write_data(study, folder, [row.as_dict() for row in audited])
    realistic = realistic_of(judged.rows)
    intervals = intervals_of(judged.rows, "max_box_acc")

    def shown(table: PrintedTable, **options: Any) -> Any:
        files = {name: f"tables/{path.name}" for name, path in write_texts(table, folder / "tables").items()}
        return printed_html(table, files, realistic, **options)

    gaps = gaps_of(judged.overstatements, judged.rows, protocol)
    claims, confirmed, refused = audit_counts(audited)
    supervision = "+".join(sorted({*judged.supervision.split("+"), *book.supervision().split("+")} - {"none"}))
    missing = "; ".join(dict.fromkeys(f"{row.method}: {row.missing}" for row in judged.rows if row.missing))
    return {
        "dataset": study.dataset.name,
        "frame": study.dataset.frame,
        "code_version": __version__,
        "protocol": protocol,
        "facts": _facts(study),
        "sections": SECTIONS,
        "words": in_words(gaps),
        "missing": missing,
        "claims": claims,
        "refused": refused,
        "gaps": gaps,
        "points": points,
        "scale": _scale([value for gap in gaps for value in (*gap.usual, *gap.realistic)]),
        "metric": METRIC_TITLES[headline.metric],
        "headline": f"{headline.selection}-{headline.threshold}",
        "baselines": ", ".join(f"{name} {accuracy:.1f} %" for name, (accuracy, _) in judged.fixed_boxes.items()),
        "audit_words": _audit_words(claims, confirmed, refused),
        "results": shown(marked(results_table(judged.rows, protocol.metrics), protocol)),
        "tables": [shown(one, intervals=intervals if one.id.startswith("4.2") else None) for one in made],
        "audit": shown(marked(audit_table([row for row in audited if row.metric == headline.metric]), protocol)),
        "costs": shown(costs_table(study, measured)),
        "figures": [_figure_view(figure, folder) for figure in drawn],
        "sources": sources_of(study),
        "galleries": galleries.views,
        "explorer": galleries.explorer,
        "provenance": provenance_of(study, supervision or "none"),
        "left_out": [problem for one in judged.judgements for problem in one.dropped],
        "commands": commands_of(study),
    }


def _write_data(study: Study, folder: Path, audited: list[dict[str, Any]]) -> None:
    write_csv(folder / "data" / "rows.csv", study.judged.rows)
    write_json(folder / "data" / "audit.json", {"rows": audited})
    study.plan.write(folder / "data")


def _figures(study: Study, folder: Path) -> list[Figure]:
    from wsol_bench.report.figures import tau_figure

    suffixes = (".svg", ".pdf", ".png")
    drawn = figures_of(study, folder / "figures", suffixes)
    with firewall.judging("the figures of the report"):
        for judgement in study.judged.judgements:
            name = f"tau-{dataset_slug(judgement.method)}"
            paths = tuple(folder / "figures" / f"{name}{suffix}" for suffix in suffixes)
            tau_figure([judgement], study.judged.sources, study.judged.protocol, *paths)
            title = f"{judgement.method}: test accuracy over the threshold, and the threshold that each source froze"
            drawn.append(Figure(name, title, paths))
    return drawn


def _figure_view(figure: Figure, folder: Path) -> dict[str, Any]:
    paths = {path.suffix[1:].upper(): path.relative_to(folder).as_posix() for path in figure.files}
    return {"title": figure.title, "svg": paths["SVG"], "files": paths}


def _facts(study: Study) -> str:
    judged = study.judged
    methods = ", ".join(one.method for one in judged.judgements)
    runs = sum(len(one.runs) for one in judged.judgements)
    return (
        f"{methods} \u00b7 {runs} runs \u00b7 {judged.judgements[0].num_images} test images \u00b7 "
        f"selected by {', '.join(judged.sources)} \u00b7 protocol {judged.protocol.label}"
    )


def _audit_words(claims: int, confirmed: int, refused: int) -> str:
    if not claims:
        return "No row of this study calls itself realistic."
    words = f"{claims} rows call themselves realistic; the evidence confirms {confirmed}"
    if refused:
        words += f" and refutes {refused}"
    if claims - confirmed - refused:
        words += f"; nobody vouches for {claims - confirmed - refused}"
    return f"{words}."


def _scale(values: list[float]) -> int:
    """End of the axis of the first table: the next ten."""
    return min(100, 10 * (int(max(values, default=0.0) // 10) + 1))
