"""The reference studies are tuned as their protocol says, and run with what won."""

from __future__ import annotations

import importlib.util
import json
import math
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
TASKS = ("language", "arithmetic", "text", "few")


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
    reference = [trial for trial in plan(tune.STUDIES[task]).trials if trial.task.name == task]
    assert len(trials) == len(tune.OWN) * len(tune.points(task)) * len(tune.SEEDS[task])
    assert {trial.trainer.use for trial in trials} == {trial.trainer.name for trial in reference} - {"pretrained"}
    assert not {trial.seed for trial in trials} & {trial.seed for trial in reference}
    assert {trial.split for trial in trials} == {"validation"}
    assert (trials[0].task.settings["seed"] == reference[0].task.settings["seed"]) == (task not in ("language", "few"))
    assert {json.dumps(trial.model) for trial in trials} == {json.dumps(trial.model) for trial in reference}
    if task not in tune.STEPS:
        assert {json.dumps(trial.budget) for trial in [*trials, *reference]} == {json.dumps(trials[0].budget)}


@pytest.mark.parametrize("task", TASKS)
def test_trainers_share_what_they_have_in_common(tune: ModuleType, task: str) -> None:
    trials = tries(tune, task)
    for number, point in enumerate(tune.points(task)):
        mine = {trial.trainer.use: trial for trial in trials if number_of(trial) == number}
        rates = {trial.optimization["learning_rate"] for trial in mine.values()}
        assert rates == {point["learning_rate"]}
        assert {trial.budget["steps"] for trial in mine.values()} <= {point.get("steps", trials[0].budget["steps"])}
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
    study, _ = load_study(tune.STUDIES[task])
    chosen = dict[str, Any]()
    for trainer, rows in found.groupby("trainer"):
        assert set(rows["metric"]) == {metric}
        assert sorted(rows["number"]) == list(range(len(rows)))
        for row in rows.to_dict("records"):
            assert json.loads(row["settings"]) == tune.settings(trainer, drawn[row["number"]])
            assert row["min"] <= row["mean"] <= row["max"] or math.isnan(row["mean"])
        if len(rows) < len(drawn):
            continue  # its tuning is not over, and chooses nothing yet
        best = rows.loc[rows["mean"].idxmax() if higher else rows["mean"].idxmin()]
        chosen[str(trainer)] = json.loads(best["settings"])
    on_all = {name: table for name, table in study.trainers.items() if table}
    assert (on_all if task == "few" else study.tasks[task].get("trainers", {})) == chosen
    if (published := HERE / study.name.removeprefix("reference_") / "results.parquet").exists():
        results = pd.read_parquet(published, columns=["task", "status"])
        ran = set(results.loc[results["status"] != "missing", "task"])
        assert task not in ran or set(chosen) == set(tune.OWN), "what is published has been tuned to the end"


TOGETHER = (
    {"divergence", "alpha"},  # at the same curvature
    {"noise_rollouts", "value_weight"},  # whose default follows the noise
    {"cloning_share", "annealing_share"},
)
FREE = {
    "reference_grid": {"divergence", "alpha", "levels", "noise", "noise_rollouts", "value_weight", "refresh_every"}
    | {"cloning_share", "annealing_share", "final_beta"},
    "reference_regimes": {"noise_kind"},
    "reference_noise": {"noise", "noise_kind", "value_weight"},
}


@pytest.mark.parametrize(
    ("name", "task"),
    [("reference_grid", "language"), ("reference_regimes", "language"), ("reference_noise", "arithmetic")],
)
def test_the_other_studies_vary_what_was_tuned(name: str, task: str) -> None:
    tuned = {
        trial.trainer.use: (trial.optimization, trial.trainer.settings, trial.budget)
        for trial in plan("reference_main").only(tasks=[task]).trials
    }
    for trial in plan(name).trials:
        optimization, settings, budget = tuned[trial.trainer.use]
        assert (trial.optimization, trial.budget) == (optimization, budget)
        changed = {key for key, value in trial.trainer.settings.items() if settings[key] != value}
        assert changed <= FREE[name], trial.label
        if name == "reference_grid" and trial.trainer.name not in ("tuned", "behavioral_cloning"):
            assert len(changed) == 1 or changed in TOGETHER, trial.label


