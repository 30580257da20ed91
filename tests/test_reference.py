"""The reference studies are tuned as their protocol says, and run with what won."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.expansion import plan
from harness.statistics import sign_flip_floor
from harness.study import load_study
from harness.trial import Trial

HERE = Path(__file__).parents[1] / "results" / "reference"
TASKS = ("language", "arithmetic", "text")


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tune() -> ModuleType:
    return script("tune")


def tries(tune: ModuleType, task: str) -> list[Trial]:
    numbers = range(len(tune.points(task)))
    return [trial for trainer in tune.OWN for trial in plan(tune.study_of(task, trainer, numbers)).trials]


@pytest.mark.parametrize("task", TASKS)
def test_every_trainer_has_as_many_tries_on_data_that_is_not_judged_later(tune: ModuleType, task: str) -> None:
    trials = tries(tune, task)
    reference = [trial for trial in plan("reference_main").trials if trial.task.name == task]
    assert len(trials) == len(tune.OWN) * len(tune.points(task)) * len(tune.SEEDS[task])
    assert {trial.trainer.use for trial in trials} == {trial.trainer.name for trial in reference} - {"pretrained"}
    assert not {trial.seed for trial in trials} & {trial.seed for trial in reference}
    assert {trial.split for trial in trials} == {"validation"}
    assert (trials[0].task.settings["seed"] == reference[0].task.settings["seed"]) == (task != "language")
    assert {json.dumps(trial.model) for trial in trials} == {json.dumps(trial.model) for trial in reference}
    assert {json.dumps(trial.budget) for trial in trials} == {json.dumps(trial.budget) for trial in reference}


@pytest.mark.parametrize("task", TASKS)
def test_trainers_share_what_they_have_in_common(tune: ModuleType, task: str) -> None:
    trials = tries(tune, task)
    for number, point in enumerate(tune.points(task)):
        mine = {trial.trainer.use: trial for trial in trials if number_of(trial) == number}
        rates = {trial.optimization["learning_rate"] for trial in mine.values()}
        assert rates == {point["learning_rate"]}
        cloning, match = (mine[name].trainer.settings for name in ("behavioral_cloning", "sequence_match_backspace"))
        assert (cloning["noise"], cloning["noise_kind"]) == (match["noise"], match["noise_kind"])
        assert mine["sequence_match"].trainer.settings["alpha"] == match["alpha"] == point["alpha"]


def test_what_trains_longer_has_the_settings_of_the_main_study() -> None:
    longer, main = (load_study(name)[0] for name in ("reference_flops", "reference_main"))
    assert set(longer.tasks) == {"language", "arithmetic"}
    for task, table in longer.tasks.items():
        assert set(table["trainers"]) == set(longer.trainers)
        for trainer, settings in table["trainers"].items():
            assert settings == main.tasks[task]["trainers"][trainer]


def number_of(trial: Trial) -> int:
    return int(trial.trainer.name.rpartition(".")[2])


@pytest.mark.parametrize("task", TASKS)
def test_what_won_is_what_the_study_has(tune: ModuleType, task: str) -> None:
    found = tune.recorded(task)
    metric, higher = tune.OBJECTIVES[task]
    drawn = tune.points(task)
    study, _ = load_study("reference_main")
    chosen = dict[str, Any]()
    for trainer, rows in found.groupby("trainer"):
        assert set(rows["metric"]) == {metric}
        assert sorted(rows["number"]) == list(range(len(drawn)))
        for row in rows.to_dict("records"):
            assert json.loads(row["settings"]) == tune.settings(trainer, drawn[row["number"]])
            assert row["min"] <= row["mean"] <= row["max"]
        best = rows.loc[rows["mean"].idxmax() if higher else rows["mean"].idxmin()]
        chosen[str(trainer)] = json.loads(best["settings"])
    assert study.tasks[task].get("trainers", {}) == chosen


@pytest.mark.parametrize(
    ("name", "task"),
    [("reference_grid", "language"), ("reference_regimes", "language"), ("reference_noise", "arithmetic")],
)
def test_the_other_studies_learn_at_the_rate_of_the_tuned_likelihood(name: str, task: str) -> None:
    main, _ = load_study("reference_main")
    study, _ = load_study(name)
    tuned = main.tasks[task]["trainers"]["mle"]["optimization"]
    assert {key: study.optimization[key] for key in tuned} == tuned


@pytest.fixture(scope="module")
def contrasts() -> ModuleType:
    return script("contrasts")


def test_every_planned_contrast_can_be_made_and_decided(contrasts: ModuleType) -> None:
    planned = list(contrasts.families())
    assert len({(each.study, each.task) for each in planned}) == len(planned)
    for family in planned:
        trials = {
            name: plan(f"reference_{name}")
            for name in {family.study, *(side.study for pair in family.pairs for side in pair if side.study)}
        }
        seeds = {len({trial.seed for trial in each.trials}) for each in trials.values()}
        assert len(seeds) == 1
        for side in {side for pair in family.pairs for side in pair}:
            chosen = trials[side.study or family.study].only([side.trainer], [family.task]).trials
            assert {side.decoder} <= set(chosen[0].decoders)
        assert len(family.pairs) * sign_flip_floor(seeds.pop()) <= contrasts.ALPHA


def test_a_family_is_judged_as_by_hand(contrasts: ModuleType) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.1, 10)
    made = {"base": base, "better": base - 0.3, "same": base + rng.normal(0, 0.01, 10), "noisy": rng.normal(1.1, 1, 10)}
    table = long_table(made)
    sides = tuple((contrasts.Side(name), contrasts.Side("base")) for name in made if name != "base")
    found = contrasts.judged(contrasts.Family("toy", "language", "kl_forward", sides), {"toy": table})
    assert found["verdict"].tolist() == ["better", "equal", "open"]
    assert found["effect"].tolist() == pytest.approx([np.mean(base - made[name]) for name in found["trainer"]])
    assert found["p"][0] == 2 / 2**10
    assert found["p_holm"][0] == 3 * 2 / 2**10
    turned = contrasts.Family("toy", "language", "kl_forward", tuple((other, one) for one, other in sides))
    assert contrasts.judged(turned, {"toy": table})["verdict"].tolist() == ["worse", "equal", "open"]


def test_no_seed_is_left_out(contrasts: ModuleType) -> None:
    table = long_table({"one": np.arange(10.0), "other": np.arange(10.0)})
    family = contrasts.Family("toy", "language", "kl_forward", ((contrasts.Side("one"), contrasts.Side("other")),))
    with pytest.raises(contrasts.NotMadeError, match="does not have a value of each of its 10 seeds"):
        contrasts.judged(family, {"toy": table.iloc[:-1]})
    with pytest.raises(contrasts.NotMadeError, match="not one per seed"):
        contrasts.judged(family, {"toy": pd.concat([table, table])})
    empty = table.assign(value=table["value"].where(table["seed"] != 3))
    with pytest.raises(contrasts.NotMadeError, match="does not have a value of each of its 10 seeds"):
        contrasts.judged(family, {"toy": empty})
    more = pd.concat([table, long_table({"third": np.arange(11.0)})])
    with pytest.raises(contrasts.NotMadeError, match="does not have a value of each of its 11 seeds"):
        contrasts.judged(family, {"toy": more})


@pytest.mark.parametrize(
    ("mean", "half_width", "said"),
    [(0.01, 0.019, "equal"), (-0.01, 0.019, "equal"), (0.01, 0.021, "open"), (-0.01, 0.021, "open")],
)
def test_equal_means_that_90_percent_lie_within_the_margin(
    contrasts: ModuleType, mean: float, half_width: float, said: str
) -> None:
    spread = half_width * np.sqrt(10) / stats.t.ppf(0.95, 9)
    shape = stats.zscore(np.arange(10.0), ddof=1)
    table = long_table({"base": np.full(10, 0.5), "other": 0.5 + mean + spread * shape}, "accuracy")
    family = contrasts.Family("toy", "language", "accuracy", ((contrasts.Side("other"), contrasts.Side("base")),))
    assert contrasts.judged(family, {"toy": table})["verdict"].tolist() == [said]


def test_a_margin_is_a_share_of_the_other_side(contrasts: ModuleType) -> None:
    table = long_table({"one": np.array([1.154, 1.155, 1.156, 1.155]), "other": np.ones(4)})
    one, other = contrasts.Side("one"), contrasts.Side("other")
    for pair, said in (((one, other), "open"), ((other, one), "equal")):
        found = contrasts.judged(contrasts.Family("toy", "language", "kl_forward", (pair,)), {"toy": table})
        assert found["verdict"].tolist() == [said]


def test_a_side_can_be_of_another_study(contrasts: ModuleType) -> None:
    tables = {name: long_table({"mle": np.arange(6.0) + shift}) for name, shift in (("main", 0), ("flops", 1))}
    pair = (contrasts.Side("mle"), contrasts.Side("mle", study="flops"))
    found = contrasts.judged(contrasts.Family("main", "language", "kl_forward", (pair,)), tables)
    assert found[["effect", "against"]].to_numpy().tolist() == [[1.0, "mle (flops)"]]
    tables["flops"]["flops"] = 0.9
    with pytest.raises(contrasts.NotMadeError, match=r"mle \(flops\) has fewer FLOPs than mle"):
        contrasts.judged(contrasts.Family("main", "language", "kl_forward", (pair,)), tables)
    tables["flops"] = tables["flops"].iloc[1:]
    with pytest.raises(contrasts.NotMadeError, match="do not have the same seeds"):
        contrasts.judged(contrasts.Family("main", "language", "kl_forward", (pair,)), tables)


def test_what_is_measured_jointly_decides(contrasts: ModuleType, tmp_path: Path) -> None:
    alone = pd.concat([long_table({"mle": np.zeros(6)}, name) for name in ("mauve", "perplexity")])
    alone.to_parquet(tmp_path / "results.parquet")
    family = contrasts.Family("toy", "language", "mauve", ((contrasts.Side("mle"), contrasts.Side("mle")),))
    with pytest.raises(contrasts.NotMadeError, match="0 values"):
        contrasts.judged(family, {"toy": contrasts.published(tmp_path)})
    joint = pd.concat([long_table({"mle": np.ones(6)}, name) for name in ("mauve", "mauve_n")])
    joint.to_parquet(tmp_path / "measured-mauve.parquet")
    assert contrasts.judged(family, {"toy": contrasts.published(tmp_path)})["mean"].tolist() == [1.0]


def long_table(values: dict[str, NDArray[np.float64]], metric: str = "kl_forward") -> pd.DataFrame:
    common = {"task": "language", "metric": metric, "decoder": "ancestral"}
    rows = [
        {**common, "trainer": trainer, "seed": seed, "value": value, "flops": 1.0, "higher_is_better": False}
        for trainer, mine in values.items()
        for seed, value in enumerate(mine)
    ]
    return pd.DataFrame(rows)
