"""Figures as tables, each with what it was measured on, and spectra as plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from framework.figures import Record, tables
from framework.psd_plot import psd_plot
from framework.report.curves import INK, as_svg
from framework.report.html import Html, folded, join, table, tag

HEAD = ("metric", "value", "95% confidence", "better", "class", "of real", "what it is")
EXPLAINED = {
    "fvd": ("lower", "Fréchet distance of a network's logits"),
    "fid": ("lower", "Fréchet distance of a network's last activations"),
    "is": ("higher", "inception score: sure of single videos, various over all"),
    "psd": ("lower", "difference of power spectra, mean over frequencies"),
    "grounding_psnr": ("higher", "view of the video against the low-resolution one it was made of"),
    "grounding_ssim": ("higher", "view of the video against the low-resolution one it was made of"),
    "seams": ("near 1", "frame differences across window borders over those inside"),
    "motion": ("lower", "distance of the histograms of optical flow, pixels per frame"),
}
"""By a metric's name what is better, and what it is in a few words; docs/metrics.md has the rest."""
_OF_ONE_METRIC = ("layer", "interval", "metric_options")


def figure_tables(records: Sequence[Record]) -> Html:
    """A table for each protocol, with its spectra and, folded, all of the protocol."""
    parts: list[Html] = []
    for number, each in enumerate(tables(records)):
        if number:
            differs = tag("ul", *[tag("li", clause) for clause in each.differs])
            parts.append(tag("p", "Another protocol, not to be compared with the tables above."))
            parts.append(folded("in what it differs from the first", differs))
        shown = table(HEAD, [_row(record) for record in each.records], in_words(each.protocol))
        parts.append(tag("div", shown, class_="figures"))
        spectra = [record for record in each.records if record.metric == "psd"]
        if spectra:
            label = f"Power spectra of real and generated frames, table {number + 1}"
            parts.append(tag("div", as_svg(psd_plot(spectra, ink=INK), label), class_="card"))
        whole = {**each.protocol, "of each metric": _own_protocols(each.records)}
        parts.append(folded("protocol", tag("pre", json.dumps(whole, indent=2))))
    return join(parts)


def _own_protocols(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """By a metric's name what its figures do not share with others: a part of a protocol, or several."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        own = {name: record.protocol.get(name) for name in _OF_ONE_METRIC}
        there = found.setdefault(record.metric, [])
        if own not in there:
            there.append(own)
    return found


def in_words(protocol: Mapping[str, Any]) -> str:
    """The heart of a protocol in a line."""
    videos = protocol.get("videos") or {}
    features = protocol.get("features")
    parts = [
        f"{protocol.get('stage')}: {videos.get('generated')} generated and {videos.get('real')} real videos",
        f"{protocol.get('size')}, {protocol.get('frames')} frames at stride {protocol.get('stride')}",
        f"sigma {protocol.get('sigma')}, seed {protocol.get('seed')}",
        f"real videos of {protocol.get('split')}",
    ]
    if features:
        known = features.get("held_out_accuracy")
        accuracy = f", which tells {known:.0%} of the clips held out" if isinstance(known, float) else ""
        parts.append(f"features of {features.get('network')}{accuracy}")
    return "; ".join(parts)


def _row(record: Record) -> tuple[str, ...]:
    unit = " dB" if record.metric in ("psd", "grounding_psnr") else ""
    frame = f", frame {record.detail['frame']}" if "frame" in record.detail else ""
    options = f", {record.protocol['metric_options']}" if record.protocol.get("metric_options") else ""
    features = record.protocol.get("features")
    random = " (random features)" if features and features.get("random") else ""
    interval = "" if record.interval is None else "{:.4g} to {:.4g}".format(*record.interval)
    real = record.detail.get("real")
    better, explained = EXPLAINED.get(record.metric, ("", ""))
    return (
        f"{record.metric}{frame}{options}{random}",
        f"{record.value:.4g}{unit}",
        interval,
        better,
        record.label or "all",
        f"{real:.4g}" if isinstance(real, float) else "",
        explained,
    )
