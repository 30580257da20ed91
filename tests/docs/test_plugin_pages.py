import pytest
from pages import ROOT, blocks, run_python

import harness.store
from harness.scaffold import Package

PAGES = {"trainer": ("focal", 6), "task": ("reverse", 6), "metric": ("stutter", 5)}


@pytest.fixture(params=PAGES)
def kind(request):
    return request.param


@pytest.mark.slow
def test_the_code_and_the_commands_run_and_print_what_the_page_shows(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name, ran = PAGES[kind]
    assert run_python(ROOT / "docs" / f"add-a-{kind}.md") == ran
    assert (tmp_path / f"seqmatch-{name}").is_dir()


def test_the_page_shows_what_the_command_writes(kind):
    name, _ = PAGES[kind]
    package = Package(kind, name)
    shown = {block.file: block.content for block in blocks((ROOT / "docs" / f"add-a-{kind}.md").read_text())}
    assert shown[f"{name}.py"] == package.files()[package.source]


@pytest.mark.slow
def test_the_other_trainers_of_the_page_train(tmp_path):
    """All blocks of classes in one file, as one would write them below the first."""
    found = blocks((ROOT / "docs" / "add-a-trainer.md").read_text())
    (tmp_path / "all.py").write_text("".join(block.content for block in found if "@dataclass" in block.content))
    (tmp_path / "study.toml").write_text(next(block.content for block in found if block.file == "study.toml"))
    others = [f"trainers.{name}={{use='all.py:{name}'}}" for name in ("ShortFirst", "PlainSgd")]
    changes = [*others, "trainers.pretrained={}", "seeds=1", "evaluation.points=2", "evaluation.metrics=['exact']"]
    table = harness.run(tmp_path / "study.toml", tmp_path / "out", overrides=changes)
    assert set(table["status"]) == {"finished"}
    kl = table[table["metric"] == "kl_forward"].set_index("trainer")
    assert kl.loc["mle", "value"] < kl.loc["ShortFirst", "value"] < 0.2 * kl.loc["pretrained", "value"]
    assert kl.loc["PlainSgd", "value"] < 0.5 * kl.loc["pretrained", "value"]
    assert kl.loc["ShortFirst", "tokens"] < kl.loc["mle", "tokens"]
    measured = harness.store.Store(tmp_path / "out").evaluations()
    assert {50, 100} <= set(measured.loc[measured["trainer"] == "PlainSgd", "step"])
