import base64
import hashlib
import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import WALK, make_store, sample

from harness.leaderboard.cells import Cell, Column, scale, task_tables
from harness.leaderboard.charts import Chart, Line, series_charts
from harness.leaderboard.figures import svg
from harness.leaderboard.markdown import leaderboard_markdown
from harness.leaderboard.numbers import number
from harness.leaderboard.page import render_page
from harness.leaderboard.reading import read_tables
from harness.leaderboard.records import Absent
from harness.leaderboard.samples import AUDITED, Group, Sample, audits, erasures
from harness.leaderboard.strips import MARGIN, WIDTH, strip
from harness.tables import long_table


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The bundled study with its three seeds: 45 trials, with as many numbers as its metrics report."""
    return make_store(tmp_path_factory.mktemp("quick"), ("evaluation.points=3",))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(
        "name = 'tiny'\nmodel.fresh = {}\nbudget.steps = 4\nevaluation.points = 3\noptimization.learning_rate = 1.0\n"
        "[trainers.mle]\n[trainers.behavioral_cloning]\n[tasks.language]\n"
    )
    return make_store(folder / "results", study=folder / "tiny.toml")


def test_the_page_of_the_quick_study_is_small(quick):
    assert len(quick.records()) == 45
    page = render_page(quick, read_tables(quick), samples=0)
    assert len(page.encode()) < 1_000_000
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"))


def test_the_page_holds_the_first_samples_and_is_the_same_every_time(tiny):
    tables = read_tables(tiny)
    bare = render_page(tiny, tables, samples=0)
    assert "word0" not in bare
    assert "Prompt number" not in bare
    full = render_page(tiny, tables, samples=2)
    assert "Prompt number 1 " in full
    assert "Prompt number 2 " not in full
    assert full == render_page(tiny, read_tables(tiny), samples=2)


def test_the_policy_allows_only_the_script_and_style_of_the_page(tiny):
    page = render_page(tiny, read_tables(tiny), samples=1)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    for kind, tag in (("script", "script"), ("style", "style")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy.replace("&#39;", "'").replace("&#43;", "+")
    assert not re.search(r'\s(on\w+|style)="', page)
    assert not re.search(r'(?:src|href)="(?!#)', page)


def results(values, errors=None, status="finished"):
    rows = []
    for (trainer, seed), value in values.items():
        row = {"study": "s", "trial": f"{trainer}{seed}", "trainer": trainer, "task": "t", "decoder": "d", "seed": seed}
        finished = {"metric": "m", "value": value, "n": 7, "status": "finished", "higher_is_better": True}
        absent = {"status": value} if isinstance(value, str) else {}
        error = {"sample_error": (errors or {}).get((trainer, seed), math.nan)}
        rows.append({**row, **(absent or {**finished, **error})})
    return long_table(rows)


def test_the_two_errors_are_those_of_seeds_and_of_samples():
    values = {("a", seed): value for seed, value in enumerate((1.0, 2.0, 6.0))}
    errors = {("a", seed): error for seed, error in enumerate((0.3, 0.4, 0.0))}
    (table,) = task_tables(results(values, errors), {})
    cell = table.rows[0].cells["m"]
    assert cell.mean == 3
    assert cell.seed_error == pytest.approx(math.sqrt(7 / 3))
    assert cell.sample_error == pytest.approx(math.sqrt((0.09 + 0.16) / 3))
    (table,) = task_tables(results({("a", 0): 1.0}), {})
    assert math.isnan(table.rows[0].cells["m"].seed_error)
    assert math.isnan(table.rows[0].cells["m"].sample_error)


def test_what_is_absent_is_named_and_not_averaged():
    table = results({("a", 0): 1.0, ("a", 1): "failed", ("a", 2): "missing", ("b", 0): 5.0, ("b", 1): 7.0})
    (laid,) = task_tables(table, {})
    a, b = (row.cells["m"] for row in laid.rows)
    assert (a.mean, a.absent, laid.rows[0].finished) == (1.0, {1: "failed", 2: "missing"}, 1)
    assert (b.mean, b.absent) == (6.0, {2: "missing"})
    budget = long_table([{**row, "value": math.nan, "status": "missing"} for row in table.iloc[:1].to_dict("records")])
    (laid,) = task_tables(pd.concat([budget, table.iloc[3:]]), {})
    assert laid.rows[0].cells["m"].absent == {0: "missing", 1: "missing"}
    assert not laid.rows[0].cells["m"].by_seed


cells = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4), min_size=1, max_size=6)


@given(cells)
def test_pictures_stay_within_their_frame(rows):
    laid = [_cell(values) for values in rows]
    low, high = scale(laid)
    column = Column("m", True, True, low, high)
    for cell in laid:
        view = strip(cell, column, laid[0].mean)
        places = [*view.seeds, *([view.mean] if view.mean is not None else [])]
        bars = [bar for bar in (view.seed_bar, view.sample_bar) if bar]
        places += [bar.x for bar in bars] + [bar.x + bar.width for bar in bars]
        assert all(0 <= place <= WIDTH for place in places)
        assert bool(view.off) == (not low <= cell.mean <= high)


def _cell(values, sample_error=0.1):
    by_seed = dict(enumerate(values))
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Cell(by_seed, dict.fromkeys(by_seed, "t"), {}, float(np.mean(values)), error, sample_error, 7, None)


def test_a_bar_longer_than_its_column_is_cut_at_the_frame():
    view = strip(_cell([1.0, 3.0], 100.0), Column("m", True, True, 0.0, 4.0), None)
    assert (view.sample_bar.x, view.sample_bar.x + view.sample_bar.width) == (MARGIN, WIDTH - MARGIN)
    assert view.seed_bar.width == pytest.approx((WIDTH - 2 * MARGIN) / 2, abs=0.1)


def test_one_hopeless_row_does_not_squeeze_the_others():
    low, high = scale([_cell([value, value + 1]) for value in (84, 90, 84.5, 90.5)] + [_cell([981, 984])])
    assert low > 83
    assert high < 92
    assert scale([]) == (0, 1)
    assert scale([_cell([2.0], math.nan)]) == (1.5, 2.5)


def test_erasures_of_a_walk():
    assert list(erasures(WALK)) == [(3, 2, "The", " cat dog", " dog sat")]
    assert list(erasures(("a", None, "b", None, "c", ""))) == [(1, 1, "", "a", "b"), (3, 1, "", "b", "c")]
    assert list(erasures(("a", ""))) == list(erasures(())) == []


@st.composite
def walks(draw):
    actions, depth = [], 0
    for text in draw(st.lists(st.sampled_from(["a", "bc", "", None, None]), max_size=20)):
        if text is not None or depth:
            actions.append(text)
            depth += 1 if text is not None else -1
    return actions


@given(walks())
def test_erasures_equal_the_states_one_by_one(actions):
    states, visible = [""], []
    for text in actions:
        visible.pop() if text is None else visible.append(text)
        states.append("".join(visible))
    for step, depth, kept, gone, after in erasures(actions):
        assert states[step] == kept + gone
        assert states[step + depth] == kept
        assert actions[step : step + depth] == [None] * depth
        assert states[step + depth :][0] + after in states
    assert sum(depth for _, depth, *_ in erasures(actions)) == actions.count(None)


def test_the_audit_counts_all_and_lists_some_of_every_seed():
    row = sample()
    one = Sample(row["prompt"], row["reference"], row["completion"], tuple(row["action_texts"]), "eos")
    groups = [Group(seed, "t", "a", "d", seed, (one,) * 10) for seed in range(3)]
    (audit,) = audits([*groups, Group(3, "t", "b", "d", 0, (Sample("p", "r", "x", None, "eos"),))])
    assert (audit.total, audit.samples, len(audit.erasures)) == (30, 30, AUDITED)
    assert {each.seed for each in audit.erasures} == {0, 1, 2}
    assert audit.erasures[0].before.endswith("The")


def test_plots_have_no_ids_no_inline_styles_and_escape_texts():
    line = Line("<b>&", 1, 0, (0.0, 1.0), (1.0, 3.0), (0.5, 2.0), (1.5, 4.0))
    drawn = svg(Chart("t", "x <i>$_{a}$", "y", (line, Line("one", 9, 1, (1.0,), (2.0,)))))
    root = ElementTree.fromstring(drawn)
    for element in root.iter():
        assert not {"id", "style", "clip-path"} & element.attrib.keys()
        assert len(element) or element.tag != f"{root.tag.removesuffix('svg')}g"
        assert not element.get("transform", "").startswith("rotate(-0")
        assert not re.search("[A-Z] | [A-Z]", element.get("d", ""))
    kinds = [element.get("class") for element in root.iter() if element.get("class")]
    assert "line c1 d0" in kinds
    assert "band c1 d0" in kinds
    assert "line point c1 d2" in kinds  # the tenth colour is the second with another dash
    assert "x <i>$_{a}$" in [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "<b>&: 3.000 at the end" in [element.text for element in root.iter() if element.tag.endswith("title")]


@pytest.mark.parametrize("values", [(1.0, 1000.0), (-1.0, 1000.0), (0.0, 0.0)])
def test_values_of_many_magnitudes_are_drawn_logarithmically(values):
    chart = Chart("t", "x", "y", (Line("a", 0, 0, (0.0, 1.0), values),))
    assert chart.logarithmic == (values == (1.0, 1000.0))
    assert "nan" not in svg(chart)


def test_curves_are_averaged_only_where_their_points_agree():
    def rows(trainer, seed, x):
        common = {"metric": "m", "series": "s", "trainer": trainer, "decoder": "d", "seed": seed}
        return [{**common, "x": a, "y": a + seed} for a in x]

    series = pd.DataFrame([*rows("a", 0, (1, 2)), *rows("a", 1, (1, 2)), *rows("b", 0, (1, 2)), *rows("b", 1, (1, 3))])
    (chart,) = series_charts(series, {("m", "s"): ("where", "what")}, ["a", "b"], ["d"])
    assert (chart.x, chart.y) == ("where", "what")
    assert [(line.label, line.y, line.low, line.high) for line in chart.lines] == [
        ("a", (1.5, 2.5), (1, 2), (2, 3)),
        ("b", (1, 2), None, None),
        ("b", (2, 4), None, None),
    ]


def test_markdown_shows_numbers_errors_verdicts_and_what_is_absent():
    values = {(trainer, seed): value + seed for trainer, value in (("mle", 1), ("a|b", 50)) for seed in range(7)}
    table = results(values | {("gone", 0): "failed"}, dict.fromkeys(values, 0.25))
    from harness.comparison import compare

    text = leaderboard_markdown(task_tables(table, {}, compare(table)), [Absent("gone-t-s0", "failed", "Oh: <b>", "")])
    lines = text.splitlines()
    assert "| trainer | decoder | seeds | m ↑ |" in lines
    assert r"| a\|b | d | 7 | 53.00 ±0.82 ±0.25 ▲ |" in lines
    assert "| mle | d | 7 | 4.000 ±0.82 ±0.25 |" in lines
    assert "| gone | d | 0 of 7 | failed, missing |" in lines
    assert lines[-1] == r"- gone-t-s0 failed: Oh: \<b\>"


def test_the_command_writes_page_and_markdown(tiny, command, tmp_path):
    page, markdown = tmp_path / "page.html", tmp_path / "table.md"
    outcome = command("leaderboard", tiny.out, "--out", page, "--markdown", markdown, "--samples", 0)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(f"The page is {page}.\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert markdown.read_text().startswith("### task language")
    unknown = command("leaderboard", tiny.out, "--baseline", "mlee", "--out", page)
    assert unknown.code == 2
    assert "did you mean 'mle'?" in unknown.err
    deep = tmp_path / "new" / "folder" / "page.html"
    assert command("leaderboard", tiny.out, "--out", deep, "--samples", 0).code == 0
    assert deep.is_file()
    before = page.read_bytes()
    for target in (deep.parent, page / "page.html"):
        refused = command("leaderboard", tiny.out, "--out", target, "--samples", 0)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith(f"error: cannot write results to {target}: ")
    same = command("leaderboard", tiny.out, "--out", page, "--markdown", page.parent / "new" / ".." / page.name)
    assert same.code == 2
    assert "cannot be the same file" in same.err
    assert page.read_bytes() == before
    assert list(deep.parent.iterdir()) == [deep]


def test_the_page_is_read_at_an_equal_budget(tiny):
    """Half of the numbers at the end, as was measured on the way."""
    page, end = (render_page(tiny, read_tables(tiny, at=at), samples=0) for at in ("tokens=2000", None))
    assert "Read at tokens = 2000" in page
    assert "Read at" not in end
    cell = r'data-sort="([\d.]+)"><button[^>]*><span class="value">([\d.]+)</span>'
    (values, shown), (at_end, _) = (zip(*re.findall(cell, text), strict=True) for text in (page, end))
    assert len(values) > 100
    assert [float(value) for value in values] == pytest.approx([float(value) / 2 for value in at_end])
    assert list(shown) == [number(float(value)) for value in values]
