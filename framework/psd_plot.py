"""Power spectra as a plot (appendix E, figure 9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import attrs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from framework.checkpoint import naming
from framework.figures import Record
from framework.locking import locked
from framework.targets import stem_of

COLOURS = {"real": "#1f77b4", "generated": "#d1495b"}


def psd_plot(records: Sequence[Record], ink: str = "black") -> Figure:
    """A panel for each frame: real and generated spectra over frequency, their deviation over sets as a band."""
    figure = Figure(figsize=(3.2 * len(records), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    for axis, record in zip(axes, records, strict=True):
        detail = record.detail
        frequency = detail["frequency"][1:]
        for side, colour in COLOURS.items():
            mean, deviation = detail[side][1:], detail[f"{side}_std"][1:]
            low = [max(m - d, 1e-12) for m, d in zip(mean, deviation, strict=True)]
            high = [m + d for m, d in zip(mean, deviation, strict=True)]
            axis.plot(frequency, mean, color=colour, label=side, marker="." if len(mean) < 12 else "")
            axis.fill_between(frequency, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(xscale="log", yscale="log", title=f"frame {detail['frame']}", xlabel="cycles per pixel")
        axis.xaxis.set_major_locator(FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5]))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.set_facecolor("none")
        axis.tick_params(which="both", colors=ink)
        axis.title.set_color(ink)
        axis.xaxis.label.set_color(ink)
        for spine in axis.spines.values():
            spine.set_color(ink)
    axes[0].set_ylabel("power", color=ink)
    axes[0].legend(frameon=False, labelcolor=ink)
    return figure


def with_plots(records: Iterable[Record]) -> list[Record]:
    """The records, those of spectra with the name of their plot in the detail: of figures measured alike, one plot."""
    return [
        attrs.evolve(record, detail={**record.detail, "plot": f"{_stem(record)}.svg"})
        if record.metric == "psd"
        else record
        for record in records
    ]


def save_psd_plots(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write the plots that :func:`with_plots` has named, and each as PNG as well; returns the files."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if "plot" in record.detail:
            by_name.setdefault(record.detail["plot"], []).append(record)
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, alike in by_name.items() for path in _save(alike, folder / name)]


def _stem(record: Record) -> str:
    """What is asked for most, and a digest of the whole protocol."""
    protocol = record.protocol
    names = ("psd", str(protocol.get("stage")), str(protocol.get("frames")))
    sigma, seed = protocol.get("sigma", 1), protocol.get("seed", 0)
    stem = stem_of(names, length=None, ends=None, label=None, sigma=sigma, seed=seed)
    digest = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()
    return f"{stem}_{digest[:8]}"


def _save(records: Sequence[Record], path: Path) -> list[Path]:
    figure = psd_plot(records)
    paths = [path, path.with_suffix(".png")]
    with locked(path, wait=True):  # another evaluation may measure the very same
        for each in paths:
            buffer = BytesIO()
            figure.savefig(buffer, format=each.suffix[1:], dpi=150)
            partial = each.with_name(each.name + ".partial")
            with naming(each):
                partial.write_bytes(buffer.getvalue())
            partial.replace(each)
    return paths
