"""What a trained classifier leaves behind, as :mod:`components.classifiers.stored` reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from torch import Tensor, nn

from components.classifiers.stored import MANIFEST, NETWORK, HeldOut, Manifest
from framework.artifact import SPEC, versions
from framework.checkpoint import file_digest, first_not_finite, sync, write_whole
from framework.classifier import ClassifierExperiment
from framework.classifier_data import RULE
from framework.classifier_model import accuracy_of
from framework.experiment import dump
from framework.tensor_file import save_tensors
from registry import InputError
from registry.checksum import checksummed
from registry.convert import unstructure


def save_classifier(
    folder: Path,
    experiment: ClassifierExperiment,
    network: nn.Module,
    *,
    told: Tensor,
    classes: tuple[str, ...],
    fingerprint: str,
) -> Manifest:
    """Write the artifact beside ``folder`` and move it there whole.

    Args:
        folder: of the artifact; must not exist.
        experiment: what it was trained by.
        network: trained.
        told: for each class how many of the clips held out it tells, of how many: ``(classes, 2)``.
        classes: their names.
        fingerprint: of the dataset.

    Raises:
        InputError: the weights are not finite, or cannot be written.
    """
    if (name := first_not_finite(network.state_dict())) is not None:
        raise InputError.of(str(folder), f"is not written: {name} is not finite", "a lower learning rate")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_tensors(partial / NETWORK, network.state_dict())
    write_whole(partial / SPEC, dump(experiment))
    manifest = Manifest(
        network=experiment.network,
        clip=experiment.clip,
        classes=classes,
        iterations=experiment.training.iterations,
        data=fingerprint,
        held_out=HeldOut(
            rule=RULE.format(share=experiment.training.held_out),
            clips=int(told[:, 1].sum()),
            accuracy=accuracy_of(told),
            per_class={name: (right, there) for name, (right, there) in zip(classes, told.tolist(), strict=True)},
        ),
        digests={name: file_digest(partial / name) for name in (NETWORK, SPEC)},
        versions=versions(),
    )
    write_whole(partial / MANIFEST, json.dumps(checksummed(unstructure(manifest)), indent=2) + "\n")
    partial.rename(folder)
    sync(folder.parent)
    return manifest
