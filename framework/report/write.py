"""Put the page together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from framework.checkpoint import write_whole
from framework.describe import describe_stage
from framework.experiment import Experiment, dump
from framework.figures import FIGURES, read_figures
from framework.metrics_file import read_metrics
from framework.plain_data import read_json
from framework.report.curves import curves
from framework.report.figures import figure_tables
from framework.report.graph import graph_svg
from framework.report.html import Html, folded, join, missing, section, table, tag
from framework.report.samples import Shown, amid_training, sample_films
from framework.report.style import SCRIPT, STYLE
from framework.run_folder import ENVIRONMENT_NAME, RunFolder
from framework.train import is_done
from framework.trained import find
from registry import InputError

SECTIONS = ("Cascade", "Samples", "Figures", "Training", "Costs", "Spec", "Environment")


def write_report(run: RunFolder, out: Path, shown: Shown) -> Path:
    """Write the page of a run; it needs no other file and no network.

    Raises:
        InputError: the folder holds no run, or a file of it is damaged, but for that of the environment.
    """
    experiment = run.experiment()
    parts = {
        "Cascade": graph_svg(experiment),
        "Samples": _samples(run, experiment, shown),
        "Figures": _figures(run),
        "Training": _training(run, experiment),
        "Costs": _costs(run, experiment),
        "Spec": folded("spec.json", tag("pre", dump(experiment))),
        "Environment": _environment(run),
    }
    links = [tag("a", name, href=f"#{name.lower()}") for name in SECTIONS]
    graph = experiment.graph
    classes = "unconditional" if graph.classes is None else f"{graph.classes} classes"
    body = tag(
        "main",
        tag("h1", experiment.name),
        tag("p", f"{len(graph.stages)} stages to {graph.clip}, {classes}; data {experiment.data}", class_="soft"),
        tag("nav", *links, aria_label="Parts of the page"),
        *[section(name, parts[name]) for name in SECTIONS],
    )
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<link rel="icon" href="data:,">'),  # browsers would ask for one
        tag("title", f"{experiment.name}: a cascade of video GANs"),
        tag("style", Html(STYLE)),
    )
    page = tag("html", head, tag("body", body, tag("script", Html(SCRIPT))), lang="en")
    write_whole(out, f"<!doctype html>\n{page}\n")
    return out


def _samples(run: RunFolder, experiment: Experiment, shown: Shown) -> Html:
    done = [stage for stage in experiment.graph.order() if is_done(run, stage)]
    waiting = [stage for stage in experiment.graph.order() if stage not in done]
    amid = [amid_training(stage.name, run.samples(stage.name)) for stage in waiting]
    if not done:
        return join([missing(f"No stage is trained yet: python tools/train.py ... --work-dir {run.path}"), *amid])
    ends = [stage for stage in done if not any(other.source == stage.name for other in done)]
    parts = [sample_films(find(run.path, stage.name), shown) for stage in ends]
    if waiting:
        parts.append(missing(f"Not trained yet: {', '.join(stage.name for stage in waiting)}"))
    return join([*parts, *amid])


def _figures(run: RunFolder) -> Html:
    records, note = read_figures(run.path / "evaluation" / FIGURES)
    if not records:
        return missing(f"Nothing is measured yet: python tools/evaluate.py {run.path}")
    return join([*([] if note is None else [missing(note)]), figure_tables(records)])


def _training(run: RunFolder, experiment: Experiment) -> Html:
    parts = []
    for stage in experiment.graph.order():
        lines, note = read_metrics(run.metrics(stage.name))
        drawn = curves(lines, stage.name) if len(lines) > 1 else missing("Fewer than two lines of metrics so far.")
        notes = [] if note is None else [missing(note)]
        parts.append(tag("div", tag("h3", stage.name), drawn, *notes, class_="card curves"))
    return join(parts)


def _costs(run: RunFolder, experiment: Experiment) -> Html:
    rows = []
    for stage in experiment.graph.order():
        counts = describe_stage(experiment, stage)["parameters"]
        lines, _ = read_metrics(run.metrics(stage.name))
        rates = sorted(line["clips_per_second"] for line in lines if "clips_per_second" in line)
        memory = max((line["memory_mb"] for line in lines if "memory_mb" in line), default=None)
        done = lines[-1]["iteration"] if lines else 0
        training = experiment.training_of(stage)
        seconds = _seconds(lines, training.discriminator_steps * training.batch_size)
        rows.append(
            (
                stage.name,
                f"{counts['generator']:,}",
                f"{sum(counts.values()) - counts['generator']:,}",
                f"{done:,} of {training.iterations:,}",
                f"{rates[len(rates) // 2]:.1f}" if rates else "",
                f"{memory:,.0f} MB" if memory is not None else "",
                "" if seconds is None else f"{seconds / 60:.1f} min",
            )
        )
    head = (
        "stage",
        "parameters of G",
        "of all D",
        "iterations",
        "clips/s (median)",
        "peak memory",
        "time in iterations",
    )
    return table(
        head, rows, "As measured while it trained; memory is that of the process, or of the GPU where there is one."
    )


def _seconds(lines: list[dict[str, Any]], clips: int) -> float | None:
    """Time spent in iterations, from the rate that each line tells."""
    total, before = 0.0, 0
    for line in lines:
        rate = line.get("clips_per_second")
        if not rate:
            return None
        total += (line["iteration"] - before) * clips / rate
        before = line["iteration"]
    return total or None


def _environment(run: RunFolder) -> Html:
    path = run.path / ENVIRONMENT_NAME
    if not path.is_file():
        return missing("There is no record of where it was trained.")
    try:
        rows = _starts(read_json(path))
    except InputError as error:
        return missing(str(error))
    except (LookupError, TypeError, AttributeError):  # JSON, but of another form
        return missing(f"{path}: is damaged (no list of records)")
    return table(("what", "of the latest start"), rows)


def _starts(records: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    latest = records[-1]
    return [
        ("command", " ".join(map(str, latest.get("command", [])))),
        ("python", latest.get("python", "")),
        ("platform", latest.get("platform", "")),
        *((name, latest[name]) for name in ("device", "processes") if name in latest),
        *latest.get("versions", {}).items(),
        ("started", f"{len(records)} time{'s' * (len(records) != 1)}"),
    ]
