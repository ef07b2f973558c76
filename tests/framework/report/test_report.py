"""The page of a run: what is on it, what it says where something is missing, and that it needs nothing else."""

import base64
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import pytest
from tiny_runs import copy_of

from framework.evaluate import Request, evaluate
from framework.figures import Record, add_figures
from framework.metrics_file import read_metrics
from framework.report import samples, write_report
from framework.report.curves import curves
from framework.report.figures import figure_tables
from framework.report.html import Html, tag, text
from framework.report.samples import Shown
from framework.run_folder import RunFolder
from registry import InputError

SHOWN = Shown(samples=3)


class Page(HTMLParser):
    """The elements of a page, and whether each is closed."""

    def __init__(self, path):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(path.read_text())
        assert self._open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "link", "img"):
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def all(self, name):
        return [attributes for element, attributes in self.elements if element == name]


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    """A run with figures of two protocols."""
    run = copy_of(trained, tmp_path_factory.mktemp("report") / "run")
    figures = run.path / "evaluation" / "figures.jsonl"
    add_figures(figures, evaluate(run.path, Request(count=8)))
    add_figures(figures, evaluate(run.path, Request(metrics=("fid",), features="RandomFeatures(dim=3)", sigma=0.5)))
    return run


@pytest.fixture(scope="module")
def page(measured):
    """Its page."""
    return write_report(measured, measured.path / "report.html", SHOWN)


def test_it_holds_everything(page):
    """All stages' film, what is generated and real ones for each stage, curves, spectra, tables, spec, environment."""
    found = Page(page)
    labels = [film["aria-label"] for film in found.all("video")]
    assert [label.split()[0] for label in labels] == ["Stages", "Samples", "Real", "Samples", "Real"]
    assert all("muted" in film and film["src"].startswith("data:video/mp4;base64,") for film in found.all("video"))
    drawn = [svg["aria-label"] for svg in found.all("svg")]
    assert len([label for label in drawn if label.startswith("Losses")]) == 2
    assert any(label.startswith("Power spectra") for label in drawn)
    written = page.read_text()
    for words in (
        "UpsamplingGenerator",
        "grounding_ssim",
        "Another protocol",
        "random features",
        "circle",
        "peak memory",
        "full: 8 generated and 8 real videos; 8x8, 8 frames at stride 1; sigma 1.0, seed 0; real videos of the data",
        "features of RandomFeatures",
        "higher",
    ):
        assert words in written


def test_real_videos_are_of_the_same_classes(page):
    """Under the generated videos and under the real ones beside them stand the same classes in the same order."""
    captions = re.findall(r"<figcaption>(?:generated at sigma 0.5, seed 0|real): (.*?)</figcaption>", page.read_text())
    assert captions == ["circle, cross, square"] * 4


def test_what_was_measured_amid_training_is_drawn():
    """Figures that some lines have get a panel by their name; all that training itself logs gets none."""
    training = {"loss_D": 1.0, "t/real": 1.0, "t/fake": 0.0, "lr_generator": 1.0, "memory_mb": 3.0, "grad_norm_D": 2.0}
    lines = [{"iteration": i, **training, "clips_per_second": 3.0} for i in (1, 2, 3)]
    assert 'aria-label="Losses and scores of base over the iterations"' in curves(lines, "base")
    lines[1] |= {"fid": 3.5, "psd/1": 2.0}
    assert 'aria-label="Losses and scores of base over the iterations; fid, psd/1"' in curves(lines, "base")


def test_the_fold_has_all_of_every_protocol():
    """What figures of one table do not share, of each of them: layer, interval and options, of one metric also two."""
    protocol = {"stage": "full", "seed": 0, "features": {"network": "I3D"}, "metric_options": None}
    records = [
        Record(metric="fvd", value=1.0, protocol={**protocol, "layer": "logits", "interval": "by jackknife"}),
        Record(metric="m", value=2.0, protocol={**protocol, "layer": None, "metric_options": "M(a=1)"}),
        Record(metric="m", value=3.0, protocol={**protocol, "layer": None, "metric_options": "M(a=2)"}),
    ]
    page = figure_tables(records)
    [shown] = re.findall(r"<summary>protocol</summary><pre>(.*?)</pre>", page, re.DOTALL)
    own = json.loads(unescape(shown))["of each metric"]
    for record in records:
        wanted = {name: record.protocol.get(name) for name in ("layer", "interval", "metric_options")}
        assert wanted in own[record.metric]
    assert all(f"m, M(a={number})" in page for number in (1, 2))  # rows that could not be told apart otherwise


def test_every_evaluation_has_its_own_spectra(trained, tmp_path):
    """Two of the same stage and length, at other seeds: a plot each, of its own figures."""
    records = [
        record for seed in (0, 1) for record in evaluate(trained.path, Request(metrics=("psd",), count=4, seed=seed))
    ]
    page = figure_tables(records)
    labels = re.findall(r'<svg role="img" aria-label="Power spectra[^"]*(table \d)"', page)
    assert labels == ["table 1", "table 2"]


def test_it_needs_nothing_else(page):
    """No element names anything outside of the page."""
    names = ("src", "href", "data", "poster", "action", "srcset")
    outside = [
        (element, attributes[name])
        for element, attributes in Page(page).elements
        for name in (*names, "xlink:href")
        if name in attributes and not re.match(r"data:|#", attributes[name])
    ]
    assert outside == []
    assert not re.search(r"@import|url\((?!#)", page.read_text())


