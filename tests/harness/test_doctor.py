import contextlib
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
from small_studies import toy

from harness import doctor
from harness.errors import HarnessError, RegistryError
from harness.registry import METRICS

BROKEN = """
import math
from dataclasses import dataclass
from metrics.base import KnownAnswer, Metric

@dataclass(frozen=True, kw_only=True)
class Wrong(Metric):
    values = {}
    def compute(self, generations, context):
        return {}
    @classmethod
    def known_answers(cls):
        return [KnownAnswer("right", 1.0, 1.0), KnownAnswer("off by 1e-6", 0.5 + 1e-6, 0.5, 1e-7),
                KnownAnswer("not a number", math.nan, 0.5), KnownAnswer("just within", 0.5 + 1e-6, 0.5, 2e-6)]

class Raises(Wrong):
    @classmethod
    def known_answers(cls):
        raise RuntimeError("no [bold]luck")

class Misshapen(Wrong):
    @classmethod
    def known_answers(cls):
        return [("right", 1.0, 1.0)]
"""


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    return lambda name: f"{path}:{name}"


@pytest.fixture
def save(tmp_path):
    def write(array):
        np.save(tmp_path / "features.npy", array)
        return tmp_path / "features.npy"

    return write


def normal(rows=200, width=8):
    return np.random.default_rng(0).normal(size=(rows, width))


def test_every_registered_metric_holds_on_this_machine(command):
    outcome = command("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    table = doctor.examine()
    assert list(dict.fromkeys(table["metric"])) == [entry.name for entry in METRICS.entries()]
    assert set(table["verdict"]) == {doctor.HOLDS}
    for case in table["case"]:
        assert case in outcome.out
    assert len(outcome.out.splitlines()) == len(table) + 4


def test_the_file_has_what_the_metrics_answer(command, tmp_path):
    exactly = partial(pd.read_csv, float_precision="round_trip")
    for suffix, read in ((".csv", exactly), (".parquet", pd.read_parquet)):
        out = tmp_path / "new" / f"doctor{suffix}"
        assert command("doctor", "--metric", "diversity", "--metric", "accuracy", "--out", out).code == 0
        table = read(out)
        assert list(table) == doctor.COLUMNS
        answers = [answer for name in ("diversity", "accuracy") for answer in METRICS.load(name).known_answers()]
        for column in ("case", "measured", "expected", "tolerance"):
            assert table[column].tolist() == [getattr(answer, column) for answer in answers]
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".tmp")] == []


def test_wrong_answers_fail_and_right_ones_of_the_same_metric_hold(command, broken):
    outcome = command("doctor", "--metric", broken("Wrong"), "--metric", "accuracy")
    assert outcome.code == 1
    table = doctor.examine([broken("Wrong"), "accuracy"])
    assert table["verdict"].tolist() == [doctor.HOLDS, doctor.FAILS, doctor.FAILS, doctor.HOLDS, doctor.HOLDS]


@pytest.mark.parametrize(
    ("name", "error"),
    [("Raises", "RuntimeError: no [bold]luck"), ("Misshapen", "AttributeError: "), ("Absent", "RegistryError: ")],
)
def test_a_metric_that_raises_is_a_row_and_the_others_still_run(command, broken, name, error):
    outcome = command("doctor", "--metric", broken(name), "--metric", "accuracy")
    assert outcome.code == 1
    assert error in outcome.out
    assert "two of four answers" in outcome.out
    table = doctor.examine([broken(name), "accuracy"])
    assert table["verdict"].tolist() == [doctor.FAILS, doctor.HOLDS]
    assert table["error"][0].startswith(error)
    assert table.loc[0, ["measured", "expected", "tolerance"]].isna().all()


def test_a_fault_in_a_registered_metric_is_found(command, monkeypatch):
    monkeypatch.setattr("metrics.histograms.GRID", np.linspace(1e-6, 1 - 1e-6, 24))
    outcome = command("doctor")
    assert outcome.code == 1
    table = doctor.examine()
    failed = table[table["verdict"] == doctor.FAILS]
    assert set(failed["metric"]) == {"mauve"}
    assert "disjoint histograms: mauve" in set(failed["case"])


def test_a_metric_without_known_answers_neither_holds_nor_fails(command):
    outcome = command("doctor", "--metric", toy("Threads"))
    assert outcome.code == 0
    assert doctor.examine([toy("Threads")])["verdict"].tolist() == [doctor.UNKNOWN]


