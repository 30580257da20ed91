import pytest
from distributions import install
from pages import ROOT, blocks, command, run_python

import harness.store
from harness.scaffold import Package

PAGES = {"trainer": ("focal", 7), "task": ("reverse", 6), "metric": ("stutter", 5)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind != "trainer")) for kind in PAGES])
def test_the_code_and_the_commands_run_and_print_what_the_page_shows(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name, ran = PAGES[kind]
    assert run_python(ROOT / "docs" / f"add-a-{kind}.md") == ran
    assert (tmp_path / f"seqmatch-{name}").is_dir()


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_shows_what_the_command_writes(kind):
    name, _ = PAGES[kind]
    package = Package(kind, name)
    shown = {block.file: block.content for block in blocks((ROOT / "docs" / f"add-a-{kind}.md").read_text())}
    assert shown[f"{name}.py"] == package.files()[package.source]


def test_the_page_on_plug_ins_runs_and_shows_what_is_printed_of_broken_ones(tmp_path, monkeypatch, capsys):
    page, site = ROOT / "docs" / "plugins.md", tmp_path / "site"
    monkeypatch.chdir(tmp_path)
    assert run_python(page) == 2
    (site / "labtools").mkdir(parents=True)
    (site / "labtools" / "gpu.py").write_text("import sys\nsys.exit('no GPU')\n")
    (site / "old_trainer.py").write_text(
        "from dataclasses import dataclass\nfrom trainers.base import Trainer\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Old(Trainer):\n    optimization: str = 'sgd'\n"
    )
    install(site, "lab-tools", "needs_gpu = labtools.gpu:Gpu\nhalf = labtools", version="1.2")
    install(site, "old", "old = old_trainer:Old", version="0.3")
    monkeypatch.syspath_prepend(str(site))
    capsys.readouterr()
    with pytest.raises(AssertionError, match="--broken"):
        command("seqmatch list trainers --broken")
    assert capsys.readouterr().out.strip() in page.read_text()


@pytest.mark.slow
@pytest.mark.long
def test_the_other_trainers_of_the_page_train(tmp_path):
    """All blocks of classes in one file, as one would write them below the first."""
    found = blocks((ROOT / "docs" / "add-a-trainer.md").read_text())
    (tmp_path / "all.py").write_text("".join(block.content for block in found if "@dataclass" in block.content))
    (tmp_path / "study.toml").write_text(next(block.content for block in found if block.file == "study.toml"))
    others = [f"trainers.{name}={{use='all.py:{name}'}}" for name in ("ShortFirst", "EndsInTime", "PlainSgd")]
    changes = [
        *others,
        "trainers.focal.use='all.py:FocalTrainer'",
        "trainers.pretrained={}",
        "seeds=1",
        "evaluation.points=2",
        "evaluation.metrics=['exact']",
    ]
    table = harness.run(tmp_path / "study.toml", tmp_path / "out", overrides=changes)
    assert set(table["status"]) == {"finished"}
    kl = table[table["metric"] == "kl_forward"].set_index("trainer")
    assert kl.loc["mle", "value"] < kl.loc["ShortFirst", "value"] < 0.2 * kl.loc["pretrained", "value"]
    assert kl.loc["EndsInTime", "value"] < 0.2 * kl.loc["pretrained", "value"]
    assert kl.loc["EndsInTime", "generated_tokens"] > 0 == kl.loc["mle", "generated_tokens"]
    assert kl.loc["PlainSgd", "value"] < 0.5 * kl.loc["pretrained", "value"]
    assert kl.loc["ShortFirst", "tokens"] < kl.loc["mle", "tokens"]
    measured = harness.store.Store(tmp_path / "out").evaluations()
    assert {50, 100} <= set(measured.loc[measured["trainer"] == "PlainSgd", "step"])
