"""Everything that needs a GPU, in one run of under ten minutes: the tables of docs/performance.md and some pictures.

Each part runs as a process of its own within a time of its own; one that fails, or takes too long, is reported in its
place with what it had written until then, and the others go on. ``--device cpu --quick`` tries the script itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import torch

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 570
"""Seconds, for all parts together."""


@attrs.frozen
class Part:
    """Something to run."""

    name: str
    title: str
    seconds: int
    """The most that it may take."""
    rows: tuple[str, ...] = ()
    """Of benchmarks/step.py; none is a training."""


PARTS = (
    Part("smoke", "Each option computes what the defaults do", 60, ("smoke",)),
    Part("training", "A cascade trained on drawn clips, by torchrun, and its samples", 120),
    Part("step", "The step", 140, ("plain", "utilisation")),
    Part("dvd-gan", "Against DVD-GAN of the same output", 80, ("memory", "time")),
    Part("around", "Around the step", 80, ("overhead", "loader", "prefix")),
    Part("options", "Each option alone", 60, ("options",)),
    Part("others", "Against other projects", 60, ("dgmr", "public")),
    Part("profile", "Where the time goes", 50, ("profile",)),
    Part("compile", "torch.compile", 200, ("compile",)),
)


def main() -> int:
    """Run all parts and write ``gpu.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(part.name for part in PARTS)}")
    default = os.environ.get("OUT", "gpu_results")
    parser.add_argument("--out", type=Path, default=Path(default), help="folder (default: $OUT, else gpu_results)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the smallest of everything")
    parser.add_argument("--seconds", type=int, default=TOTAL, help="for all parts together (default: %(default)s)")
    parser.add_argument("--dvd-gan", type=Path, metavar="FOLDER", help="as benchmarks/step.py takes it")
    parser.add_argument("--dgmr", type=Path, metavar="FOLDER", help="as benchmarks/step.py takes it")
    arguments = parser.parse_args()
    names = [part.name for part in PARTS]
    if unknown := [name for name in arguments.parts if name not in names]:
        print(f"error: there is no part {unknown[0]!r}; allowed: {', '.join(names)}", file=sys.stderr)
        return 2
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("error: there is no GPU here; --device cpu --quick tries the script itself", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    page = arguments.out / "gpu.md"
    page.write_text("")
    end, failed = time.monotonic() + arguments.seconds, 0
    for part in PARTS:
        if part.name in (arguments.parts or names):
            failed |= _report(part, arguments, page, end)
    return failed


def _report(part: Part, arguments: argparse.Namespace, page: Path, end: float) -> int:
    """Run one part and write down what it printed; returns 1 when it did not come off."""
    started = time.monotonic()
    allowed = min(part.seconds, end - started)
    log = arguments.out / f"{part.name}.log"
    if allowed < 5:
        said, printed = "not run: no time was left", ""
    else:
        command = _training(arguments) if not part.rows else _rows(part, arguments)
        said, printed = _run(command, allowed, log)
    taken = time.monotonic() - started
    lines = [f"## {part.title}", "", printed.strip(), "", f"*{part.name}: {said}, {taken:.0f} s.*", "", ""]
    with page.open("a") as file:
        file.write("\n".join(lines))
    print("\n".join(lines), flush=True)
    return int(said != "done")


def _run(command: list[str], allowed: float, log: Path) -> tuple[str, str]:
    """How it ended, and what it printed; its stderr goes into ``log``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("w") as errors, log.with_suffix(".txt").open("w") as printed:
        # A session of its own, so that what it starts ends with it.
        process = subprocess.Popen(
            command, stdout=printed, stderr=errors, cwd=ROOT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(allowed)
            said = "done" if code == 0 else f"failed with code {code}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said = f"stopped after {allowed:.0f} s"
    text = log.with_suffix(".txt").read_text()
    log.with_suffix(".txt").unlink()
    if said != "done" and (tail := log.read_text().strip().splitlines()[-3:]):
        said += f" ({' / '.join(line.strip() for line in tail)})"
    return said, text


def _rows(part: Part, arguments: argparse.Namespace) -> list[str]:
    command = [sys.executable, "benchmarks/step.py", *part.rows, "--device", arguments.device]
    command += ["--quick"] if arguments.quick else []
    for option in ("dvd_gan", "dgmr"):
        if (folder := getattr(arguments, option)) is not None:
            command += [f"--{option.replace('_', '-')}", str(folder.resolve())]
    return command


def _training(arguments: argparse.Namespace) -> list[str]:
    """One shell command: clips, a store, a cascade by torchrun (NCCL where there is a GPU), its samples."""
    iterations, clips = (4, 16) if arguments.quick else (200, 128)
    work = arguments.out.resolve() / "training"
    shutil.rmtree(work, ignore_errors=True)
    python, store, run = sys.executable, work / "clips.zarr", work / "run"
    settings = {
        "data.path": store,
        "training.iterations": iterations,
        "stages.full.training.iterations": iterations * 3 // 4,
        "training.standing_passes": 2 if arguments.quick else 20,
        "training.batch_size": 4 if arguments.quick else 16,
    }
    changes = " ".join(f"--set {key}={value}" for key, value in settings.items())
    torchrun = f"{python} -m torch.distributed.run --standalone --nproc-per-node 1"
    count = 4 if arguments.quick else 8
    return [
        "bash",
        "-ec",
        f"""
        {python} tools/synthetic.py {work}/videos --clips {clips}
        {python} tools/ingest.py {work}/videos {store} --size 32
        {torchrun} tools/train.py exp/quickstart.py --work-dir {run} --launcher pytorch {changes}
        {python} tools/generate.py {run} --count {count} --sigma 0.5
        mkdir -p {work.parent}/pictures
        find {run} -name '*.png' -o -name '*.mp4' | while read file; do
            cp "$file" {work.parent}/pictures/"$(echo "${{file#{run}/}}" | tr / _)"
        done
        ls {work.parent}/pictures
        rm -rf {work}/videos
        """,
    ]


if __name__ == "__main__":
    sys.exit(main())