def test_no_two_studies_share_a_seed_but_those_that_are_contrasted() -> None:
    names = ("main", "noise", "regimes", "grid", "few", "smollm2")
    seeds = [set(load_study(f"reference_{name}")[0].chosen_seeds) for name in names]
    assert sum(map(len, seeds)) == len(set.union(*seeds))


@pytest.fixture(scope="module")
def contrasts() -> ModuleType:
    return script("contrasts")


def test_every_planned_contrast_can_be_made_and_decided(contrasts: ModuleType) -> None:
    planned = list(contrasts.families())
    assert len({(each.study, each.question, each.task) for each in planned}) == len(planned)
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
        decided = len(family.pairs) * sign_flip_floor(seeds.pop()) <= contrasts.ALPHA
        assert decided != (family.study == "smollm2"), "its five seeds can say equal or open, as the protocol warns"


def test_a_family_is_judged_as_by_hand(contrasts: ModuleType) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.1, 10)
    made = {
        "base": base,
        "better": base - 0.3,
        "same": base + rng.normal(0, 0.01, 10),
        "noisy": base * rng.lognormal(0.1, 1, 10),
    }
    table = long_table(made)
    sides = tuple((contrasts.Side(name), contrasts.Side("base")) for name in made if name != "base")
    found = contrasts.judged(contrasts.Family("toy", "methods", "language", "kl_forward", sides), {"toy": table})
    assert found["verdict"].tolist() == ["better", "equal", "open"]
    assert found["effect"].tolist() == pytest.approx([np.mean(np.log(base / made[name])) for name in found["trainer"]])
    assert found["seeds_better"].tolist() == [np.sum(made[name] < base) for name in found["trainer"]]
    assert found["p"][0] == 2 / 2**10
    assert found["p_holm"][0] == 3 * 2 / 2**10
    turned = contrasts.Family("toy", "methods", "language", "kl_forward", tuple((other, one) for one, other in sides))
    assert contrasts.judged(turned, {"toy": table})["verdict"].tolist() == ["worse", "equal", "open"]


def test_no_seed_is_left_out(contrasts: ModuleType) -> None:
    table = long_table({"one": np.arange(10.0), "other": np.arange(10.0)})
    family = contrasts.Family(
        "toy", "methods", "language", "kl_forward", ((contrasts.Side("one"), contrasts.Side("other")),)
    )
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
    [(0.01, 0.039, "equal"), (-0.01, 0.039, "equal"), (0.01, 0.041, "open"), (-0.01, 0.041, "open")],
)
def test_equal_means_that_90_percent_lie_within_the_margin(
    contrasts: ModuleType, mean: float, half_width: float, said: str
) -> None:
    spread = half_width * np.sqrt(10) / stats.t.ppf(0.95, 9)
    shape = stats.zscore(np.arange(10.0), ddof=1)
    table = long_table({"base": np.full(10, 0.5), "other": 0.5 + mean + spread * shape}, "accuracy")
    family = contrasts.Family(
        "toy", "methods", "language", "accuracy", ((contrasts.Side("other"), contrasts.Side("base")),)
    )
    assert contrasts.judged(family, {"toy": table})["verdict"].tolist() == [said]


@pytest.mark.parametrize(("ratio", "said"), [(1.24, "equal"), (1.25, "open")])
def test_a_margin_of_a_ratio_is_the_same_both_ways(contrasts: ModuleType, ratio: float, said: str) -> None:
    table = long_table({"one": ratio + np.array([-0.001, 0.0, 0.001, 0.0]), "other": np.ones(4)})
    one, other = contrasts.Side("one"), contrasts.Side("other")
    for pair in ((one, other), (other, one)):
        found = contrasts.judged(contrasts.Family("toy", "methods", "language", "kl_forward", (pair,)), {"toy": table})
        assert found["verdict"].tolist() == [said]


def test_a_side_can_be_of_another_study(contrasts: ModuleType) -> None:
    tables = {name: long_table({"mle": np.arange(1.0, 7.0) * factor}) for name, factor in (("main", 1), ("flops", 2))}
    pair = (contrasts.Side("mle"), contrasts.Side("mle", study="flops"))
    found = contrasts.judged(contrasts.Family("main", "methods", "language", "kl_forward", (pair,)), tables)
    assert found[["effect", "against"]].to_numpy().tolist() == [[pytest.approx(math.log(2)), "mle (flops)"]]
    tables["flops"]["flops"] = 0.9
    with pytest.raises(contrasts.NotMadeError, match=r"mle \(flops\) has fewer FLOPs than mle"):
        contrasts.judged(contrasts.Family("main", "methods", "language", "kl_forward", (pair,)), tables)
    tables["flops"] = tables["flops"].iloc[1:]
    with pytest.raises(contrasts.NotMadeError, match="do not have the same seeds"):
        contrasts.judged(contrasts.Family("main", "methods", "language", "kl_forward", (pair,)), tables)


