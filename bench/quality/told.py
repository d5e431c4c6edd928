"""What a person reads at the end of a run. Knows figures only."""

from __future__ import annotations

from bench.quality.kept import Document


def told(document: Document) -> list[str]:
    """A few lines on what the document holds."""
    lines = []
    if found := document.get("shipped"):
        for lang, one in sorted(found["summary"].items()):
            lines.append(
                f"ships, {lang}: {100 * one['accuracy']:.1f} % right, macro-F1 {one['macro_f1']:.3f}, "
                f"ECE {one['ece']:.3f}, answers {100 * one['coverage_at_10']:.0f} % at 10 % wrong"
            )
    everybody = document.get("contenders", {}).get("found", {}) | document.get("peers", {}).get("found", {})
    strangers = document.get("ood", {}).get("found", {}) | {
        name: one["outside"]
        for name, one in document.get("peers", {}).get("found", {}).items()
        if "outside" in one
    }
    for name, one in everybody.items():
        if "failed" in one:
            lines.append(f"{name}: could not be run")
            continue
        by = [
            f"{lang} macro-F1 {one['summary'][lang]['macro_f1']:.3f}, ECE {one['summary'][lang]['ece']:.3f}"
            + (f", strangers {strangers[name]['mean'][lang]:.3f}" if name in strangers else "")
            for lang in sorted(one["summary"])
            if lang != "all"
        ]
        lines.append(f"{name}: {'; '.join(by)}; {one['microseconds']:,.0f} µs")
    for name, one in document.get("clinc", {}).get("found", {}).items():
        lines.append(f"CLINC150, {name}: accuracy {one['accuracy']:.3f}, strangers {one['auroc']:.3f}")
    for lang, one in document.get("sources", {}).get("mean", {}).items():
        lines.append(f"sources never seen, {lang}: accuracy {one['accuracy']:.3f}, ECE {one['ece']:.3f}")
    return lines