def test_an_unknown_metric_is_an_error_that_names_the_nearest(command):
    outcome = command("doctor", "--metric", "mauv")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: unknown metric 'mauv'; did you mean 'mauve'?")
    with pytest.raises(RegistryError, match="no file"):
        doctor.examine(["nowhere.py:Metric"])


def test_an_unknown_suffix_is_an_error_before_anything_is_measured(command, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.doctor.examine", lambda names: pytest.fail("it measured"))
    outcome = command("doctor", "--out", tmp_path / "doctor.txt")
    assert outcome.code == 2
    assert "must end in .csv or .parquet" in outcome.err


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_the_old_one(command, tmp_path, monkeypatch):
    out = tmp_path / "new" / "doctor.csv"
    assert command("doctor", "--metric", "accuracy", "--out", out).code == 0
    old = out.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    outcome = command("doctor", "--metric", "diversity", "--out", out)
    assert outcome.code == 2
    assert f"cannot write results to {out}" in outcome.err
    assert [path.name for path in out.parent.iterdir()] == ["doctor.csv"]
    assert out.read_bytes() == old


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_features_give_the_real_against_real_value_as_a_row(command, save, dtype):
    outcome = command("doctor", "--metric", "accuracy", "--features", save(normal(401).astype(dtype)))
    assert outcome.code == 0
    assert "features.npy: 200 rows against 200 others, 8 dimensions" in outcome.out
    row = doctor.with_features(doctor.examine(["accuracy"]), save(normal(401).astype(dtype))).iloc[-1]
    assert (row["metric"], row["verdict"]) == ("mauve", doctor.UNKNOWN)
    assert 0.8 < row["measured"] < 1


def test_sorted_features_are_halved_at_random(save):
    """Halves in the order of the file would be two different clusters each, and score near 0."""
    groups = np.repeat(100 * np.eye(4), 100, axis=0) + normal(400, 4)
    assert doctor.with_features(doctor.examine(["accuracy"]), save(groups)).iloc[-1]["measured"] > 0.8


def spoiled(row, value):
    array = normal()
    array[row, 3] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (normal(99), "at least 100 rows of at least one number, not (99, 8)"),
        (normal(200, 0), "at least one number"),
        (normal()[:, 0], "floats of shape (n, d), not float64 of shape (200,)"),
        (np.ones((200, 4), dtype=int), "floats of shape (n, d), not int64"),
        (spoiled(7, np.nan), "1 of 200 rows are not finite in float32, first 7"),
        (spoiled(7, -np.inf), "not finite"),
        (spoiled(7, 1e300), "not finite"),
        (np.ones((200, 4)), "all 200 rows are equal"),
        (np.array([[None]]), "is no .npy file of numbers, or is damaged: write one with numpy.save(path, features)"),
    ],
)
def test_bad_features_are_one_message(command, save, array, message):
    outcome = command("doctor", "--metric", "accuracy", "--features", save(array))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("error: ")
    assert message in outcome.err


def test_a_file_that_is_no_array_is_one_message(tmp_path):
    table = doctor.examine(["accuracy"])
    np.savez(tmp_path / "several.npz", a=normal())
    (tmp_path / "text.npy").write_text("0.5, 0.5")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04")
    (tmp_path / "folder.npy").mkdir()
    for name, message in (
        ("several.npz", "an archive of arrays"),
        ("text.npy", "is no .npy file of numbers"),
        ("empty.npy", "is no .npy file of numbers"),
        ("zip.npy", "is no .npy file of numbers"),
        ("absent.npy", "absent.npy cannot be read: No such file"),
        ("folder.npy", "folder.npy cannot be read: Is a directory"),
    ):
        with pytest.raises(HarnessError, match=message) as caught:
            doctor.with_features(table, tmp_path / name)
        assert "pickle" not in str(caught.value)


def test_a_damaged_file_is_one_message_whatever_byte_is_wrong(save, tmp_path):
    """numpy's reader raises ValueError, SyntaxError or TokenError, as the byte has it."""
    path = save(normal())
    whole = path.read_bytes()
    for place in range(len(whole) - normal().nbytes):
        for change in (1, 64, 255):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            with contextlib.suppress(HarnessError):
                doctor._read(path)


def test_mauve_that_breaks_on_the_features_is_a_row_that_fails(command, save, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("faiss is gone")

    monkeypatch.setattr("metrics.mauve_features.joint_clustering", broken)
    outcome = command("doctor", "--metric", "accuracy", "--features", save(normal()))
    assert outcome.code == 1
    assert "RuntimeError: faiss is gone" in outcome.out
