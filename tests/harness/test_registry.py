import subprocess
import sys
from pathlib import Path

import pytest
from small_studies import toy

from harness.errors import RegistryError
from harness.registry import METRICS, TASKS, TRAINERS, Entry


def install(folder: Path, distribution: str, points: str, group: str = "seqmatch.trainers") -> None:
    """Put the metadata of a distribution with entry points on disk, as pip does."""
    info = folder / f"{distribution}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("registry", [TRAINERS, TASKS, METRICS])
def test_every_built_in_name_leads_to_a_class_of_its_kind(registry):
    for name in registry.builtin:
        assert registry.load(name).__name__ == registry.builtin[name].partition(":")[2]


def test_an_entry_point_of_another_distribution_is_listed_with_its_origin_and_loads(site):
    (site / "plugin_module.py").write_text(
        "from dataclasses import dataclass\nfrom trainers.pretrained import Pretrained\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Pretrained):\n    pass\n"
    )
    install(site, "some-plugin", "mine = plugin_module:Mine")
    assert Entry("trainer", "mine", "plugin_module:Mine", "some-plugin", "2.5") in TRAINERS.entries()
    assert TRAINERS.entry("mine").origin == "some-plugin 2.5"
    assert TRAINERS.load("mine").__name__ == "Mine"


def test_listing_imports_no_plug_in_and_a_broken_one_fails_only_when_used(site):
    (site / "broken_module.py").write_text("raise RuntimeError('boom')\n")
    install(site, "broken-plugin", "broken = broken_module:Broken")
    assert "broken" in {entry.name for entry in TRAINERS.entries()}
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


def test_a_collision_names_both_sides_and_leaves_other_names_alone(site):
    install(site, "rival", "mle = rival_module:Mle")
    with pytest.raises(RegistryError) as caught:
        TRAINERS.entry("mle")
    for side in ("trainers.mle:MaximumLikelihood", "rival_module:Mle", "rival 2.5", "seqmatch"):
        assert side in str(caught.value)
    assert TRAINERS.entry("pretrained")


def test_one_distribution_found_twice_is_no_collision(tmp_path, monkeypatch):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        install(folder, "twice", "again = some_module:Again")
        monkeypatch.syspath_prepend(str(folder))
    assert TRAINERS.entry("again").target == "some_module:Again"


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
