"""The audit: for each row, which annotations were read by whom and when, and whether the row may call itself realistic.

Evidence, none of it a promise: the ledger of the choice itself; the ledger of the training of the chosen run
(``provenance.json``); the card of the pseudo-boxes that chose, or the ledger of the training whose maps became
pseudo-masks; what a search of configurations learnt from. A row is ``realistic`` only if no ground truth was read for
training, selection or threshold, ``unvouched`` where evidence is missing, and otherwise ``not realistic``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wsol_bench.annotations.firewall import Access
from wsol_bench.judge.judgement import Decided
from wsol_bench.judge.scores import CLS, PX_AP
from wsol_bench.judge.selection import Decision
from wsol_bench.protocol import Protocol, SearchedProtocol

Stage = Literal["search", "training", "pseudo-boxes", "pseudo-masks", "choice", "score"]
Verdict = Literal["realistic", "not realistic", "unvouched"]


@dataclass(frozen=True)
class Evidence:
    """One reading of annotations.

    Attributes:
        stage: what it was read for.
        source: ``gt``, ``pseudo:ss``, ``labels``, or what the maker of pseudo-boxes had seen.
        split: of which split, or empty.
        reader: who read.
        at: UTC time of the first reading, or empty.
        count: number of readings.
    """

    stage: Stage
    source: str
    split: str
    reader: str
    at: str
    count: int


@dataclass(frozen=True)
class Provenance:
    """What is known about runs and boxes beside the records.

    Attributes:
        training: annotations read in training, by label of the run; runs without provenance are missing.
        annotators: what the maker of a source's boxes or masks had seen, by name; missing where nothing says so.
    """

    training: Mapping[str, Sequence[Access]]
    annotators: Mapping[str, str]


@dataclass(frozen=True)
class AuditedRow:
    """One cell with its evidence.

    Attributes:
        method: registered name.
        protocol: id and version, and the sampler of a search.
        source: what selected.
        policy: ``BV-VT`` and the like.
        metric: what is reported.
        run: the chosen run.
        claims: whether the row calls itself realistic.
        verdict: what the evidence says.
        reasons: why it is not realistic, or what is missing.
        remarks: what a reader should know besides.
        evidence: all readings.
    """

    method: str
    protocol: str
    source: str
    policy: str
    metric: str
    run: str
    claims: bool
    verdict: Verdict
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def refused(self) -> bool:
        """Whether the row calls itself realistic against the evidence."""
        return self.claims and self.verdict == "not realistic"

    def as_dict(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return {
            **{name: value for name, value in vars(self).items() if name != "evidence"},
            "refused": self.refused,
            "evidence": [vars(one) for one in self.evidence],
        }


def audit(judgement: Decided, provenance: Provenance, protocol: Protocol) -> list[AuditedRow]:
    """Audits every cell of a judgement."""
    seeds: dict[str, int] = {}
    for run in judgement.runs:
        configuration = run.label.partition("/seed")[0]
        seeds[configuration] = seeds.get(configuration, 0) + 1
    return [_audited(judgement, decision, provenance, protocol, seeds) for decision in judgement.decisions]


def _audited(
    judgement: Decided,
    decision: Decision,
    provenance: Provenance,
    protocol: Protocol,
    seeds: Mapping[str, int],
) -> AuditedRow:
    run = judgement.runs[decision.run].label
    evidence: list[Evidence] = []
    against: list[str] = []
    unknown: list[str] = []
    searched = protocol if isinstance(protocol, SearchedProtocol) else None
    if searched is not None and searched.learns:
        # Class accuracy is all that the study of a search is told (TrialStore.complete), once per trial.
        reader = f"the sampler '{searched.sampler}', to propose configurations"
        evidence.append(Evidence("search", "labels", "val", reader, "", len(judgement.runs)))
    trained = provenance.training.get(run)
    if trained is None:
        unknown.append("the training of this run has no provenance")
    for access in trained or ():
        evidence.append(_evidence("training", access))
        if _is_ground_truth(access):
            against.append(f"training read {access.key}")
    if any(access.source.startswith("pseudo:") for access in decision.accesses):
        seen = provenance.annotators.get(decision.source, "unknown")
        stage: Stage = "pseudo-masks" if decision.metric == PX_AP else "pseudo-boxes"
        evidence.append(Evidence(stage, seen, "", f"the maker of '{decision.source}'", "", 1))
        if seen == "unknown":
            unknown.append(f"nothing says what the maker of the {stage} '{decision.source}' had seen")
    for access in decision.accesses:
        evidence.append(_evidence("choice", access))
        if _is_ground_truth(access):
            against.append(f"the choice read {access.key}")
        elif access.source.startswith("folder:"):
            unknown.append(f"nobody vouches for the origin of '{decision.source}'")
    evidence.append(Evidence("score", "gt", "test", "the judge, to report", "", 1))
    enough = seeds.get(run.partition("/seed")[0], 0) >= protocol.seeds
    drawn = () if searched is None else (f"configurations by '{searched.sampler}', not common to all methods",)
    few = () if enough else (f"fewer than {protocol.seeds} seeds of the chosen configuration",)
    frozen = decision.source == CLS and decision.note.startswith("undefined")
    return AuditedRow(
        method=judgement.method,
        protocol=protocol.label,
        source=decision.source,
        policy=decision.label,
        metric=decision.metric,
        run=run,
        claims=decision.realistic,
        verdict="not realistic" if against else "unvouched" if unknown else "realistic",
        reasons=tuple(dict.fromkeys(against or unknown)),
        remarks=(*drawn, *few, *((decision.note,) if frozen else ())),
        evidence=tuple(evidence),
    )


def _is_ground_truth(access: Access) -> bool:
    return access.source.partition(":")[0] == "gt" or access.key == "labels:test"


def _evidence(stage: Stage, access: Access) -> Evidence:
    return Evidence(stage, access.source, access.split, access.reader, access.at, access.count)
