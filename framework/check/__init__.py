"""The check of a whole spec before any device is touched: every error at once, each with its path."""

from __future__ import annotations

from typing import Any

from framework.check.edges import check_edges
from framework.check.names import check_names
from framework.check.networks import check_networks
from framework.check.repair import structure_what_can_be
from framework.check.training import check_training
from framework.experiment import Experiment
from registry import InputError
from registry.convert import unstructure

__all__ = ["check"]


def check(spec: Experiment | dict[str, Any]) -> Experiment:
    """The spec (plain data or an experiment) as an experiment that can be trained.

    In order: fields and their types; what trainings ask for; names and options of components; sources, order
    and reachability; views, clips and windows; the networks themselves, built and run on the meta device, which
    holds no data. A step looks only at what the steps before found sound, so that one mistake is one error.

    Raises:
        InputError: with every problem found.
    """
    data = unstructure(spec) if isinstance(spec, Experiment) else spec
    experiment, findings = structure_what_can_be(data)
    if experiment is not None:
        check_training(experiment, findings)
        check_names(experiment, findings)
        check_edges(experiment, findings)
        check_networks(experiment, findings)
    if findings.problems:
        raise InputError(findings.problems) from findings.cause
    assert experiment is not None  # noqa: S101  # no experiment means problems, raised above
    return experiment
