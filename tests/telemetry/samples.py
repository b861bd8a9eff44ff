"""Reading Prometheus's text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **of: str
) -> float:
    """The sum of a metric over all samples that have these labels."""
    return sum(
        value
        for (each, labels), value in samples.items()
        if each == name and set(of.items()) <= labels
    )
