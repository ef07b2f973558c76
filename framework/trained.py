"""Trained stages on the disk, wherever they are: in a run, or in the folder of one artifact alone."""

from __future__ import annotations

from pathlib import Path

import attrs

from components.clip import Span
from framework.artifact import (
    MANIFEST,
    SOURCE,
    SPEC,
    Manifest,
    load_link,
    manifest_digest,
    read_manifest,
    read_own_manifest,
)
from framework.cascade import Cascade
from framework.experiment import Experiment, load
from framework.graph import Stage
from framework.run_folder import RunFolder
from framework.spec_file import import_modules
from framework.statistics import note_digest, take
from registry import InputError


@attrs.frozen(kw_only=True)
class Trained:
    """The stages of a cascade from the base to one of its stages, each an artifact."""

    experiment: Experiment
    stages: tuple[Stage, ...]
    """From the base on."""
    folders: dict[str, Path]
    """Each stage's artifact."""
    manifests: dict[str, Manifest]
    """What each says of itself; verified, as is that they belong together."""
    run: RunFolder | None
    """The run that they are of; None for an artifact alone."""

    @property
    def name(self) -> str:
        """The last stage's name."""
        return self.stages[-1].name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None when unconditional."""
        return self.manifests[self.name].classes

    @property
    def digest(self) -> str:
        """Of the last stage's manifest, which names those of the others."""
        return manifest_digest(self.folders[self.name])


@attrs.frozen(kw_only=True)
class Loaded:
    """A cascade ready for videos of one length."""

    cascade: Cascade
    statistics: dict[str, str]
    """How each stage's batch-norm statistics are taken, in words."""


def find(path: Path, stage: str | None = None) -> Trained:
    """The trained stages in ``path``.

    Args:
        path: a run folder, or an artifact's folder.
        stage: the last stage; default the graph's, or the artifact's own.

    Raises:
        InputError: there is nothing trained, a stage is unknown or not done, a file is damaged, or the artifacts do
            not belong together.
    """
    if (path / MANIFEST).is_file():
        experiment, stages, folders = _of_artifact(path, stage)
        run = None
    else:
        run = RunFolder(path)
        experiment = run.experiment()
        stages = experiment.graph.chain(stage or only_leaf(experiment))
        folders = {each.name: run.artifact(each.name) for each in stages}
    manifests = {
        each.name: read_own_manifest(folders[each.name], experiment, each, folders.get(each.source or ""))
        for each in stages
    }
    return Trained(experiment=experiment, stages=tuple(stages), folders=folders, manifests=manifests, run=run)


def only_leaf(experiment: Experiment) -> str:
    """The name of the graph's last stage.

    Raises:
        InputError: it has several.
    """
    names = [leaf.name for leaf in experiment.graph.leaves()]
    if len(names) > 1:
        raise InputError.of("--stage", "the cascade has several ends; say which", allowed=", ".join(names))
    return names[0]


def open_cascade(trained: Trained, frames: int | None = None, after: str | None = None) -> Loaded:
    """Load the cascade, on the CPU, for videos of ``frames`` frames.

    Args:
        trained: where it is.
        frames: length of the last stage's videos; default its clip's.
        after: leave out the stages up to this one, whose videos come from elsewhere.

    Raises:
        InputError: an artifact does not fit its spec, or statistics are damaged.
    """
    names = [stage.name for stage in trained.stages]
    first = 0 if after is None else names.index(after) + 1
    links = []
    for stage in trained.stages[first:]:
        source = trained.folders[stage.source] if stage.source else None
        links.append(load_link(trained.folders[stage.name], trained.experiment, stage, source))
    cascade = Cascade(links)
    statistics: dict[str, str] = {}
    lengths = cascade.lengths(frames)
    below: str | None = None
    if after is not None and (low := links[0].generator.source_span(Span.whole(lengths[0]))) is not None:
        below = note_digest(trained.folders[after], low.total)  # what the first link's statistics were estimated on
    for link, length in zip(links, lengths, strict=True):
        folder = trained.folders[link.name]
        statistics[link.name] = take(link, folder, trained.manifests[link.name], length, below)
        below = note_digest(folder, length)
    return Loaded(cascade=cascade, statistics=statistics)


def _of_artifact(path: Path, stage: str | None) -> tuple[Experiment, list[Stage], dict[str, Path]]:
    own = read_manifest(path).stage  # before its spec is believed, which may name modules to import
    try:
        experiment = load((path / SPEC).read_text())
    except (OSError, UnicodeDecodeError):
        raise InputError.of(str(path / SPEC), "is missing from the artifact, or is not a text file") from None
    except InputError as error:
        raise error.under(str(path / SPEC)) from None
    import_modules(experiment.imports, ())
    if own not in experiment.graph.names():
        raise InputError.of(str(path / MANIFEST), f"names stage {own!r}, which its spec does not have")
    chain, folders, folder = experiment.graph.chain(own), {}, path
    for each in reversed(chain):
        folders[each.name] = folder
        folder = folder / SOURCE
    names = [each.name for each in chain]
    if stage is not None and stage not in names:
        raise InputError.unknown("--stage", "stage", stage, names)
    stages = chain if stage is None else chain[: names.index(stage) + 1]
    return experiment, stages, folders