@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_browser_plays_it(page, tmp_path):
    """In headless Chromium, from the file: every film has a picture and plays, nothing is asked for, nothing fails."""
    probe = """<script>
    const failed = [];
    addEventListener("error", event => failed.push(String(event.message || event.target.outerHTML).slice(0, 99)), true);
    addEventListener("unhandledrejection", event => failed.push(String(event.reason)));
    for (const name of ["error", "warn"]) console[name] = (...words) => failed.push(words.join(" "));
    addEventListener("load", () => setTimeout(() => {
      const films = [...document.querySelectorAll("video")], output = document.createElement("output");
      output.id = "probe";
      output.textContent = JSON.stringify({
        times: films.map(film => film.currentTime), widths: films.map(film => film.videoWidth),
        paused: films.map(film => film.paused), failed,
        asked: performance.getEntriesByType("resource").map(({name}) => name).filter(name => !name.startsWith("data:")),
      });
      document.body.append(output);
    }, 300));</script>"""
    copy = tmp_path / "probed.html"
    copy.write_text(page.read_text().replace("<head>", "<head>" + probe))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    seen = json.loads(re.search(r'<output id="probe">(.*?)</output>', done.stdout)[1].replace("&amp;", "&"))
    assert seen["failed"] == []
    assert seen["asked"] == []
    assert len(seen["times"]) == 5
    assert all(time > 0 for time in seen["times"])
    assert all(width > 0 for width in seen["widths"])
    assert not any(seen["paused"])


def test_what_is_missing_says_so(trained, tmp_path):
    """Without figures the command that makes them; with a stage left to train which; without data why."""
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.artifact("full"))
    written = write_report(run, tmp_path / "page.html", SHOWN).read_text()
    assert f"python tools/evaluate.py {run.path}" in written
    assert "Not trained yet: full" in written
    [latest] = Page(tmp_path / "page.html").all("img")
    assert latest["alt"] == "Samples of all stages up to full, iteration 4"
    assert base64.b64decode(latest["src"].partition(",")[2]) == (run.samples("full") / "iter_00000004.png").read_bytes()
    shutil.rmtree(run.artifact("base"))
    assert "No stage is trained yet" in write_report(run, tmp_path / "page.html", SHOWN).read_text()


def test_data_elsewhere(trained, tmp_path, monkeypatch):
    """A run whose store is not on this machine still has a page, which says what is missing."""

    def gone(experiment):
        raise InputError.of("data.path", "/moved/away.zarr: there is no such store")

    monkeypatch.setattr(samples, "open_data", gone)
    page = write_report(trained, tmp_path / "page.html", SHOWN)
    assert page.read_text().count("No real videos here: data.path: /moved/away.zarr: there is no such store") == 2
    assert len(Page(page).all("video")) == 3


def test_a_damaged_line_is_named(trained, tmp_path):
    """Of metrics, as of figures; a last line cut short is only noted."""
    run = copy_of(trained, tmp_path / "run")
    path = run.metrics("base")
    whole = path.read_text()
    path.write_text(whole + '{"iterat')
    written = write_report(run, tmp_path / "page.html", SHOWN).read_text()
    assert f"line {whole.count(chr(10)) + 1}: cut short, left out" in written
    path.write_text("nonsense\n" + whole)
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 1: is damaged"):
        read_metrics(path)
    path.write_bytes(whole.encode() + b"\xff\xfe\n")
    with pytest.raises(InputError, match=rf"metrics\.jsonl, line {whole.count(chr(10)) + 1}: is damaged"):
        read_metrics(path)
    before = (tmp_path / "page.html").read_bytes()
    with pytest.raises(InputError):
        write_report(run, tmp_path / "page.html", SHOWN)
    assert (tmp_path / "page.html").read_bytes() == before


def test_no_run(tmp_path):
    """A folder without a run is refused, nothing is written."""
    with pytest.raises(InputError, match="holds no run"):
        write_report(RunFolder(tmp_path / "none"), tmp_path / "page.html", SHOWN)
    assert list(tmp_path.iterdir()) == []


def test_texts_are_escaped():
    """Whatever stands in a name is shown, not run."""
    nasty = '<script>alert("x")</script>'
    assert text(nasty) == "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"
    assert tag("p", nasty, title='a"b', hidden=True, class_="c") == (
        '<p title="a&quot;b" hidden class="c">&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;</p>'
    )
    assert tag("p", Html("<b>x</b>")) == "<p><b>x</b></p>"


@pytest.mark.parametrize("content", [b"{]", b"\xff", b"{}", b"3", b"[3]", b'[{"versions": 3}]', b'[{"command": 3}]'])
def test_a_damaged_environment_costs_only_its_table(trained, tmp_path, content):
    """Whatever stands in it, the page is written and says there that the file is damaged; the rest is as it was."""
    run = copy_of(trained, tmp_path / "run")
    sound = write_report(run, tmp_path / "page.html", SHOWN).read_text()
    (run.path / "environment.json").write_bytes(content)
    written = write_report(run, tmp_path / "page.html", SHOWN).read_text()
    assert f"{run.path}/environment.json: is damaged" in written
    place = '<h2 id="environment">'
    assert place in sound
    before, after = (re.sub(r"data:video[^\"]*", "", page.partition(place)[0]) for page in (sound, written))
    assert before == after
