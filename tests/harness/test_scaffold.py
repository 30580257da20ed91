"""Packages that ``seqmatch new`` writes: installed by pip, found, run and checked as a user would."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import harness
from harness.scaffold import Package, write_package

ROOT = Path(harness.__file__).parents[1]
KINDS = ("trainer", "task", "metric")
PIP = ["-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]


def python(*arguments, cwd=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([*map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One package of each kind, by kind."""
    folder = tmp_path_factory.mktemp("packages")
    return {kind: write_package(kind, f"my-{kind}", folder / kind)[1] for kind in KINDS}


@pytest.fixture(scope="module")
def site_packages(packages, tmp_path_factory):
    """Where pip has installed them."""
    site = tmp_path_factory.mktemp("site")
    python(sys.executable, "-m", "pip", "install", *PIP, "--target", site, *packages.values())
    return site


@pytest.fixture
def installed(site_packages, monkeypatch):
    monkeypatch.syspath_prepend(str(site_packages))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_installed_package_is_found_with_its_origin_and_not_broken(command, installed, kind):
    row = next(line for line in command("list", f"{kind}s").out.splitlines() if f" my-{kind} " in line)
    assert f"seqmatch_my_{kind}.{kind}:My{kind.title()}" in row
    assert f"seqmatch-my-{kind} 0.1.0" in row
    assert command("list", f"{kind}s", "--broken").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_study_runs(command, installed, packages, tmp_path, kind):
    study, out = packages[kind] / "study.toml", tmp_path / "out"
    outcome = command("run", study, "--out", out, "--set", "seeds=1", "--set", "budget.steps=5")
    assert outcome.code == 0, outcome.err
    table = harness.load_results(out)
    assert set(table["status"]) == {"finished"}
    shown = {"trainer": table["trainer"], "task": table["task"], "metric": table["metric"].str.replace("_", "-")}[kind]
    assert f"my-{kind}" in set(shown)
    assert "mle" in set(table["trainer"])


@pytest.mark.slow
def test_the_trainer_learns_and_is_maximum_likelihood_at_gamma_0(installed, packages, tmp_path):
    changes = ["seeds=1", "trainers.pretrained.use='pretrained'", "trainers.plain={use='my-trainer', gamma=0.0}"]
    table = harness.run(packages["trainer"] / "study.toml", tmp_path / "out", overrides=changes)
    found = table[table["metric"] == "kl_forward"].set_index("trainer")["value"]
    assert found["my-trainer"] < 0.2 * found["pretrained"]
    assert found["plain"] == pytest.approx(found["mle"], rel=1e-6)
    assert found["my-trainer"] != pytest.approx(found["mle"], rel=1e-2)


@pytest.mark.slow
def test_the_metric_gives_its_known_answers(command, installed):
    outcome = command("doctor", "--metric", "my-metric")
    assert outcome.code == 0
    assert "shares 1/2, 0, 0 and 1" in outcome.out


@pytest.mark.slow
def test_the_task_has_distinct_words_and_a_test_set_that_depends_on_its_own_size_only(installed):
    from harness.registry import TASKS

    cls = TASKS.load("my-task")
    small, large = cls(train=50, test=20), cls(train=300, test=20)
    assert small.examples("test", None)["prompt"] == large.examples("test", None)["prompt"]
    words = [word for split in ("train", "validation", "test") for word in large.examples(split, None)["prompt"]]
    assert len(set(words)) == len(words) == 420
    with pytest.raises(ValueError, match="64 words have length 2: ask for fewer, or longer ones"):
        cls(length=2)


@pytest.mark.slow
def test_the_code_is_clean_under_ruff(packages, tmp_path):
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    ours = ["check", "--select", ",".join(rules["select"]), "--ignore", ",".join([*rules["ignore"], "D"])]
    for arguments in (["check"], ours, ["format", "--check"]):
        python(sys.executable, "-m", "ruff", *arguments, *packages.values(), cwd=tmp_path)


