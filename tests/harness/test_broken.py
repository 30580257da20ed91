"""Plug-ins that cannot be used: each is a warning of one line and a row, and none stops what does not use it."""

import sys

import pytest
from distributions import TRAINER, install

from harness import doctor

HEAD = "from dataclasses import dataclass\nfrom trainers.pretrained import Pretrained\n"
FAULTS = {
    "raises": ("raise RuntimeError('two\\nlines')", "cannot be loaded: RuntimeError: two lines"),
    "stops": ("import sys\nsys.exit('no GPU')", "cannot be loaded: SystemExit: no GPU"),
    "skips": ("import pytest\npytest.skip('not here', allow_module_level=True)", "cannot be loaded: Skipped: not here"),
    "typo": ("class Mine(:", "cannot be loaded: SyntaxError: "),
    "needs": ("import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
    "empty": ("", "cannot be loaded: AttributeError: "),
    "function": ("def Mine(): ...", "is not a subclass of trainers.base.Trainer"),
    "other": ("class Mine: ...", "is not a subclass of trainers.base.Trainer"),
    "clashes": (
        f"{HEAD}@dataclass(frozen=True, kw_only=True)\nclass Mine(Pretrained):\n    optimization: str = 'sgd'",
        "has a setting named 'optimization', which a study uses otherwise",
    ),
    "shadows": (
        f"{HEAD}@dataclass(frozen=True, kw_only=True)\nclass Mine(Pretrained):\n    rollouts: int = 8",
        "has a setting named 'rollouts', which is a method of Trainer",
    ),
    "untyped": (
        f"from __future__ import annotations\n{HEAD}@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(Pretrained):\n    size: Nowhere = 1",
        "has a setting whose type cannot be read: StudyError: ",
    ),
}


@pytest.fixture
def faulty(site):
    """One distribution for every fault, one whose module is missing, one that is malformed, and one that is sound."""
    for name, (source, _) in FAULTS.items():
        (site / f"faulty_{name}.py").write_text(source + "\n")
        install(site, f"dist-{name}", f"{name} = faulty_{name}:Mine")
    install(site, "dist-gone", "gone = faulty_gone:Mine")
    install(site, "dist-malformed", "no class = faulty_gone")
    (site / "sound_module.py").write_text(TRAINER)
    install(site, "dist-sound", "sound = sound_module:Mine")
    yield site
    for name in FAULTS:
        sys.modules.pop(f"faulty_{name}", None)


def test_every_broken_plug_in_is_one_warning_and_a_row(command, faulty):
    outcome = command("list", "trainers", "--broken")
    assert outcome.code == 1
    rows, warnings = outcome.out.splitlines()[3:-1], outcome.err.splitlines()
    assert len(rows) == len(warnings) == len(FAULTS) + 2
    assert "Traceback" not in outcome.out + outcome.err
    expected = {name: problem for name, (_, problem) in FAULTS.items()}
    expected |= {"gone": "No module named 'faulty_gone'", "no class": "is not NAME = module:Class"}
    for name, problem in expected.items():
        (row,) = [row for row in rows if f"dist-{name.replace('no class', 'malformed')} 2.5" in row]
        assert name in row
        assert problem in row
        (warning,) = [line for line in warnings if f"warning: trainer {name!r} (" in line]
        assert problem in warning


def test_where_none_is_broken_that_is_said(command):
    for kind, count in (("trainers", 6), ("tasks", 3), ("metrics", 8)):
        assert command("list", kind, "--broken") == (0, f"None of {count} {kind} is broken.\n", "")


def test_a_run_that_does_not_use_them_warns_only_of_what_it_sees_without_importing(
    command, faulty, study_file, tmp_path
):
    outcome = command("run", study_file(), "--out", tmp_path / "out")
    assert outcome.code == 0
    (warning,) = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert "'no class'" in warning
    assert not [name for name in sys.modules if name.startswith("faulty_")]


def test_a_run_that_uses_one_is_one_error_before_any_training(command, faulty, study_file, tmp_path):
    outcome = command("run", study_file(trainers={"mle": {}, "stops": {}}), "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    *_, error = outcome.err.splitlines()
    assert error == (
        f"error: {tmp_path}/small.toml: trainers.stops: trainer 'stops' (faulty_stops:Mine of dist-stops 2.5) "
        "cannot be loaded: SystemExit: no GPU"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["list", "trainers"], ["list", "trainers", "--broken"], ["run"]])
def test_strict_makes_an_error_of_every_warning(command, faulty, study_file, tmp_path, monkeypatch, arguments):
    if arguments == ["run"]:
        arguments = ["run", study_file(), "--out", tmp_path / "out"]
    monkeypatch.setenv("SEQMATCH_STRICT", "1")
    outcome = command(*arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("error: trainer ")
    assert outcome.err.endswith("(SEQMATCH_STRICT makes this an error)\n")
    monkeypatch.setenv("SEQMATCH_STRICT", "0")
    assert command(*arguments).err.startswith("warning: ")


def test_strict_without_a_broken_plug_in_changes_nothing(command, monkeypatch):
    before = command("list", "metrics")
    monkeypatch.setenv("SEQMATCH_STRICT", "1")
    assert command("list", "metrics") == before


@pytest.mark.parametrize("arguments", [["studies", "--broken"], ["metrics", "--numbers", "--broken"]])
def test_only_plug_ins_can_be_broken(command, arguments):
    outcome = command("list", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: --broken: only plug-ins can be broken")


def test_the_doctor_and_the_list_of_numbers_go_on_after_a_broken_metric(command, site, monkeypatch):
    monkeypatch.setattr("harness.registry.METRICS.builtin", {"accuracy": "metrics.accuracy:Accuracy"})
    (site / "exits.py").write_text("import sys\nsys.exit(3)\n")
    (site / "leaves.py").write_text(
        "from metrics.accuracy import Accuracy\nclass Leaves(Accuracy):\n"
        "    @classmethod\n    def known_answers(cls): raise SystemExit(4)\n"
    )
    install(site, "dist-metrics", "a = exits:A\nb = leaves:Leaves\nmalformed\naccuracy = exits:A", "seqmatch.metrics")
    outcome = command("doctor")
    assert outcome.code == 1
    assert outcome.err.startswith("warning: metric 'malformed' (")
    table = doctor.examine().set_index("metric")
    assert table["verdict"].to_dict() == {
        "accuracy": "holds",
        "a": "fails",
        "dist-metrics/accuracy": "fails",
        "b": "fails",
    }
    assert "SystemExit: 3" in table.loc["a", "error"]
    assert table.loc["b", "error"] == "SystemExit: 4"
    numbers = command("list", "metrics", "--numbers")
    assert numbers.code == 0
    assert "cannot be loaded: SystemExit: 3" in numbers.out
    assert "| dist-metrics/accuracy" in numbers.out


def test_a_local_file_is_relative_to_the_file_of_the_study_and_to_nothing_else(
    command, study_file, tmp_path, monkeypatch
):
    study, elsewhere = study_file(trainers={"mine": {"use": "parts/mine.py:Mine"}}), tmp_path / "elsewhere"
    for folder in (tmp_path / "parts", elsewhere):
        folder.mkdir()
    (tmp_path / "parts" / "mine.py").write_text(TRAINER)
    monkeypatch.chdir(elsewhere)
    assert command("run", study, "--dry-run").code == 0
    assert command("run", "../small.toml", "--dry-run").code == 0
    (tmp_path / "parts").rename(elsewhere / "parts")
    outcome = command("run", study, "--dry-run")
    assert outcome.code == 2
    assert f"trainers.mine.use: trainer 'parts/mine.py:Mine': there is no file {tmp_path}/parts/mine.py" in outcome.err


def test_in_a_study_made_in_python_or_bundled_it_is_relative_to_the_current_folder(command, tmp_path, monkeypatch):
    from small_studies import small_study

    from harness.expansion import plan

    (tmp_path / "mine.py").write_text(TRAINER)
    monkeypatch.chdir(tmp_path)
    (trial, _) = plan(small_study(trainers={"mine": {"use": "mine.py:Mine"}})).trials
    assert trial.trainer.use == f"{tmp_path}/mine.py:Mine"
    assert command("run", "paper_text", "--dry-run", "--set", 'trainers.mine.use="mine.py:Mine"').code == 0
