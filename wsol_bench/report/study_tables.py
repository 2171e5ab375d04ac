"""Tables beyond the protocol chapter: what selection costs, whose order agrees, which methods differ, and the audit."""

from __future__ import annotations

from collections.abc import Sequence

from wsol_bench.judge.agreement import Agreement
from wsol_bench.judge.audit import AuditedRow
from wsol_bench.judge.budget import BudgetCurve, budgets
from wsol_bench.judge.comparisons import Comparison
from wsol_bench.judge.regret import Regret
from wsol_bench.judge.selection import Decision
from wsol_bench.report.printed_table import Cell, PrintedTable

_ORACLES = {"test": "test set", "gt": "manual validation boxes"}


def regret_table(regrets: Sequence[Regret]) -> PrintedTable:
    """What each source's choice of epoch, configuration and threshold costs, against two oracles."""
    return PrintedTable(
        "regret",
        "Selection regret on the test set [points]: what an oracle in place of the source would have gained",
        ("method", "source", "choice of", "oracle", "chosen", "oracle's", "regret", "ci low", "ci high"),
        tuple(
            (
                one.method,
                one.source,
                one.kind,
                _ORACLES[one.oracle],
                one.chosen,
                one.best,
                one.value,
                one.interval.low,
                one.interval.high,
            )
            for one in regrets
        ),
        (
            "Epochs and configurations are compared at each model's best test threshold.",
            "Against manual boxes regret may be negative: pseudo-boxes can be luckier.",
            "Intervals: 95 %, paired bootstrap over test images, both choices fixed.",
        ),
        section=1,
    )


def agreement_table(agreements: Sequence[Agreement]) -> PrintedTable:
    """Kendall's tau of configurations and of methods."""
    return PrintedTable(
        "agreement",
        "Rank agreement with an oracle (Kendall's tau-b; 1 is the same order)",
        ("ordered", "source", "oracle", "n", "tau", "ci low", "ci high"),
        tuple(
            (
                one.what if one.what == "methods" else f"configurations of {one.what}",
                one.source,
                "manual boxes, BT-TT" if one.what == "methods" else _ORACLES[one.oracle],
                one.n,
                one.tau,
                one.low,
                one.high,
            )
            for one in agreements
        ),
        ("Intervals: 95 %, bootstrap over configurations, or over test images where methods are ordered.",),
        section=0,
    )


def comparison_table(comparisons: Sequence[Comparison]) -> PrintedTable:
    """Every pair of methods, with p-values after Holm's correction."""
    notes = ["Paired bootstrap over test images; Holm's correction within each source and policy."]
    if any(not one.resolvable for one in comparisons):
        notes.append(
            "Too few bootstrap replicates for any corrected p-value below 0.05: select again with more --replicates."
        )
    return PrintedTable(
        "comparisons",
        "Differences between methods on the same test images [points]",
        ("source", "policy", "first", "second", "difference", "ci low", "ci high", "p", "p (Holm)", "differ"),
        tuple(
            (
                one.source,
                one.policy,
                one.first,
                one.second,
                one.difference,
                one.interval.low,
                one.interval.high,
                f"{one.p_value:.4f}",
                f"{one.p_holm:.4f}",
                one.significant,
            )
            for one in comparisons
        ),
        tuple(notes),
        section=1,
    )


def budget_table(curves: Sequence[BudgetCurve]) -> PrintedTable:
    """Expected test number if only n configurations had been tried."""
    most = max((len(curve.expected) for curve in curves), default=1)
    shown = budgets(most)
    lines: list[tuple[Cell, ...]] = []
    for curve in curves:
        expected = [float(curve.expected[n - 1]) if n <= len(curve.expected) else None for n in shown]
        lines.append((curve.method, curve.source, curve.policy, *expected))
    return PrintedTable(
        "budget",
        "Expected test result [%] of the choice among n random configurations (exact, without replacement)",
        ("method", "source", "policy", *(f"n={n}" for n in shown)),
        tuple(lines),
        section=1,
    )


def reuse_table(cells: Sequence[tuple[str, Decision, Decision]]) -> PrintedTable:
    """BT-VT with the configuration picked again, and with that of BT-TT kept (both readings of the thesis).

    Args:
        cells: method, the cell picked again, the cell that keeps the configuration.
    """
    return PrintedTable(
        "reuse",
        "BT-VT [%]: configuration picked by its own numbers, or that of BT-TT kept",
        ("method", "source", "metric", "picked again", "kept"),
        tuple((method, again.source, again.metric, again.value, kept.value) for method, again, kept in cells),
        section=0,
    )


def audit_table(rows: Sequence[AuditedRow]) -> PrintedTable:
    """One line per cell: what was read for it, by whom and when, and the verdict."""
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        verdict = f"REFUSED: {row.verdict}" if row.refused else row.verdict
        lines.append((row.method, row.source, row.policy, row.metric, verdict, "; ".join(row.reasons), _read(row)))
    return PrintedTable(
        "audit",
        "Which annotations each row rests on",
        ("method", "source", "policy", "metric", "verdict", "because", "read"),
        tuple(lines),
        ("Every value was scored on the test split against ground truth, after all choices.",),
        section=1,
        wrapped=("because", "read"),
    )


def _read(row: AuditedRow) -> str:
    """What was read before the score: by stage, with the readers and the time of the first reading."""
    parts = []
    for stage in dict.fromkeys(one.stage for one in row.evidence if one.stage != "score"):
        found = [one for one in row.evidence if one.stage == stage]
        sources = ", ".join(":".join(filter(None, (one.source, one.split))) for one in found)
        readers = ", ".join(dict.fromkeys(one.reader for one in found))
        first = min(one.at for one in found)
        parts.append(f"{stage}: {sources} ({', '.join(filter(None, (readers, first)))})")
    return "; ".join(parts) or "class labels only"
