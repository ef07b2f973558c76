"""Everything that needs a GPU, in one run of under ten minutes: the tables of docs/performance.md and some pictures.

Each part runs as a process of its own within a time of its own; one that fails, or takes too long, is reported in its
place with what it had written until then and the end of what it said, and the others go on. What is written goes
straight into ``gpu.md``, so that nothing is lost if this program itself is stopped. ``--device cpu --quick`` tries it.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_ending import MARK, end, sigterm_unwinds

from gpu_parts import OTHERS, PARTS, PROFILE, Part, plan

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 570
"""Seconds that all parts may take together, ends included."""
LEAST = 8
"""Seconds under which a part is not begun."""
ON_CPU = 5
"""How many times as long a CPU may take."""
LAST_LINES = 30
"""Of what a failed part said, that are shown."""
PICTURES = 1_000_000
"""Bytes that pictures and films may have together; what is left over stays behind."""
MOST_PICTURES = 6
"""So that there are no more than eight files in all."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="\n".join(["parts, and the times that they keep to:", *plan()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [part.name for part in (*PARTS, OTHERS, PROFILE)]
    known.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)} (default: all)")
    default = os.environ.get("OUT", "gpu_results")
    known.add_argument("--out", type=Path, default=Path(default), help="folder (default: $OUT, else gpu_results)")
    known.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: %(default)s)")
    known.add_argument("--quick", action="store_true", help="the smallest of everything")
    known.add_argument("--commit", default="", help="of this tree, where there is no git to say it")
    known.add_argument("--plan", action="store_true", help="print the parts' times and end")
    known.add_argument("--dvd-gan", type=Path, metavar="FOLDER", help="as benchmarks/step.py takes it")
    known.add_argument("--dgmr", type=Path, metavar="FOLDER", help="as benchmarks/step.py takes it")
    return known


def main() -> int:
    """Run all parts and write ``gpu.md``; 1 when one did not come off."""
    arguments = parser().parse_args()
    if arguments.plan:
        print("\n".join(plan()))
        return 0
    others = arguments.dvd_gan is not None or arguments.dgmr is not None
    parts = {part.name: part for part in (*PARTS, OTHERS, PROFILE)}
    if unknown := [name for name in arguments.parts if name not in parts]:
        alike = "".join(f"; did you mean {each!r}?" for each in difflib.get_close_matches(unknown[0], parts, n=1))
        print(f"error: there is no part {unknown[0]!r}; allowed: {', '.join(parts)}{alike}", file=sys.stderr)
        return 2
    if arguments.device == "cuda" and not _has_gpu():
        print("error: there is no GPU here; --device cpu --quick tries the script itself", file=sys.stderr)
        return 2
    chosen = arguments.parts or [name for name in parts if name != OTHERS.name or others]
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --out: {arguments.out}: {error.strerror}; allowed: a folder", file=sys.stderr)
        return 2
    page, log = (arguments.out / name for name in ("gpu.md", "gpu.log"))
    # An earlier run's stay: they may have been paid for.
    heading = f"# {time.strftime('%Y-%m-%d %H:%M:%S %z')}\n\n"
    _tell(page, heading)
    with log.open("a") as file:
        file.write(heading)
    began, spare, failed = time.monotonic(), 0.0, []
    for name in chosen:
        part = parts[name]
        longer = 1 if arguments.device == "cuda" else ON_CPU
        allowed = min(part.seconds * longer + spare, LIMIT * longer - (time.monotonic() - began))
        taken, said = _report(part, arguments, page, log, allowed)
        spare = allowed - taken
        failed += [name] if said != "done" else []
    last = f"{time.monotonic() - began:.0f} s in all; " + (f"failed: {', '.join(failed)}" if failed else "all done")
    _tell(page, f"*{last}.*\n")
    return int(bool(failed))


def _has_gpu() -> bool:
    """Asked of a process of its own: this one is to leave the GPU alone."""
    question = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", question], check=False).returncode == 0


def _report(part: Part, arguments: argparse.Namespace, page: Path, log: Path, allowed: float) -> tuple[float, str]:
    """Run a part; the seconds that it took and how it ended."""
    started = time.monotonic()
    _tell(page, f"## {part.title}\n\n")
    said, errors = "not run: no time was left", ""
    if allowed >= LEAST:
        with tempfile.TemporaryDirectory(prefix="gpu_") as work:
            said, errors = _run(_command(part, arguments, Path(work)), allowed, page)
            _keep_pictures(Path(work) / "run", arguments.out)
    with log.open("a") as file:
        file.write(f"===== {part.name}: {said}\n{errors}\n")
    taken = time.monotonic() - started
    _tell(page, f"\n*{part.name}: {said}, {taken:.0f} s of {allowed:.0f}.*\n\n")
    if said != "done" and errors:
        lines = errors.strip().splitlines()[-LAST_LINES:]
        _tell(page, "\n".join(["```", *lines, "```", "", ""]))
    return taken, said


