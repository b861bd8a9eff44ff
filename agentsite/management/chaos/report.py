"""The table, and the first proofs of what went wrong."""

from __future__ import annotations

from collections import Counter

from agentsite.management.chaos.findings import KINDS, Findings
from agentsite.management.chaos.web import Kill

SHOWN = 20
LONGEST = 600


def show(found: Findings, kills: list[Kill], met: Counter[str]) -> str:
    """Everything that a person wants to see, as text."""
    by_kind = Counter(kill.kind for kill in kills)
    rows: list[tuple[str, str]] = [(name, f"{value:g}") for name, value in found.figures.items()]
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(by_kind.items()))
    rows.append(("kills", f"{len(kills)} ({told})" if kills else "0"))
    rows += [(kind, str(len(found.faults.get(kind, [])))) for kind in KINDS]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    lines.append("")
    lines.append("  met by clients: " + ", ".join(f"{n} {what}" for what, n in met.most_common()))
    for kind in KINDS:
        faults = found.faults.get(kind, [])
        lines += [f"  {kind}: {text[:LONGEST]}" for text in faults[:SHOWN]]
        if len(faults) > SHOWN:
            lines.append(f"  {kind}: and {len(faults) - SHOWN} more")
    return "\n".join(lines)