def publication(folder: Path, *tables: pd.DataFrame, sources: str = "aaaaaaaaaa") -> Path:
    folder.mkdir()
    pd.concat(tables).to_parquet(folder / "results.parquet")
    provenance = {f"trial {seed}": {"identity": f"mle{seed}", "source": source} for seed, source in enumerate(sources)}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder


def test_what_is_measured_jointly_decides(contrasts: ModuleType, tmp_path: Path) -> None:
    alone = [long_table({"mle": np.zeros(10)}, name) for name in ("mauve", "perplexity")]
    folder = publication(tmp_path / "main", *alone)
    mle = contrasts.Side("mle")
    family = contrasts.Family("main", "methods", "language", "mauve", ((mle, mle),))
    with pytest.raises(contrasts.NotMadeError, match="0 values"):
        contrasts.judged(family, {"main": contrasts.published(folder).query("metric != 'mauve'")})
    joint = pd.concat([long_table({"mle": np.ones(10)}, name) for name in ("mauve", "mauve_n")])
    joint.to_parquet(folder / "measured-mauve.parquet")
    assert contrasts.judged(family, {"main": contrasts.published(folder)})["mean"].tolist() == [1.0]


def test_a_publication_is_of_its_study_and_of_one_version_of_the_code(contrasts: ModuleType, tmp_path: Path) -> None:
    table = long_table({"mle": np.ones(10)})
    with pytest.raises(contrasts.NotMadeError, match="flops does not have the 10 seeds of its study"):
        contrasts.published(publication(tmp_path / "flops", table[table["seed"] < 6]))
    other = pd.concat([table, table.assign(task="other", trial="another " + table["trial"])])
    assert len(contrasts.published(publication(tmp_path / "main", table))) == 10
    with pytest.raises(contrasts.NotMadeError, match="noise: several versions of the code have run task language"):
        contrasts.published(publication(tmp_path / "noise", other, sources="aaaaaaaaab"))


def test_the_table_for_a_page_has_factors_and_differences(contrasts: ModuleType) -> None:
    found = [
        contrasts.judged(contrasts.Family("toy", "methods", "language", metric, (pair,)), {"toy": table})
        for metric, values in (("kl_forward", (0.5, 1.0)), ("accuracy", (0.3, 0.2)))
        for table in [long_table({name: np.full(10, value) for name, value in zip("ab", values, strict=True)}, metric)]
        for pair in [(contrasts.Side("a"), contrasts.Side("b"))]
    ]
    *_, ratio, difference = contrasts.markdown(pd.concat(found)).splitlines()
    assert "| a | b | 10 of 10 | x 2.00 [2.00, 2.00] | 0.002 | better |" in ratio
    assert "| a | b | 10 of 10 | +0.100 [+0.100, +0.100] | 0.002 | better |" in difference


def long_table(values: dict[str, NDArray[np.float64]], metric: str = "kl_forward") -> pd.DataFrame:
    common = {"task": "language", "metric": metric, "decoder": "ancestral"}
    rows = [
        {
            **common,
            "trial": f"{trainer}{seed}",
            "trainer": trainer,
            "seed": seed,
            "value": value,
            "flops": 1.0,
            "higher_is_better": False,
        }
        for trainer, mine in values.items()
        for seed, value in enumerate(mine)
    ]
    return pd.DataFrame(rows)


def test_the_protocol_tells_as_many_contrasts_as_there_are(contrasts: ModuleType) -> None:
    rows = (line.split("|")[1:4] for line in (HERE / "README.md").read_text().splitlines() if line.count("|") == 7)
    told = {name: (int(pairs), int(seeds)) for name, pairs, seeds in rows if pairs.strip().isdigit()}
    assert len(told) == 7
    for name, (pairs, seeds) in told.items():
        study = name.split("`")[1]
        asked = [
            each for each in contrasts.families() if each.study == study and (study != "main" or each.question in name)
        ]
        assert pairs == max(len(each.pairs) for each in asked), name
        assert seeds == len(load_study(f"reference_{study}")[0].chosen_seeds), name
