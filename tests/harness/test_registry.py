import subprocess
import sys

import pytest
from distributions import TRAINER, install
from small_studies import small_study, toy

from harness.entries import Entry
from harness.errors import RegistryError, StudyError
from harness.expansion import plan
from harness.provenance import version
from harness.registry import METRICS, TASKS, TRAINERS


@pytest.mark.parametrize("registry", [TRAINERS, TASKS, METRICS])
def test_every_built_in_name_leads_to_a_class_of_its_kind(registry):
    for name in registry.builtin:
        assert registry.load(name).__name__ == registry.builtin[name].partition(":")[2]


def test_an_entry_point_of_another_distribution_is_listed_with_its_origin_and_loads(site):
    (site / "plugin_module.py").write_text(TRAINER)
    install(site, "some-plugin", "mine = plugin_module:Mine")
    assert Entry("trainer", "mine", "plugin_module:Mine", "some-plugin", "2.5") in TRAINERS.entries()
    assert TRAINERS.entry("mine").origin == "some-plugin 2.5"
    assert TRAINERS.load("mine").__name__ == "Mine"


def test_listing_imports_no_plug_in_and_a_broken_one_fails_only_when_used(site):
    (site / "broken_module.py").write_text("raise RuntimeError('boom')\n")
    install(site, "broken-plugin", "broken = broken_module:Broken")
    assert "broken" in TRAINERS.listing()
    assert TRAINERS.load("mle")
    with pytest.raises(RegistryError, match=r"broken_module:Broken of broken-plugin 2\.5.*RuntimeError: boom"):
        TRAINERS.load("broken")