def _tell(page: Path, text: str) -> None:
    """Write to the page and to whoever looks on."""
    with page.open("a") as file:
        file.write(text)
    print(text, end="", flush=True)


def _run(command: list[str], allowed: float, page: Path) -> tuple[str, str]:
    """How it ended, and its stderr. What it prints goes to the end of ``page`` at once."""
    before, mark = page.stat().st_size, f"{os.getpid()}-{time.monotonic_ns()}"
    with page.open("a") as printed, tempfile.TemporaryFile() as errors:
        try:
            # A session of its own: an interrupt from the keyboard is for this program, which ends the part in order.
            process = subprocess.Popen(
                command, stdout=printed, stderr=errors, cwd=ROOT, env=_environment(mark), start_new_session=True
            )
            try:
                code = process.wait(allowed)
                said = "done" if code == 0 else f"failed with code {code}"
            except subprocess.TimeoutExpired:
                said = f"stopped after {allowed:.0f} s"
            # Before it is ended, since what it says to that is no news.
            text = os.pread(errors.fileno(), os.fstat(errors.fileno()).st_size, 0).decode(errors="replace")
        finally:
            end(mark)
        process.wait()
    with page.open() as file:
        file.seek(before)
        print(file.read(), end="", flush=True)
    return said, text


def _environment(mark: str) -> dict[str, str]:
    folders = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if importlib.util.find_spec("platformdirs") is None:
        folders.append(str(ROOT / "benchmarks" / "stand_ins"))
    return {**os.environ, MARK: mark, "PYTHONPATH": os.pathsep.join(filter(None, folders)), "PYTHONUNBUFFERED": "1"}


def _command(part: Part, arguments: argparse.Namespace, work: Path) -> list[str]:
    python = sys.executable
    if part.name == "machine":
        given = shlex.join(["python", *sys.orig_argv[1:]])
        asked = ["--device", arguments.device, "--commit", arguments.commit, "--command", given]
        return [python, "benchmarks/gpu_machine.py", *asked]
    if part.name == "training":
        return _training(arguments, work)
    if part.name == "attention":
        small = ["--small", "--dtype", "float32"] if arguments.quick else []
        return [python, "benchmarks/attention.py", "--device", arguments.device, *small]
    command = [python, "benchmarks/step.py", *part.rows, "--device", arguments.device, "--runs", "4"]
    command += ["--quick"] if arguments.quick else []
    for option in ("dvd_gan", "dgmr"):
        if (folder := getattr(arguments, option)) is not None:
            command += [f"--{option.replace('_', '-')}", str(folder.resolve())]
    return command


def _training(arguments: argparse.Namespace, work: Path) -> list[str]:
    """One shell command: clips, a store, a cascade by torchrun (NCCL where there is a GPU), its samples and figures."""
    iterations, clips = (4, 16) if arguments.quick else (200, 128)
    python, store, run = sys.executable, work / "clips.zarr", work / "run"
    settings = {
        "data.path": store,
        "training.iterations": iterations,
        "stages.full.training.iterations": iterations * 3 // 4,
        "training.standing_passes": 2 if arguments.quick else 20,
        "training.batch_size": 4 if arguments.quick else 16,
    }
    changes = " ".join(f"--set {key}={value}" for key, value in settings.items())
    torchrun = f"{python} -m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 1"
    count = 4 if arguments.quick else 8
    # Fenced: what commands say is no table.
    return [
        "bash",
        "-ec",
        f"""
        echo '```'
        {python} tools/synthetic.py {work}/videos --clips {clips}
        {python} tools/ingest.py {work}/videos {store} --size 32
        {torchrun} tools/train.py exp/quickstart.py --work-dir {run} --launcher pytorch {changes}
        for stage in base full; do tail -n 1 {run}/$stage/metrics.jsonl; done
        {python} tools/generate.py {run} --count {count} --sigma 0.5
        {python} tools/evaluate.py {run} --count {clips} --metrics psd,grounding,motion,fid \
            --features 'RandomFeatures(dim=8)'
        echo '```'
        """,
    ]


def _keep_pictures(run: Path, out: Path) -> None:
    """The cascade's last samples, the smallest files first, as far as they are small enough together."""
    found = [path for path in run.rglob("*") if path.suffix in (".png", ".mp4") and path.is_file()]
    left = PICTURES
    for path in sorted(found, key=lambda path: path.stat().st_size)[:MOST_PICTURES]:
        left -= path.stat().st_size
        if left < 0:
            return
        (out / "pictures").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / "pictures" / "_".join(path.relative_to(run).parts))


if __name__ == "__main__":
    with sigterm_unwinds():
        sys.exit(main())