@pytest.mark.long
def test_the_code_is_clean_under_strict_mypy(packages, tmp_path):
    # torch and transformers take mypy a minute, and say nothing of these files
    libraries = ", ".join(
        f"'{name}.*'" for name in ("torch", "transformers", "datasets", "tokenizers", "pandas", "numpy", "peft")
    )
    (tmp_path / "mypy.toml").write_text(
        "[tool.mypy]\nstrict = true\nmypy_path = ['" + str(ROOT) + "']\nfollow_imports = 'silent'\n"
        f"[[tool.mypy.overrides]]\nmodule = [{libraries}]\nignore_missing_imports = true\nfollow_imports = 'skip'\n"
    )
    sources = [folder / "src" for folder in packages.values()]
    python(sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.toml", "--cache-dir", tmp_path, *sources)


@pytest.mark.slow
def test_an_editable_install_is_another_version_after_an_edit(tmp_path):
    """In an environment of its own, which sees the libraries of this one."""
    package, folder = write_package("trainer", "edited", tmp_path / "package")
    python(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    own = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    parents = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "parents.pth").write_text("\n".join(parents))
    python(sys.executable, "-m", "pip", "--python", own, "install", *PIP, "--editable", folder)
    listing = [own, "-m", "harness", "list", "trainers"]

    def version():
        (row,) = [line for line in python(*listing).splitlines() if "seqmatch_edited" in line]
        return row.split("seqmatch-edited ")[1].split()[0]

    first = version()
    assert first.startswith("0.1.0+")
    assert version() == first
    source = folder / package.source
    source.write_text(source.read_text() + "\nEDITED = True\n")
    assert version().startswith("0.1.0+")
    assert version() != first


def test_the_smallest_useful_trainer_is_as_short_as_the_readme_says(packages):
    lines = len((packages["trainer"] / "src/seqmatch_my_trainer/trainer.py").read_text().splitlines())
    assert lines <= 42
    assert f"starts with one of {lines} lines, in full" in (ROOT / "README.md").read_text()


def test_the_command_says_what_to_do_next(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("new", "trainer", "focal_loss")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "seqmatch-focal-loss has the trainer 'focal_loss', in src/seqmatch_focal_loss/trainer.py. Next:\n"
        "  cd seqmatch-focal-loss && pip install -e .\n"
        "  seqmatch run study.toml\n"
        "  seqmatch check trainer focal_loss\n"
    )
    metadata = tomllib.loads((tmp_path / "seqmatch-focal-loss" / "pyproject.toml").read_text())["project"]
    assert metadata["entry-points"] == {
        "seqmatch.trainers": {"focal_loss": "seqmatch_focal_loss.trainer:FocalLossTrainer"}
    }
    assert (tmp_path / "seqmatch-focal-loss" / "src" / "seqmatch_focal_loss" / "py.typed").read_bytes() == b""


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("trainer", "My Idea", "and begin with a letter; 'my-idea' would do"),
        ("trainer", "MyIdea", "'my-idea' would do"),
        ("trainer", "2fast", "'fast' would do"),
        ("trainer", "my--idea", "'my-idea' would do"),
        ("trainer", "../evil", "'evil' would do"),
        ("trainer", "é", "begin with a letter\n"),
        ("trainer", "", "begin with a letter\n"),
        ("trainer", "mle", "is that of a trainer of seqmatch, to which it would always lead: 'my-mle' would do"),
        ("task", "text", "is that of a task of seqmatch"),
        ("metric", "rep-2", "seqmatch has one of that name: 'my-rep-2' would do"),
        ("metric", "metric", "says nothing of the metric: 'my-metric' would do"),
    ],
)
def test_a_name_that_cannot_be_registered_is_one_line_with_one_that_can(
    command, tmp_path, monkeypatch, kind, name, message
):
    monkeypatch.chdir(tmp_path)
    outcome = command("new", kind, name)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"error: name {name!r} ")
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_hides_no_module_and_a_class_no_base():
    assert Package("trainer", "torch").module == "seqmatch_torch"
    assert Package("trainer", "my-trainer").class_name == "MyTrainer"
    assert Package("trainer", "task").class_name == "TaskTrainer"


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_is_never_overwritten(command, tmp_path, there):
    target = tmp_path / "there"
    {"folder": target.mkdir, "file": target.touch, "link": lambda: target.symlink_to("nowhere")}[there]()
    outcome = command("new", "trainer", "mine", "--out", target)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {target} is there already: choose another name, or another folder with --out\n"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_nothing_half_written_is_left_behind(command, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    outcome = command("new", "task", "mine", "--out", tmp_path / "deep" / "mine")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: cannot write {tmp_path}/deep/mine: No space left on device\n"
    assert list((tmp_path / "deep").iterdir()) == []
