"""Ingestions that are killed before their n-th change to the disk, for every few n; a script.

Everything runs in forks of this process, which imports once and has no threads of its own. A fork does the whole
work itself, so that the changes of the processes that decode are counted among its own.

usage: python crash_points.py FOLDER PHASE STEP
"""

import itertools
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import attrs
from video_files import scene, write_video

from datasets import planning, shares
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.shares import Share, ingest_share
from datasets.sources.layouts import SourceFolder
from datasets.store import Settings

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


class Half:
    """Every second pixel."""

    def __call__(self, frames):
        return frames[:, ::2, ::2]

    def __str__(self):
        return "half"

    def size(self, height, width):
        return height // 2, width // 2


@attrs.frozen
class SmallShards(IngestOptions):
    """Options with shards of sixteen frames."""

    def settings(self):
        return Settings.of(self.size, self.size, 3, self.stride, self.codec, shard_bytes=16 * self.size**2 * 3)


OPTIONS = SmallShards(size=8, levels=(Half(),))


def inline(jobs, *_, **__):
    for number, job in enumerate(jobs):
        yield number, job({}, lambda step: None)


def plainly(work):
    ingest(SourceFolder(work.parent / "videos"), work / "x.zarr", OPTIONS, runner=inline, max_broken=0.5)


def replacing(work):
    source = SourceFolder(work.parent / "videos")
    ingest(source, work / "x.zarr", OPTIONS, runner=inline, max_broken=0.5, overwrite=True)


def in_shares(work):
    for index in range(2):
        ingest_share(SourceFolder(work.parent / "videos"), work / "x.zarr", OPTIONS, Share(index, 2), max_broken=0.5)


def nothing(work):
    work.mkdir()


def another_store(work):
    work.mkdir()
    fork(lambda: ingest(SourceFolder(work.parent / "videos"), work / "x.zarr", IngestOptions(size=4), max_broken=0.5))


def two_parts(work):
    """What a run leaves that is killed while it decodes the third part."""
    _parts(work, 2)


def all_parts(work):
    """What a run leaves that is killed when it is about to merge."""
    _parts(work, 3)


def _parts(work, count):
    work.mkdir()

    def killed(jobs, on_video):
        yield from itertools.islice(inline(jobs), count)
        if count < len(jobs):
            (work / f"x.zarr.partial/work/scratch/{count}").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)

    source = SourceFolder(work.parent / "videos")
    fork(lambda: ingest(source, work / "x.zarr", OPTIONS, runner=killed, max_broken=0.5))


PHASES = {
    "fresh": (nothing, plainly),
    "resume": (two_parts, plainly),
    "merge": (all_parts, plainly),
    "overwrite": (another_store, replacing),
    "shares": (nothing, in_shares),
}


def fork(call, at=0, folder=None):
    """Call in a fork, which kills itself before its ``at``-th change in ``folder``: the status, as of a shell."""
    child = os.fork()
    if not child:
        if at:
            _kill_before(at, str(folder))
        try:
            call()
        except BaseException:  # noqa: BLE001  # whatever it is, the fork must not go on as if it were the parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_before(at, folder):
    changes = itertools.count(1)

    def hook(event, arguments):
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and event not in CHANGES:
            return
        # Names without a folder are those of rmtree, which goes by descriptors.
        there = str(arguments[0]).startswith(folder) or event in ("os.remove", "os.rmdir")
        if there and next(changes) == at:
            sys.stderr.write(f"killed before change {at}: {event} {arguments[0]}\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def sweep(folder, phase, step):
    """Kill, run again and compare, for every ``step``-th change; how many, and what went wrong."""
    prepare, command = PHASES[phase]
    prepare(folder / "before")
    work = folder / "work"
    wanted, wrong, done = None, [], 0
    for at in itertools.chain([0], itertools.count(1, step)):
        shutil.copytree(folder / "before", work)
        if at and fork(lambda: command(work), at, work) != -signal.SIGKILL:
            return done, wrong
        if fork(lambda: command(work)):
            wrong.append(f"{at}: fails")
        elif wanted is None:
            wanted = tree(work)
        elif (found := tree(work)) != wanted:
            names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
            wrong.append(f"{at}: other {names}")
        done += at > 0
        shutil.rmtree(work)
    raise AssertionError


def main(folder, phase, step):
    planning.run_jobs, shares.local = inline, lambda workers: inline
    os.fsync = lambda descriptor: None  # what a process has written outlives it
    (folder / "videos").mkdir(parents=True)
    fork(lambda: [write_video(folder / "videos" / f"{name}.mp4", scene(12, 16, 16)) for name in "abc"])
    broken = folder / "videos/b.mp4"
    broken.write_bytes(broken.read_bytes()[:-40])
    done, wrong = sweep(folder, phase, step)
    sys.stdout.writelines(f"{line}\n" for line in (done, *wrong))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
