"""Power spectra as a plot (appendix E, figure 9)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from framework.checkpoint import naming
from framework.figures import Record

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


def save_psd_plot(records: Sequence[Record], stem: Path) -> list[Path]:
    """Write the plot as ``stem.svg`` and ``stem.png``."""
    figure = psd_plot(records)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in ("svg", "png"):
        path, buffer = stem.with_name(f"{stem.name}.{kind}"), BytesIO()
        figure.savefig(buffer, format=kind, dpi=150)
        partial = path.with_name(path.name + ".partial")
        with naming(path):
            partial.write_bytes(buffer.getvalue())
        partial.replace(path)
        paths.append(path)
    return paths
