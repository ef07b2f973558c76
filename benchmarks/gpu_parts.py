"""The parts of benchmarks/gpu.py: what each runs, the time that it may take, and what that was reckoned from."""

from __future__ import annotations

import attrs


@attrs.frozen
class Part:
    """Something to run."""

    name: str
    title: str
    seconds: int
    """The most that it may take, beside what earlier parts have left of theirs."""
    reckoned: str
    """Why that should do, on an H100."""
    rows: tuple[str, ...] = ()
    """Of benchmarks/step.py; none is a program of its own."""


PARTS = (
    Part("machine", "The machine", 20, "imports, 10 s"),
    Part(
        "smoke",
        "Each option computes what the defaults do",
        45,
        "start 12 s; 20 small networks made, 1 s each; 40 iterations of 0.1 s, bound by launches",
        ("smoke", "repeat", "one-rank"),
    ),
    Part(
        "training",
        "A cascade trained on drawn clips, by torchrun over NCCL, and its samples",
        70,
        "five programs' starts 45 s; 350 iterations of 50 ms, bound by launches; 40 statistics passes",
    ),
    Part(
        "peak",
        "Predicted peak memory over measured",
        60,
        "start 12 s; counting on cores beside, 40 s; 10 steps made in 2 s each, 2 iterations of at most 0.7 s",
        ("peak",),
    ),
    Part(
        "step",
        "The step",
        135,
        "start 12 s; iterations of 40 and 60 TFLOP, bounds 0.1 s (ours) and 0.2 s (plain), at a third of them 4 lines "
        "of 5 pairs, 20 s; 10 networks made in 2 s each; compiling 80 s",
        ("plain",),
    ),
    Part(
        "utilisation",
        "How much of the card a step uses",
        50,
        "start 12 s; counting 15 s; bounds 1 s (batch 64) and 0.4 s (32), 8 iterations at a third of the peak 20 s",
        ("utilisation",),
    ),
    Part(
        "dvd-gan",
        "Against DVD-GAN of the same output",
        45,
        "start 12 s; 9 networks made in 2 s each; bounds at batch 2: 0.13 s and 0.43 s, at a third of the peak 8 s",
        ("time", "memory"),
    ),
    Part("options", "Each option alone", 30, "start 12 s; 11 lines of 0.2 s an iteration", ("options",)),
    Part(
        "around",
        "Around the step",
        40,
        "start 12 s; 500 iterations of 10 ms; two loaders 8 s; three prefixes 4 s each",
        ("overhead", "prefix", "loader"),
    ),
    Part("attention", "Attention along each axis", 15, "start 8 s; milliseconds"),
)
OTHERS = Part("others", "Against other projects", 25, "start 12 s; 10 s", ("dgmr", "public"))
"""Only where their folders are given, and counted in the plan all the same."""
PROFILE = Part("profile", "Where the time goes", 20, "start 12 s; 8 iterations, profiled", ("profile",))
"""Last: it gets what is left."""


def plan() -> list[str]:
    """A table of the parts' times."""
    lines = ["| part | at most, s | reckoned |", "| --- | --- | --- |"]
    parts = (*PARTS, OTHERS, PROFILE)
    lines += [f"| {part.name} | {part.seconds} | {part.reckoned} |" for part in parts]
    lines.append(f"| all | {sum(part.seconds for part in parts)} | a part's spare seconds go to those after it |")
    return lines
