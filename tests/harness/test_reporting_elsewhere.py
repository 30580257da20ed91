"""Trackio and Weights & Biases as a user has them, installed by pip into environments of their own."""

import json
import struct

import pandas as pd
import pytest
from environments import environment
from small_studies import small_tables, to_toml

pytestmark = pytest.mark.long

READ_TRACKIO = """
import json
from trackio.sqlite_storage import SQLiteStorage as kept
runs = {run: [kept.get_run_config("small", run), kept.get_logs("small", run)] for run in kept.get_runs("small")}
print(json.dumps(runs))
"""
READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2 as messages
found, config, name = [], {}, None
for line in open(sys.argv[1]):
    record = messages.Record.FromString(bytes.fromhex(line))
    if record.WhichOneof("record_type") == "run":
        name = record.run.display_name
        config.update({each.key: json.loads(each.value_json) for each in record.run.config.update})
    elif record.WhichOneof("record_type") == "history":
        row = {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in record.history.item}
        found.append({**row, "step": record.history.step.num})
print(json.dumps([name, config, found]))
"""


def run(installed, tmp_path, tracker, variables):
    """Run a study of two trials there; its results folder."""
    tasks = {"language": {"max_length": 5, "train": 60, "test": 20, "metrics": {"trajectories": {}}}}
    changes = {"tasks": tasks, "trainers": {"mle": {}}, "optimization": {"log_every": 1, "batch_size": 4}}
    (tmp_path / "s.toml").write_text(to_toml({**small_tables(), **changes}))
    arguments = ("-m", "harness", "run", "s.toml", "--out", "out", "--report-to", tracker, "--workers", "2")
    done = installed.python(*arguments, cwd=tmp_path, variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("task language")
    assert done.stdout.endswith("as a page: seqmatch leaderboard out\n")
    assert "warning" not in done.stderr
    return tmp_path / "out"


def check(out, runs):
    """Hold runs (configuration, rows) by label against the results folder."""
    labels = {path.name for path in (out / "trials").iterdir()}
    assert runs.keys() == labels
    for label, (config, rows) in runs.items():
        curve = pd.read_parquet(out / "trials" / label / "curve.parquet")
        losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
        assert losses == list(zip(curve["step"], curve["loss"], strict=True))
        results = pd.read_parquet(out / "trials" / label / "results.parquet").set_index("metric")["value"]
        (final,) = [row for row in rows if "eval/ancestral/length_mean" in row]
        assert (final["step"], final["eval/ancestral/length_mean"]) == (3, results["length_mean"])
        assert config["identity"].startswith(label[-8:])
        assert config["trainer"]["name"] == "mle"


def test_trackio(pytestconfig, tmp_path):
    # It refuses the pillow of the constraints.
    installed = environment(pytestconfig, "trackio", "trackio==0.43.0", "pillow==12.3.0", constrained=False)
    variables = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}
    out = run(installed, tmp_path, "trackio", variables)
    read = installed.python("-c", READ_TRACKIO, cwd=tmp_path, variables=variables)
    assert read.returncode == 0, read.stderr
    check(out, json.loads(read.stdout))


def records(path):
    """The records of an offline run, in LevelDB's format of logs: blocks of 32 KiB, parts with a length and a kind."""
    data, place, parts = path.read_bytes(), 7, []
    while place < len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<4xHB", data[place : place + 7])
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def test_wandb_is_offline_by_itself(pytestconfig, tmp_path):
    installed = environment(pytestconfig, "wandb", "wandb==0.31.0")
    variables = {"HOME": str(tmp_path)}
    out, runs = run(installed, tmp_path, "wandb", variables), {}
    for file in out.glob("wandb/offline-run-*/*.wandb"):
        (tmp_path / "records").write_text("\n".join(each.hex() for each in records(file)))
        read = installed.python("-c", READ_WANDB, "records", cwd=tmp_path, variables=variables)
        assert read.returncode == 0, read.stderr
        name, *rest = json.loads(read.stdout)
        runs[name] = rest
    check(out, runs)
