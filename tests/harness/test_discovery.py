"""What metadata of other distributions may look like, and which version stands for their code."""

import sys

import pytest
from distributions import TRAINER, install
from small_studies import small_study

from harness.discovery import installed, package_digest
from harness.errors import RegistryError
from harness.expansion import plan
from harness.registry import TRAINERS


def found(distribution):
    return {entry.name: entry for entry in installed("trainer") if entry.distribution == distribution}


@pytest.mark.parametrize(
    ("line", "name", "problem"),
    [
        ("only words", "only words", "has the line 'only words', which is not NAME = module:Class"),
        ("mine = module", "mine", "has the line 'mine = module', which is not"),
        ("mine = module:", "mine", "is not NAME = module:Class"),
        ("mine = a b:Mine", "mine", "is not NAME = module:Class"),
        ("= module:Mine", "", "the name '' is not of letters"),
        ("rival/mle = module:Mine", "rival/mle", "the name 'rival/mle' is not of letters"),
        ("mine = module:Mine\nmine = module:Other", "mine", "2 classes of its distribution have this name"),
    ],
)
def test_a_malformed_line_is_a_problem_and_hides_neither_its_neighbours_nor_other_distributions(
    site, command, line, name, problem
):
    install(site, "bad", f"{line}\ngood = module:Good")
    install(site, "other", "fine = module:Fine")
    assert problem in found("bad")[name].problem
    assert not found("bad")["good"].problem
    outcome = command("list", "trainers")
    assert outcome.code == 0
    assert {"good", "fine", "mle"} <= {word for line in outcome.out.splitlines() for word in line.split()}
    assert all(warning.startswith("warning: trainer ") for warning in outcome.err.splitlines())
    assert problem in outcome.err
    if name == "mine":
        with pytest.raises(RegistryError, match=r"'mine' .* of bad 2\.5\) cannot be loaded"):
            TRAINERS.entry("mine")


def test_whitespace_comments_extras_and_other_groups_are_no_problem(site):
    others = "[console_scripts]\nnothing at all\n[seqmatch.tasks]\nb = m:B"
    install(site, "odd", f"# a comment\n ; another\n\n a=m.n : A.B [extra1,extra2]\n{others}")
    assert {name: (entry.target, entry.problem) for name, entry in found("odd").items()} == {"a": ("m.n:A.B", "")}


def test_a_malformed_name_does_not_contest_a_sound_one(site):
    install(site, "bad", "mine = module")
    install(site, "good", "mine = module:Mine")
    assert TRAINERS.entry("mine").distribution == "good"


def test_damaged_metadata_hides_nobody(site):
    info = install(site, "nameless", "nameless = module:Mine")
    (info / "METADATA").unlink()
    info = install(site, "binary", "x = y:Z")
    (info / "entry_points.txt").write_bytes(b"[seqmatch.trainers]\nmine = \xff\xfe:Mine\n")
    install(site, "good", "good = module:Good")
    assert found("good").keys() == {"good"}
    assert found("unknown")["nameless"].version == "unknown"
    (problem,) = found("binary").values()
    assert "entry_points.txt is not UTF-8" in problem.problem


@pytest.mark.parametrize("group", ["seqmatch.trainers", "seqmatch.tasks"])
def test_of_two_installs_of_a_distribution_the_first_on_the_path_counts(tmp_path, monkeypatch, group):
    for name, version, its_group in (("late", "1.0", "seqmatch.trainers"), ("early", "2.0", group)):
        folder = tmp_path / name
        folder.mkdir()
        install(folder, "moved-out", f"{name} = module:Mine", its_group, version)
        monkeypatch.syspath_prepend(str(folder))
    expected = {"early": "2.0"} if group == "seqmatch.trainers" else {}
    assert {name: entry.version for name, entry in found("moved-out").items()} == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"dir_info": {}}', '{"vcs_info": {}}', '{"dir_info": null}'])
def test_an_origin_that_says_nothing_of_editable_leaves_the_version(site, text):
    (site / "plain_module.py").write_text(TRAINER)
    info = install(site, "plain", "plain = plain_module:Mine")
    (info / "direct_url.json").write_text(text)
    assert found("plain")["plain"].version == "2.5"


def test_an_editable_install_has_another_version_after_any_of_its_files_changed(site):
    package = site / "edited_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('it was imported')\n")
    (package / "mine.py").write_text(TRAINER)
    (package / "helper.py").write_text("A = 1\n")
    install(site, "edited", "mine = edited_package.mine:Mine", version="0.1.0", editable=True)
    first = found("edited")["mine"].version
    assert first == f"0.1.0+{package_digest('edited_package.mine')}"
    assert len(first) == len("0.1.0+") + 12
    (package / "__pycache__").mkdir()
    (package / "notes.txt").write_text("not code")
    (package / ".#helper.py").symlink_to("somebody@somewhere.1234")
    assert found("edited")["mine"].version == first
    (package / "helper.py").write_text("A = 2\n")
    second = found("edited")["mine"].version
    (package / "helper.py").rename(package / "helpers.py")
    assert len({first, second, found("edited")["mine"].version}) == 3
    assert "edited_package" not in sys.modules


def test_the_same_code_is_the_same_version_wherever_it_lies(tmp_path, monkeypatch):
    digests = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "moved_module.py").write_text(TRAINER)
        monkeypatch.syspath_prepend(str(tmp_path / name))
        digests.append(package_digest("moved_module"))
    assert digests[0] == digests[1] != ""
    assert package_digest("no_such_module") == ""


def test_of_a_shared_namespace_only_the_plug_in_s_part_counts(site):
    for name in ("mine", "yours"):
        (site / "shared_space" / name).mkdir(parents=True)
        (site / "shared_space" / name / "__init__.py").write_text("A = 1\n")
    before = package_digest("shared_space.mine")
    (site / "shared_space" / "yours" / "__init__.py").write_text("A = 2\n")
    assert package_digest("shared_space.mine") == before != ""
    (site / "shared_space" / "mine" / "__init__.py").write_text("A = 2\n")
    assert package_digest("shared_space.mine") != before


def test_a_local_part_that_is_there_already_is_kept(site):
    (site / "local_module.py").write_text(TRAINER)
    install(site, "local", "mine = local_module:Mine", version="1.0+cu12", editable=True)
    assert found("local")["mine"].version == f"1.0+cu12.{package_digest('local_module')}"


def test_the_version_of_a_trial_is_that_of_the_code_in_memory(site):
    """Python does not import a module twice: an edit counts from the next process on, and so does its version."""
    path = site / "remembered_module.py"
    path.write_text(TRAINER)
    install(site, "remembered", "mine = remembered_module:Mine", version="0.1.0", editable=True)
    study = small_study(trainers={"mine": {}}, seeds=1)
    first = plan(study).trials[0]
    path.write_text(TRAINER + "A = 1\n")
    assert plan(study).trials[0].identity == first.identity
    del sys.modules["remembered_module"]
    second = plan(study).trials[0]
    assert second.trainer.version == f"0.1.0+{package_digest('remembered_module')}" != first.trainer.version
    assert second.identity != first.identity
