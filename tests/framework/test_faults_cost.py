"""Taking up a run costs as much at iteration 100,000 as at 10, but for reading its lines of metrics again."""

import json
import os
import signal
import sys
from pathlib import Path

from commands import at_step, ended
from tiny_runs import two_stages

from framework.checkpoint import Checkpoints, load_checkpoint, newest_whole
from framework.run_folder import RunFolder
from framework.stage_data import StageClips

ROOT = Path(__file__).parents[2]
OWN = tuple(str(ROOT / name) for name in ("framework", "datasets", "components", "registry"))
EXPERIMENT = two_stages(iterations=200_000, checkpoint_every=1000, sample_every=1000, log_every=1000)


def _counted(iterations: int, work_file: Path) -> None:
    """Count the lines that Python executes in the project's own files, and what is read, until the run is stopped."""
    lines, reads, read = {}, [], StageClips.read

    def reading(clips, position, out):
        reads.append(position)
        return read(clips, position, out)

    def tracing(frame, event, argument):
        if not frame.f_code.co_filename.startswith(OWN):
            return None
        if event == "line":
            lines[frame.f_code.co_filename] = lines.get(frame.f_code.co_filename, 0) + 1
        return tracing

    def tell(model) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    StageClips.read = reading
    at_step(iterations, tell)
    end = sys.exit

    def ending(code=0):
        sys.settrace(None)
        work_file.write_text(json.dumps({"lines": lines, "reads": reads}))
        end(code)

    sys.exit = ending
    sys.settrace(tracing)


def _relabelled(run: RunFolder, iteration: int) -> None:
    """Say that the newest checkpoint is that of another iteration."""
    path, _ = newest_whole(run.checkpoints("base"))
    state = load_checkpoint(path)
    for old in run.checkpoints("base").iterdir():
        old.unlink()
    Checkpoints(run.checkpoints("base")).save(iteration, {**state, "iteration": iteration})


def test_taking_up_costs_the_same_anywhere(tmp_path):
    """At iteration 10 and at 100,000: as many clips read, as many lines of the project's code executed."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    ended(EXPERIMENT, run.path, scratch, _counted, 10, tmp_path / "work.json")
    work = {}
    for iteration in (10, 100_000):
        _relabelled(run, iteration)
        [process] = ended(EXPERIMENT, run.path, scratch, _counted, 3, tmp_path / "work.json")
        assert process.wait() == 75, process.err
        assert f"carrying on at iteration {iteration}" in process.out
        work[iteration] = json.loads((tmp_path / "work.json").read_text())
        assert work[iteration]["reads"] == list(range(8 * iteration, 8 * (iteration + 3)))
    assert work[10]["lines"] == work[100_000]["lines"]
