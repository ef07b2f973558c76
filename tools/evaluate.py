"""Measure a trained run's videos against real ones: each figure is a JSON line with all that was done to measure it."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import attrs

from framework.evaluate import Request, evaluate
from framework.figures import FIGURES, add_figures, as_plain, as_text, read_figures
from framework.launch import LAUNCHERS, launched
from framework.measures import NAMES
from framework.psd_plot import save_psd_plots, with_plots
from framework.targets import refuse_file
from framework.together import on_first, together
from registry import InputError
from registry.cli import at_least_0, named_path, note, positive, run, say, whole


def main(arguments: argparse.Namespace) -> int:
    """Evaluate."""
    request = Request(
        stage=arguments.stage,
        store=arguments.store,
        metrics=None if arguments.metrics is None else tuple(arguments.metrics),
        features=arguments.features,
        frames=arguments.frames,
        count=arguments.count,
        batch=arguments.batch,
        sigma=arguments.sigma,
        seed=arguments.seed,
        per_class=arguments.per_class,
    )
    is_run = (arguments.run / "spec.json").is_file() and not (arguments.run / "manifest.json").is_file()
    out = arguments.out or (arguments.run if is_run else Path()) / "evaluation" / FIGURES
    with launched(arguments.launcher):
        together(partial(_refuse_out, out, asked=arguments.out is not None))
        records = with_plots(evaluate(arguments.run, request))
        on_first(partial(add_figures, out, records))
        plots = on_first(partial(save_psd_plots, records, out.parent))
        if arguments.json:
            say(*(json.dumps(as_plain(record)) for record in records))
        else:
            say(*as_text(records), f"with their protocols in {out}", *(str(path) for path in plots))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Request()
    parser = argparse.ArgumentParser(
        prog="tools/evaluate.py",
        description=__doc__,
        epilog="examples: python tools/evaluate.py runs/quickstart; python tools/evaluate.py runs/quickstart "
        "--metrics fid,is --features runs/quickstart_classifier --per-class",
    )
    parser.add_argument(
        "run", metavar="RUN", type=named_path, help="work directory of tools/train.py, or an artifact's folder"
    )
    parser.add_argument(
        "--store", metavar="STORE", type=_named, help="clip store of real videos (default: the run's own data)"
    )
    parser.add_argument(
        "--metrics",
        type=_names,
        metavar="NAMES",
        help=f"some of {','.join(NAMES)}, also with options, 'psd(frames=[1,8])' (default: all that can be measured)",
    )
    parser.add_argument(
        "--features",
        metavar="NETWORK",
        help="for fvd, fid, is: a component like RandomFeatures or 'I3D(weights=...)', a file of I3D weights, or a "
        "trained classifier's run",
    )
    parser.add_argument("--stage", metavar="NAME", help="the last stage to run (default: the last of the cascade)")
    parser.add_argument("--frames", type=positive, metavar="T", help="length of the videos (default: the clip's)")
    parser.add_argument(
        "--count", type=positive, metavar="N", help="real and generated videos, each (default: as many as clips)"
    )
    parser.add_argument("--batch", type=positive, default=defaults.batch, help="at a time (default: %(default)s)")
    parser.add_argument(
        "--sigma", type=at_least_0, default=defaults.sigma, help="of the noise (default: %(default)s, the paper's)"
    )
    parser.add_argument("--seed", type=whole, default=defaults.seed, help="(default: %(default)s)")
    parser.add_argument("--per-class", action="store_true", help="figures of every class as well (fvd, fid, is)")
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="FILE",
        help=f"file of the figures (default: evaluation/{FIGURES} in the run, of an artifact in the working directory)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON lines")
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="none",
        help="what started the processes that share the videos: nothing, torchrun, srun or mpirun "
        "(default: %(default)s)",
    )
    return parser


def _refuse_out(out: Path, *, asked: bool) -> None:
    """Refuse a file that cannot take figures before they are measured, which may take hours.

    Args:
        out: the file.
        asked: whether ``--out`` names it.
    """
    refuse_file(out, makes_folder=not asked)
    try:
        _, cut_short = read_figures(out)
    except InputError as error:
        first = error.problems[0]
        option = "--out: " if asked else ""
        allowed = f"{first.allowed or 'figures as lines of JSON'}, or another file by --out"
        raise InputError(attrs.evolve(first, where=f"{option}{first.where}", allowed=allowed)) from None
    if cut_short:
        note(cut_short)


def _named(text: str) -> str:
    """A path as a text."""
    return str(named_path(text))


def _names(text: str) -> list[str]:
    """Names between commas; those inside of brackets belong to a component's options."""
    names, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names]


if __name__ == "__main__":
    sys.exit(run(main, parser()))