def test_listing_loads_neither_torch_nor_the_built_in_modules():
    code = (
        "import sys; from harness.registry import TRAINERS, TASKS, METRICS;"
        "[r.entries() for r in (TRAINERS, TASKS, METRICS)];"
        "print([m for m in ('torch', 'transformers', 'pandas', 'trainers.mle', 'tasks.text') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_plug_in_that_claims_a_built_in_name_takes_it_from_nobody(site, command):
    install(site, "Rival.Plugin", "mle = rival_module:Mle")
    assert TRAINERS.entry("mle").target == "trainers.mle:MaximumLikelihood"
    assert TRAINERS.entry("rival-plugin/mle").target == "rival_module:Mle"
    rows = [line for line in command("list", "trainers").out.splitlines() if "mle" in line]
    assert [[word for word in row.split() if word.isprintable() and word not in "│|"] for row in rows] == [
        ["mle", "trainers.mle:MaximumLikelihood", "seqmatch", version("seqmatch")],
        ["rival-plugin/mle", "rival_module:Mle", "rival-plugin", "2.5"],
    ]


def test_a_collision_of_plug_ins_names_both_sides_and_the_names_to_use_instead(site):
    install(site, "one", "mine = one_module:Mine")
    install(site, "two", "mine = two_module:Mine")
    with pytest.raises(RegistryError) as caught:
        TRAINERS.entry("mine")
    assert str(caught.value) == (
        "trainer 'mine' is registered by one 2.5 (one_module:Mine) and by two 2.5 (two_module:Mine): "
        "write 'one/mine' or 'two/mine'"
    )
    assert {"one/mine", "two/mine"} < TRAINERS.listing().keys()
    assert "mine" not in TRAINERS.listing()
    assert TRAINERS.entry("two/mine").target == "two_module:Mine"


def test_a_qualified_name_works_without_a_collision_and_however_the_distribution_is_spelled(site):
    install(site, "Some_Plugin", "alone = some_module:Alone")
    assert "alone" in TRAINERS.listing()
    for name in ("some-plugin/alone", "Some_Plugin/alone", "SOME.plugin/alone", "alone"):
        assert TRAINERS.entry(name).target == "some_module:Alone"
    assert TRAINERS.entry("seqmatch/mle") == TRAINERS.entry("mle")
    with pytest.raises(RegistryError, match="unknown trainer 'some-plugin/alnoe'; did you mean 'some-plugin/alone'"):
        TRAINERS.entry("some-plugin/alnoe")
    with pytest.raises(RegistryError, match="unknown trainer 'seqmatch/alone'"):
        TRAINERS.entry("seqmatch/alone")


def test_a_trial_records_a_name_that_survives_a_second_claim(site):
    (site / "surviving.py").write_text(TRAINER)
    install(site, "first-plugin", "mine = surviving:Mine")
    table = {"x": {"use": "mine"}, "mle": {}}
    alone = {trial.trainer.name: trial.trainer for trial in plan(small_study(trainers=table)).trials}
    assert alone["x"].use == "first-plugin/mine"
    assert alone["mle"].use == "mle"
    install(site, "second-plugin", "mine = other_module:Mine")
    assert TRAINERS.load(alone["x"].use).__name__ == "Mine"
    named = plan(small_study(trainers={"x": {"use": "first-plugin/mine"}})).trials[0].trainer
    assert named == alone["x"]


def test_a_qualified_name_of_a_table_is_an_error_that_says_what_to_write(study_file):
    with pytest.raises(StudyError, match='it becomes a file name; write use = "rival/mle" under a plain name'):
        plan(study_file(trainers={"rival/mle": {}}))


def test_one_distribution_found_twice_is_no_collision(tmp_path, monkeypatch):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        install(folder, "twice", f"again = {name}_module:Again")
        monkeypatch.syspath_prepend(str(folder))
    assert TRAINERS.entry("again").target == "two_module:Again"


def test_an_unknown_name_gets_the_nearest_valid_one():
    with pytest.raises(RegistryError, match="unknown trainer 'sequence_mach'; did you mean 'sequence_match'"):
        TRAINERS.entry("sequence_mach")
    with pytest.raises(RegistryError, match=r"unknown metric 'zzz' \(valid: accuracy, .*trajectories\)"):
        METRICS.entry("zzz")


def test_a_file_entry_loads_and_its_version_follows_its_content(tmp_path):
    path = tmp_path / "mine.py"
    source = "from trainers.pretrained import Pretrained\nclass Mine(Pretrained):\n    tag = 1\n"
    path.write_text(source)
    before = TRAINERS.entry(f"{path}:Mine")
    assert TRAINERS.load(f"{path}:Mine").tag == 1
    path.write_text(source.replace("1", "2"))
    after = TRAINERS.entry(f"{path}:Mine")
    assert TRAINERS.load(f"{path}:Mine").tag == 2
    assert before.distribution == "local file"
    assert before.version != after.version


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/x.py:A", "there is no file /nowhere/x.py"),
        ("mine.py", r"'mine.py' names no class: write mine.py:CLASS"),
        ("mine.py:", r"'mine.py:' names no class: write mine.py:CLASS"),
        (toy("Missing"), "AttributeError"),
        (toy("NotATrainer"), "is not a subclass of trainers.base.Trainer"),
        (toy("Letters"), "is not a subclass of trainers.base.Trainer"),
    ],
)
def test_a_file_entry_that_is_no_trainer_is_an_error(name, message):
    with pytest.raises(RegistryError, match=message):
        TRAINERS.load(name)


def test_an_abstract_class_is_an_error_that_names_what_it_lacks():
    with pytest.raises(RegistryError, match="is abstract: it does not define corpus, examples, max_new_tokens"):
        TASKS.load(toy("Abstract"))


def test_a_class_without_what_its_kind_declares_is_abstract_too(tmp_path):
    """A metric without ``values`` would break every list of numbers."""
    (tmp_path / "mine.py").write_text(
        "from metrics.base import Metric\nclass Mine(Metric):\n    def compute(self, generations, context): ...\n"
        "    @classmethod\n    def known_answers(cls): return []\n"
    )
    with pytest.raises(RegistryError, match="is abstract: it does not define values"):
        METRICS.load(f"{tmp_path}/mine.py:Mine")
