"""Files of a results folder that are truncated or edited: an error that names the file, or training starts anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from faults import run_and_die
from small_studies import small_study, toy
from stores import forget_digests

import harness
from harness.errors import StoreError
from harness.expansion import plan
from harness.remeasuring import remeasure
from harness.store import Store
from harness.study import Study


def study() -> Study:
    return small_study(
        seeds=1,
        save_policies=True,
        budget={"steps": 6},
        optimization={"batch_size": 4},
        checkpoint_every=2,
        trainers={"mle": {}},
        tasks={"letters": {"use": toy("Letters"), "metrics": {"accuracy": {}, "perplexity": {}}}},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    harness.run(study(), out)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that was killed after its second checkpoint."""
    out = tmp_path_factory.mktemp("killed")
    assert run_and_die(study(), out, "torch.optim:AdamW.step", 5, "after")
    return out


@pytest.fixture
def halfway(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "halfway"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path) -> None:
    """Give the table a better value, as a whole and valid file."""
    table = pd.read_parquet(path)
    table["value"] = table["value"] + 1
    table.to_parquet(path)


def read(out: Path) -> object:
    return harness.load_results(out)


def measure(metric: str) -> Callable[[Path], object]:
    return lambda out: remeasure(out, metric)


@pytest.mark.parametrize(
    ("file", "damage", "use"),
    [
        ("results.parquet", truncate, read),
        ("results.parquet", flip, read),
        ("results.parquet", edit, read),
        ("results.parquet", edit, lambda out: harness.run(study(), out, overrides=["seeds=3"])),
        ("results.parquet", Path.unlink, read),
        ("generations.parquet", truncate, measure("accuracy")),
        ("generations.parquet", flip, measure("accuracy")),
        ("policy/model.safetensors", truncate, measure("perplexity")),
        ("policy/model.safetensors", flip, measure("perplexity")),
        ("policy/model.safetensors", Path.unlink, measure("perplexity")),
        ("policy/config.json", flip, measure("perplexity")),
        ("trial.json", truncate, read),
    ],
)
def test_a_damaged_file_of_a_trial_is_an_error_that_names_it(out, file, damage, use):
    (folder,) = out.glob("trials/*")
    damage(folder / file)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match=rf"{folder / file} .*delete {folder} and run the study again"):
        use(out)
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert [path.name for path in changed] in ([], ["study.json"], [".lock"])
    assert list(out.glob("trials/*")) == [folder], "nothing was trained"


def test_what_the_error_says_brings_everything_back(out, finished):
    (folder,) = out.glob("trials/*")
    edit(folder / "results.parquet")
    shutil.rmtree(folder)
    harness.run(study(), out)
    tables = [harness.load_results(each).drop(columns="seconds") for each in (out, finished)]
    pd.testing.assert_frame_equal(*tables)


def test_a_record_of_an_older_version_vouches_for_nothing(out):
    (record,) = out.glob("trials/*/trial.json")
    forget_digests(record.parent)
    edit(record.with_name("results.parquet"))
    assert len(read(out))


def save_again(path: Path, weight: float = 0.0, **metadata: str) -> None:
    """Write a checkpoint as a whole and valid file, with a weight and what it says of itself changed."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        old, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["model.lm_head.weight"][0, 0] += weight
    save_file(tensors, path, {**old, **metadata})


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncate, "training starts anew"),
        (flip, "training starts anew"),
        (lambda path: path.write_bytes(b""), "training starts anew"),
        (lambda path: save_again(path, weight=1.0), "it is damaged"),
        (lambda path: save_again(path, content="{}"), "it is damaged"),
        (lambda path: save_again(path, identity="other"), "it was written by another trial"),
    ],
)
def test_a_damaged_checkpoint_is_said_and_not_used(damage, why, finished, halfway, capsys):
    checkpoint = Store(halfway).checkpoint(plan(study()).trials[0])
    assert checkpoint.is_file()
    damage(checkpoint)
    capsys.readouterr()
    harness.run(study(), halfway)
    error = capsys.readouterr().err
    assert f"the checkpoint {checkpoint} is not used" in error
    assert why in error
    tables = [harness.load_results(each).drop(columns="seconds") for each in (halfway, finished)]
    pd.testing.assert_frame_equal(*tables)
    assert not checkpoint.exists()


def test_a_checkpoint_of_other_source_code_is_not_used(halfway, capsys, monkeypatch):
    monkeypatch.setattr("harness.checkpoints.source_digest", lambda: "other")
    harness.run(study(), halfway)
    error = capsys.readouterr().err
    assert "training starts anew: it was written by another version" in error


def staged() -> Study:
    return small_study(
        seeds=1,
        save_policies=True,
        trainers={"stages": {"use": toy("InStages")}},
        budget={"steps": 8},
        checkpoint_every=1,
        optimization={"batch_size": 4},
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the trainer of several stages, without checkpoints."""
    out = tmp_path_factory.mktemp("undisturbed")
    harness.run(staged(), out, overrides=["checkpoint_every=0"])
    return out


@pytest.mark.parametrize("step", [1, 4, 5, 8], ids="in step {}".format)
def test_a_trainer_of_several_stages_goes_on_in_the_right_one(step, undisturbed, tmp_path):
    assert run_and_die(staged(), tmp_path / "out", "torch.optim:AdamW.step", step, "after")
    harness.run(staged(), tmp_path / "out")
    folders = [tmp_path / "out", undisturbed]
    tables = [harness.load_results(each).drop(columns="seconds") for each in folders]
    pd.testing.assert_frame_equal(*tables)
    for name in ("policy/model.safetensors", "curve.parquet"):
        one, other = (next(folder.glob(f"trials/*/{name}")) for folder in folders)
        if name.endswith("parquet"):
            curves = [pd.read_parquet(each).drop(columns="seconds") for each in (one, other)]
            pd.testing.assert_frame_equal(*curves)
        else:
            assert one.read_bytes() == other.read_bytes()
