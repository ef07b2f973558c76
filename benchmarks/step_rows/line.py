"""A line of the table: what was compared, the bar, what was measured."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import torch

from clip_store_rows.measuring import Ratio, compare_times, seconds


@attrs.frozen(kw_only=True)
class Settings:
    """How rows are to be measured."""

    device: torch.device
    runs: int
    """Pairs of turns."""
    quick: bool = False
    """The smallest of everything, to try the rows themselves."""
    dvd_gan: Path | None = None
    """A checkout of the public DVD-GAN."""
    dgmr: Path | None = None
    """A folder with the package ``dgmr``."""

    @property
    def cuda(self) -> bool:
        """Whether a GPU is measured."""
        return self.device.type == "cuda"


@attrs.frozen
class Bar:
    """What is asked for; ``None`` where nothing is."""

    value: float
    least: bool = True
    unit: str = "x"

    def __str__(self) -> str:
        return f"{'at least' if self.least else 'at most'} {_number(self.value, self.unit)}"

    def holds(self, measured: float) -> bool:
        """Whether ``measured`` does."""
        return measured >= self.value if self.least else measured <= self.value


@attrs.frozen(kw_only=True)
class Line:
    """One line."""

    work: str
    value: float
    """Measured; what the bar is on."""
    spread: tuple[float, float] | None = None
    """Quartiles of ``value``."""
    bar: Bar | None = None
    unit: str = "x"
    detail: str = ""
    """Both ways' own figures."""
    equal: str = ""
    """How far both ways' results are apart, where they should be the same."""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Work, bar, measured, detail and equality, as text."""
        measured = _number(self.value, self.unit)
        if self.spread is not None:
            low, high = (_number(each, self.unit) for each in self.spread)
            measured += f" ({low} to {high})"
        if self.bar is not None and not self.bar.holds(self.value):
            measured += ", **misses**"
        return self.work, "" if self.bar is None else str(self.bar), measured, self.detail, self.equal


def of_ratio(work: str, ratio: Ratio, bar: Bar | None = None, equal: str = "") -> Line:
    """A line of how many times as fast the first way is as the second."""
    detail = f"{duration(ratio.ours)}, {duration(ratio.theirs)}"
    return Line(work=work, value=ratio.value, spread=(ratio.low, ratio.high), bar=bar, detail=detail, equal=equal)


def in_turns(
    settings: Settings, ours: Callable[[], object], theirs: Callable[[], object], runs: int | None = None
) -> Ratio:
    """``theirs`` over ``ours`` in turns, what was started on the device included."""
    one, other = (partial(timed, call, settings.device) for call in (ours, theirs))
    return compare_times(one, other, max(2, settings.runs if runs is None else runs))


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of ``call`` until the device has done it."""
    if device.type != "cuda":
        return seconds(call)
    torch.cuda.synchronize()

    def whole() -> None:
        call()
        torch.cuda.synchronize()

    return seconds(whole)


def clear(device: torch.device) -> None:
    """Give back what earlier measurements held."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def duration(taken: float) -> str:
    """Seconds for a person."""
    return f"{taken:.2f} s" if taken >= 1 else f"{1000 * taken:.3g} ms"


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.2g}%" if abs(value) < 1 else f"{100 * value:.0f}%"
    return f"{value:.3g}x" if unit == "x" else f"{value:.3g} {unit}".strip()
