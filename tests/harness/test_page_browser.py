"""The page in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stores import make_store, number, sample

from harness.leaderboard.page import render_page, write_leaderboard
from harness.leaderboard.reading import read_tables

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&amp;"
TRAINERS = ["pretrained", "mle", "sequence_match_backspace"]
ACCURACY = dict(zip(TRAINERS, (0.1, 0.5, 0.3), strict=True))
STUDY = """
name = "page"
description = "A page."
seeds = 7
[model.fresh]
[budget]
steps = 4
[optimization]
learning_rate = 4e-3
[trainers.pretrained]
[trainers.mle]
[trainers.sequence_match_backspace]
[tasks.arithmetic]
[tasks.language]
"""


def numbers(trial, rng):
    value = ACCURACY[trial.trainer.name] + 0.001 * trial.seed
    if trial.task.name == "arithmetic":
        return [number("accuracy", value, True), number("perplexity", 10 * value, False), number(EVIL, value, None)]
    return [number("kl_forward", value, False)]


def samples(trial):
    return [sample(), sample(("One", None, EVIL, ""), prompt=EVIL, reference=EVIL), *[sample(prompt="More")] * 3]


def stored(folder, *overrides, **wanted):
    study = folder / "page.toml"
    study.write_text(STUDY)
    return make_store(folder / "results", overrides, study=study, **{"numbers": numbers, "samples": samples, **wanted})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(
        tmp_path_factory.mktemp("page"),
        failed={"mle-language-s1": f"Traceback (most recent call last):\n  File\nRuntimeError: {EVIL}"},
        missing=("mle-language-s0",),
    )


@pytest.fixture(scope="module")
def file(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_leaderboard(store, read_tables(store), path, samples=5)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[api.Browser]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page that remembers what it asked for and what it complained about."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**options)
        self.complaints, self.requests = [], []
        self.context.route("**/*", self.route)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def route(self, route):
        self.requests.append(route.request.url)
        route.continue_() if route.request.url.startswith("file:") else route.abort()

    def open(self, path: Path):
        self.page.goto(path.as_uri())
        return self.page

    def check(self, path: Path):
        assert self.complaints == []
        assert self.requests == [path.as_uri()]
        assert self.page.evaluate("window.hacked") is None
        assert self.page.evaluate("document.querySelectorAll('img, script:not([type]) ~ script').length") == 0


@pytest.fixture
def page(browser, file):
    watched = Watched(browser, viewport={"width": 1280, "height": 900})
    yield watched.open(file)
    watched.check(file)
    watched.context.close()


def names(page, table=0):
    rows = page.locator("table.results").nth(table).locator("tbody tr:visible td.name")
    return [text.removesuffix(" baseline") for text in rows.all_inner_texts()]


def test_headers_sort_in_both_directions(page):
    header = page.locator("table.results").first.locator("th", has_text="accuracy")
    header.get_by_role("button").click()
    api.expect(header).to_have_attribute("aria-sort", "descending")
    by_accuracy = sorted(TRAINERS, key=lambda name: -ACCURACY[name])
    page.wait_for_timeout(20)
    assert names(page) == by_accuracy
    header.get_by_role("button").click()
    api.expect(header).to_have_attribute("aria-sort", "ascending")
    page.wait_for_timeout(20)
    assert names(page) == by_accuracy[::-1]
    page.locator("table.results").first.locator("th", has_text="trainer").get_by_role("button").click()
    api.expect(header).not_to_have_attribute("aria-sort", "ascending")


def test_cells_without_a_value_sort_last(browser, tmp_path):
    store = stored(tmp_path, "seeds=1", missing=("mle-",))
    write_leaderboard(store, read_tables(store), tmp_path / "page.html")
    watched = Watched(browser)
    page = watched.open(tmp_path / "page.html")
    button = page.locator("table.results").first.locator("th", has_text="accuracy").get_by_role("button")
    for _ in range(2):
        button.click()
        page.wait_for_timeout(20)
        assert names(page)[-1] == "mle"
    watched.context.close()


def test_a_number_that_is_infinite_is_off_the_scale_and_sorts_as_the_largest(browser, tmp_path):
    def diverged(trial, rng):
        value = float("inf") if trial.trainer.name == "mle" and trial.seed else 10 * ACCURACY[trial.trainer.name]
        return [number("perplexity", value, False)]

    store = stored(tmp_path, "seeds=2", "evaluation.points=3", numbers=diverged)
    write_leaderboard(store, read_tables(store), tmp_path / "page.html")
    watched = Watched(browser)
    page = watched.open(tmp_path / "page.html")
    table = page.locator("table.results").first
    assert table.locator("tbody tr", has_text="mle").locator(".off").count() == 1
    assert table.locator("tbody tr", has_text="mle").locator(".value").inner_text() == "inf"
    assert table.locator(".off").count() == 1
    assert "nan" not in page.locator("#task-0 svg").evaluate_all("(all) => all.map((each) => each.outerHTML).join()")
    for first in ("mle", "pretrained"):
        table.locator("th", has_text="perplexity").get_by_role("button").click()
        page.wait_for_timeout(20)
        assert names(page)[0] == first
    watched.check(tmp_path / "page.html")
    watched.context.close()


def test_filter_narrows_every_table(page):
    page.get_by_label("Filter").fill("Backspace  ancestral")
    assert [names(page, table) for table in range(2)] == [["sequence_match_backspace"]] * 2
    assert page.locator("#filtered").inner_text().startswith("2 of ")
    page.get_by_label("Filter").press("Enter")
    page.get_by_label("Filter").fill("")
    assert names(page) == TRAINERS


def test_all_numbers_and_values_of_the_seeds_are_shown_on_demand(page):
    extra = page.locator("th.extra").first
    api.expect(extra).to_be_hidden()
    page.get_by_label("all numbers").check()
    api.expect(extra).to_be_visible()
    assert EVIL in extra.inner_text()
    values = page.locator(".cell .seeds").first
    api.expect(values).to_be_hidden()
    page.get_by_label("values of the seeds").check()
    assert values.inner_text().split()[:2] == ["0.100", "0.101"]


def test_rows_are_grouped_by_verdict_and_marked(page):
    table = page.locator("table.verdicts").first
    heads = [text.split(" ", 1)[1].strip() for text in table.locator("thead th").all_inner_texts()[1:]]
    cells = dict(zip(heads, table.locator("tbody tr").first.locator("td").all(), strict=True))
    assert list(cells) == ["better", "worse"]
    assert cells["better"].locator(".member").count() == 0
    assert cells["worse"].locator(".member").all_inner_texts() == ["pretrained", "sequence_match_backspace"]
    row = page.locator("table.results").first.locator("tbody tr", has_text="sequence_match_backspace")
    assert row.locator(".mark.worse").count() == 1
    assert row.locator(".mark.better").count() == 1  # its perplexity


def test_what_cannot_be_told_from_the_baseline_is_grouped_as_such(browser, tmp_path):
    def close(trial, rng):
        by_seed = 0.01 * (-1) ** trial.seed * (trial.trainer.name == "sequence_match_backspace")
        return [number("accuracy", 0.5 + by_seed - 0.2 * (trial.trainer.name == "pretrained"), True)]

    written = stored(tmp_path, "seeds=8", numbers=close)
    (tmp_path / "page.html").write_text(render_page(written, read_tables(written), samples=0))
    watched = Watched(browser)
    table = watched.open(tmp_path / "page.html").locator("table.verdicts").first
    heads = [text.splitlines()[-1].strip() for text in table.locator("thead th").all_inner_texts()[1:]]
    cells = dict(zip(heads, table.locator("tbody tr").first.locator("td").all(), strict=True))
    members = {head: cell.locator(".member").all_inner_texts() for head, cell in cells.items()}
    assert members["not distinguishable"] == ["sequence_match_backspace"]
    assert members["worse"] == ["pretrained"]
    watched.check(tmp_path / "page.html")
    watched.context.close()


def test_the_divergence_curve_of_mauve_is_drawn_with_its_axes(browser, tmp_path):
    text = tmp_path / "text.toml"
    text.write_text(STUDY.replace("[tasks.arithmetic]\n[tasks.language]", "[tasks.text]"))
    written = make_store(tmp_path / "results", ("seeds=2",), study=text)
    (tmp_path / "page.html").write_text(render_page(written, read_tables(written), samples=0))
    watched = Watched(browser)
    figure = watched.open(tmp_path / "page.html").locator("figure", has_text="exp(-c KL(real, mixture))").first
    api.expect(figure).to_be_visible()
    assert "exp(-c KL(generations, mixture))" in figure.inner_text()
    assert figure.locator("svg .line path").count() == len(TRAINERS)
    watched.check(tmp_path / "page.html")
    watched.context.close()


def test_a_cell_opens_its_provenance_and_escape_closes_it(page, store):
    cell = page.locator("table.results").first.locator("tbody tr", has_text="mle").locator(".cell").first
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    api.expect(dialog).to_be_visible()
    text = dialog.inner_text()
    entry, record = next(each for each in store.records() if each[0]["label"].startswith("mle-arithmetic-s0"))
    versions = [" ".join(pair) for pair in record["specification"]["versions"].items()]
    git = [record["git"]["commit"]] if record["git"] else []
    expected = [entry["label"], entry["identity"], record["source"], record["machine"]["platform"], "training 1.5 s"]
    for fact in [*expected, *versions, *git, "0.506", "standard error of the mean over seeds"]:
        assert fact in text
    dialog.get_by_text("resolved specification").first.click()
    assert '"learning_rate": 0.004' in dialog.inner_text()
    page.keyboard.press("Escape")
    api.expect(dialog).to_be_hidden()
    api.expect(cell).to_be_focused()


def test_missing_and_failed_trials_are_seen(page):
    assert "1 trial failed and 1 trial missing." in page.locator(".alert").first.inner_text()
    rows = page.locator("#absent tbody tr").all_inner_texts()
    assert any("mle-language-s0" in row and "has not been run" in row for row in rows)
    assert any("mle-language-s1" in row and f"RuntimeError: {EVIL}" in row for row in rows)
    cell = page.locator("table.results").nth(1).locator("tbody tr", has_text="mle").locator(".cell").first
    assert "5 of 7 seeds" in cell.inner_text()
    cell.click()
    values = page.get_by_role("dialog").locator("tbody tr")
    assert values.nth(0).inner_text().split() == ["0", "missing"]
    assert values.nth(1).inner_text().split() == ["1", "failed"]


def test_a_walk_is_replayed_action_by_action(page):
    page.locator("#choose-task").select_option("language")
    page.locator("#choose-seed").select_option("2")
    generation, status = page.locator("#generation"), page.locator("#status")
    assert page.locator("#prompt").inner_text() == "Once"
    assert generation.inner_text() == "The cat dog dog sat"
    assert generation.locator("del").all_inner_texts() == [" cat", " dog"]
    assert "ends the text" in status.inner_text()
    page.get_by_label("before the first action").click()
    assert generation.inner_text() == ""
    seen = []
    for _ in range(5):
        page.get_by_label("one action forward").click()
        seen.append((generation.inner_text(), generation.locator("del").all_inner_texts(), status.inner_text()))
    assert [text for text, _, _ in seen] == ["The", "The cat", *["The cat dog"] * 3]
    assert [erased for _, erased, _ in seen] == [[], [], [], [" dog"], [" cat", " dog"]]
    assert seen[3][2] == "Action 4 of 9 erases “ dog”."
    page.get_by_label("one action back").click()
    assert generation.locator("del").all_inner_texts() == [" dog"]
    page.get_by_label("after the last action").click()
    api.expect(page.get_by_label("one action forward")).to_be_disabled()


def test_arrow_keys_step_through_a_walk(page):
    slider = page.get_by_label("actions taken")
    slider.focus()
    page.keyboard.press("Home")
    api.expect(page.locator("#status")).to_have_text("Before the first of 9 actions.")
    page.keyboard.press("ArrowRight")
    assert page.locator("#generation").inner_text() == "The"
    page.get_by_label("one action forward").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#generation").inner_text() == "The cat"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#generation").inner_text() == ""
    page.keyboard.press("End")
    assert "ends the text" in page.locator("#status").inner_text()


def test_the_audit_leads_to_the_action(page):
    page.locator(".open").first.click()
    api.expect(page.get_by_label("actions taken")).to_be_focused()
    assert page.locator("#choose-trainer").input_value() == "pretrained"
    assert page.locator("#status").inner_text().startswith("Action 3 of")
    assert page.locator("#generation").inner_text() == "The cat dog"


def test_texts_of_models_are_shown_as_texts(page):
    page.locator("#choose-sample").select_option("2")
    assert page.locator("#generation").inner_text() == f"One{EVIL}"
    assert page.locator("#prompt").inner_text() == EVIL
    assert page.locator("#reference").inner_text() == EVIL
    assert EVIL[:30] in page.locator(".audit").first.inner_text()


def test_hostile_names_are_shown_as_texts(browser, tmp_path):
    hostile = stored(tmp_path, "seeds=1")
    path = hostile.out / "study.json"
    study = path.read_text().replace('"name": "pretrained"', f'"name": {json.dumps(EVIL)}')
    path.write_text(study.replace('"name": "arithmetic"', f'"name": {json.dumps(EVIL)}'))
    tables = read_tables(hostile)
    named = {"pretrained": EVIL, "arithmetic": EVIL}
    changed = {name: getattr(tables, name).replace(named) for name in ("results", "evaluations", "series")}
    file = tmp_path / "page.html"
    file.write_text(render_page(hostile, replace(tables, **changed, verdicts=None)))
    watched = Watched(browser)
    page = watched.open(file)
    assert EVIL in page.locator("td.name").first.inner_text()
    assert page.locator("h2").first.inner_text() == EVIL
    assert EVIL in page.locator("#choose-task option").all_inner_texts()
    page.locator(".cell").first.click()
    assert EVIL in page.get_by_role("dialog").inner_text()
    watched.check(file)
    watched.context.close()


def test_curves_follow_the_chosen_axis(page):
    shown = page.locator(".plot.shown svg").first
    assert "optimiser steps" in shown.inner_html()
    page.locator("select.axis").nth(1).select_option("flops")
    assert "training FLOPs" in page.locator(".plot.shown svg").first.inner_html()
    assert page.locator("select.axis").first.input_value() == "flops"
    assert "position" in page.locator("#task-1 .plot.shown svg").last.inner_html()


def test_a_curve_of_one_point_is_a_dot(browser, tmp_path):
    once = stored(tmp_path, "evaluation.points=3", "seeds=1")
    tables = read_tables(once)
    rows = tables.evaluations
    start = rows[(rows["trainer"] != "pretrained") | (rows["step"] == rows["step"].min())]
    (tmp_path / "page.html").write_text(render_page(once, replace(tables, evaluations=start), samples=0))
    watched = Watched(browser)
    page = watched.open(tmp_path / "page.html")
    dots = page.locator(".plot.shown .point path")
    assert dots.count()
    style = dots.first.evaluate(
        "(dot) => { const s = getComputedStyle(dot); return [s.strokeWidth, s.strokeLinecap]; }"
    )
    assert style == ["5px", "round"]
    assert dots.first.evaluate("(dot) => dot.getPointAtLength(0).x") > 0
    watched.context.close()


def test_everything_is_reached_by_keyboard_and_focus_is_visible(page):
    seen = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("(e => e.id || e.className || e.tagName)(document.activeElement)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert {"filter", "all-numbers", "seed-values", "cell", "BUTTON", "axis"} <= seen
    header = page.locator("table.results").first.locator("th", has_text="accuracy")
    header.get_by_role("button").focus()
    page.keyboard.press("Space")
    api.expect(header).to_have_attribute("aria-sort", "descending")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_only_down(browser, file, width):
    watched = Watched(browser, viewport={"width": width, "height": 800}, is_mobile=True, has_touch=True)
    page = watched.open(file)
    page.get_by_label("all numbers").check()
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    replay = page.locator(".open").first.bounding_box()
    assert replay["width"] > replay["height"]
    page.locator(".cell").first.tap()
    assert page.get_by_role("dialog").bounding_box()["width"] <= width
    watched.check(file)
    watched.context.close()


def luminance(color: str) -> float:
    channels = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_both_schemes(browser, file, scheme):
    watched = Watched(browser, color_scheme=scheme)
    page = watched.open(file)
    style = "(element) => { const s = getComputedStyle(element); return [s.color, s.fill]; }"
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.05) == (scheme == "dark")
    for selector in ("h1", ".note", "td.name", ".errors", "a", ".mark.better", ".mark.worse", ".bad", "#status"):
        ink = luminance(page.locator(selector).first.evaluate(style)[0])
        light, dark = max(ink, paper), min(ink, paper)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, selector
    watched.context.close()


def test_paper_is_light_and_wide_enough_for_every_headline(browser, tmp_path):
    def many(trial, rng):
        return [number(f"total_number_{place}", 0.0123 * place + trial.seed, True) for place in range(6)]

    wide = stored(tmp_path, "seeds=3", numbers=many)
    headed = json.loads((wide.out / "study.json").read_text())
    headed["headlines"]["arithmetic"] = [f"total_number_{place}" for place in range(6)]
    (wide.out / "study.json").write_text(json.dumps(headed))
    write_leaderboard(wide, read_tables(wide), tmp_path / "page.html")
    watched = Watched(browser, viewport={"width": 718, "height": 1000}, color_scheme="dark")  # A4 less its margins
    page = watched.open(tmp_path / "page.html")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.locator("table.results").first.locator("th:visible").count() == 8
    assert luminance(page.locator("del").first.evaluate("(del) => getComputedStyle(del).backgroundColor")) > 0.7
    watched.context.close()


def test_print_shows_everything_without_controls(browser, file):
    watched = Watched(browser)
    page = watched.open(file)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".controls:visible, nav:visible, details:not([open])").count() == 0
    api.expect(page.locator("#trials tbody tr").last).to_be_visible()
    api.expect(page.locator(".cell .seeds").first).to_be_visible()
    api.expect(page.locator("#generation")).to_be_visible()
    watched.check(file)
    watched.context.close()


def test_old_results_without_action_texts_show_the_final_text(browser, tmp_path):
    def old(trial):
        return [{name: value for name, value in sample().items() if name != "action_texts"}]

    store = stored(tmp_path, "seeds=1", samples=old)
    write_leaderboard(store, read_tables(store), tmp_path / "page.html")
    watched = Watched(browser)
    page = watched.open(tmp_path / "page.html")
    assert page.locator("#generation").inner_text() == "The dog sat"
    assert "no action texts" in page.locator("#status").inner_text()
    api.expect(page.get_by_label("actions taken")).to_be_disabled()
    assert page.locator(".audit").count() == 0
    watched.check(tmp_path / "page.html")
    watched.context.close()
