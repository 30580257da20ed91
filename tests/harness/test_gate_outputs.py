import xml.etree.ElementTree as ET

import pytest
from test_gate import BASE, moved, shifted, table

from harness.gate import gate
from harness.gating.junit import junit
from harness.gating.tables import as_lines, markdown

ODD = "a|b <script>*_`&\x00\x1b\ufffe\n\U0001f600"
"""What tables, markdown and XML trip over."""


def report(trainer="mle"):
    numbers = [(name, metric) for name in (trainer, "bc") for metric in ("accuracy", "perplexity")]
    baseline = dict.fromkeys([*numbers, ("new", "accuracy")], shifted(0.5))
    candidate = {**baseline, ("bc", "accuracy"): shifted(0.4), ("new", "accuracy"): {0: 0.5, 1: "failed"}}
    return gate(table(candidate, n=50), table(baseline), {"accuracy": 0.02, "perplexity": "5%"})


@pytest.fixture
def files(tmp_path):
    """A baseline, and candidates that are ok, regressed and inconclusive."""
    candidates = {"base": BASE, "ok": moved(0.0), "regressed": moved(-0.2), "inconclusive": moved(0.0, seeds=1)}
    for name, values in candidates.items():
        table(values).to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.mark.parametrize(("name", "code"), [("ok", 0), ("regressed", 1), ("inconclusive", 3)])
def test_the_command_prints_the_table_and_exits_by_the_verdict(command, files, name, code):
    outcome = command(
        *("gate", files / f"{name}.parquet", "--baseline", files / "base.parquet", "--margin", "accuracy=0.02")
    )
    assert (outcome.code, outcome.err) == (code, "")
    (row,) = [line for line in outcome.out.splitlines() if "accuracy ↑" in line]
    assert row.split("│")[-2].strip() == name
    assert outcome.out.splitlines()[-1] == f"{name} (1 {name})"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: no margin is given"),
        (["--margin", "accuracy"], "error: --margin accuracy: must look like metric=0.02 or metric=5%"),
        (["--margin", "acuracy=1"], "did you mean 'accuracy'?"),
        (["--margin", "accuracy=1", "--level", "2"], "error: level must lie between"),
        (["--margin", "accuracy=1", "--seed", "9"], "error: neither side has the seed '9'"),
        (["--margin", "accuracy=1", "--trainer", "mel"], "did you mean 'mle'?"),
    ],
)
def test_usage_is_exit_code_2_one_line_and_no_file(command, files, arguments, message):
    path = files / "base.parquet"
    outcome = command("gate", path, "--baseline", path, *arguments, "--junit", files / "out" / "gate.xml")
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (files / "out").exists()


def test_files_that_cannot_be_read_or_written_are_exit_code_2(command, files):
    good = ("gate", files / "ok.parquet", "--baseline", files / "base.parquet", "--margin", "accuracy=0.02")
    assert command("gate", files / "none", "--baseline", files, "--margin", "a=1").code == 2
    for unwritable in (files / "base.parquet" / "gate.xml", "", "/"):  # "": a variable of a CI system that is not set
        outcome = command(*good, "--junit", unwritable)
        assert outcome.code == 2
        assert outcome.err.startswith("error: cannot write results to ")


def test_reports_are_written_for_every_verdict_and_replaced(command, files, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    xml, page = files / "new" / "gate.xml", files / "new" / "gate.md"
    for name, tag in (("regressed", "failure"), ("inconclusive", "error"), ("ok", None)):
        reports = ("--junit", xml, "--markdown", page)
        arguments = ("--baseline", files / "base.parquet", "--margin", "accuracy=0.02", *reports)
        command("gate", files / f"{name}.parquet", *arguments)
        (case,) = ET.parse(xml).getroot().iter("testcase")
        assert [child.tag for child in case] == ([tag] if tag else [])
        assert page.read_text().count("###") == 1
        assert f"seqmatch gate {name}" in page.read_text()
    assert sorted(path.name for path in xml.parent.iterdir()) == ["gate.md", "gate.xml"]


def test_the_summary_of_a_github_job_is_added_to(command, files, monkeypatch):
    summary = files / "summary.md"
    summary.write_text("of another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    arguments = ("--baseline", files / "base.parquet", "--margin", "accuracy=0.02", "--markdown", summary)
    command("gate", files / "ok.parquet", *arguments)
    command("gate", files / "regressed.parquet", *arguments)
    text = summary.read_text()
    assert text.startswith("of another step\n### ✅")
    assert text.count("###") == 2


def test_junit_has_what_the_schemas_of_ant_and_jenkins_ask_for():
    root = ET.fromstring(junit(report()))
    assert (root.tag, root.attrib) == ("testsuites", {})
    (suite,) = root
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "id")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "0", "time": "0", "id": "0"}
    assert {"name", "package", "timestamp", "hostname"} <= set(suite.keys())
    tags = [child.tag for child in suite]
    assert tags == ["properties", *["testcase"] * 5, "system-out", "system-err"]
    cases = {(case.get("classname"), case.get("name")): list(case) for case in suite.iter("testcase")}
    assert len(cases) == 5
    assert cases["seqmatch.t.mle.d", "accuracy"] == []
    (failure,) = cases["seqmatch.t.bc.d", "accuracy"]
    assert (failure.tag, failure.get("type")) == ("failure", "regressed")
    assert failure.get("message") == "accuracy of bc on t (d): regressed"
    assert "better by -0.1" in failure.text
    (error,) = cases["seqmatch.t.new.d", "accuracy"]
    assert (error.tag, error.get("message")) == (
        "error",
        "accuracy of new on t (d): inconclusive: one pair of seeds has no interval",
    )
    assert "paired seeds 0; seed 1 failed in the candidate; seeds 2-5 absent in the candidate" in error.text
    assert "warning: task t: the candidate was tested on 50 examples" in suite.findtext("system-out")


def test_odd_names_survive_in_every_format():
    odd = report(ODD)
    names = [case.get("classname") for case in ET.fromstring(junit(odd)).iter("testcase")]
    assert any("a|b <script>*_`&\ufffd\ufffd\ufffd" in name and "\U0001f600" in name for name in names)
    lines = markdown(odd).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 5
    bars = {line.replace("\\|", "").count("|") for line in rows}
    assert len(bars) == 1
    assert not any("<script" in line.replace("\\<", "") for line in lines)
    markdown(odd).encode()
    assert "regressed" in as_lines(odd)


def test_markdown_and_text_say_what_is_missing_and_why():
    for text in (markdown(report()).replace("\\", ""), as_lines(report())):
        assert "regressed (1 regressed, 1 inconclusive, 3 ok)" in text
        assert "accuracy of new on t (d): one pair of seeds has no interval" in text
        assert "paired seeds 0; seed 1 failed in the candidate" in text
        assert "warning: task t: the candidate was tested on 50 examples" in text
        assert "5% = 0.025" in text
