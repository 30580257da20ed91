"""The results folder: one directory per trial, whole or absent, and the long table over them.

Layout: ``study.json`` (the study as last run, and its trials), ``trials/<label>/`` with ``trial.json``,
``results.parquet``, ``generations.parquet``, ``series.parquet``, ``curve.parquet`` and, if the study asks for them,
``evaluations.parquet`` and ``policy/``; the long table in ``results.parquet`` and ``results.csv``; and
``measured-NAME.parquet`` for a metric that was measured again, with ``measured-NAME-differences.parquet`` where it
compares systems. While a trial is running, ``checkpoints/<label>.safetensors`` is the state of its training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.digests import RECORD
from harness.errors import StoreError
from harness.json_files import read_json
from harness.mirror import Mirror
from harness.places import mirror_at, opened, place_of
from harness.published import is_published, published_record, published_table
from harness.tables import absent_rows, long_table, read_arrow, read_table, series_table, stacked
from harness.trial import Trial
from harness.writing import write_file, writing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Store:
    """A results folder.

    Args:
        out: the folder; made when a run begins. What is written to a mirror is written to its URL too.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.trials, self.checkpoints = out, out / "trials", out / "checkpoints"
        self.mirror = Mirror.of(out)

    @classmethod
    def at(cls, place: str | Path) -> Store:
        """The results folder at a path or URL, as it is on this machine."""
        mirror = mirror_at(place)
        if mirror is None:
            return cls(Path(place))
        mirror.make()
        return cls(mirror.folder)

    @property
    def place(self) -> str:
        """Where the results are, for messages."""
        return place_of(self.out)

    def pull(self, trials: Iterable[Trial]) -> None:
        """Bring from its URL what is there of some trials; a folder without one has all there is.

        Raises:
            StoreError: if it cannot be read.
        """
        if self.mirror:
            self.mirror.pull([trial.label for trial in trials])

    def has_run(self, trial: Trial, *wanted: str) -> bool:
        """Whether the trial has been run, and ended in one of the wanted ways if any are named."""
        record = self.record(trial.label)
        return (
            record is not None and record["identity"] == trial.identity and (not wanted or record["status"] in wanted)
        )

    def push(self, path: Path) -> str | None:
        """Write a file of the folder to its URL, and say where; None for a folder without one.

        Raises:
            StoreError: if it cannot be written.
        """
        if self.mirror is None:
            return None
        self.mirror.push(path)
        return place_of(path)

    def checkpoint(self, trial: Trial) -> Path:
        """Where the checkpoint of a running trial is."""
        return self.checkpoints / f"{trial.label}.safetensors"

    def pull_checkpoint(self, trial: Trial) -> None:
        """Bring from its URL the checkpoint of a trial that another machine may have begun.

        Raises:
            StoreError: if it cannot be read.
        """
        if self.mirror:
            self.mirror.pull_checkpoint(self.checkpoint(trial))

    def drop_checkpoint(self, trial: Trial) -> None:
        """Delete the checkpoint of a trial that is finished."""
        self.checkpoint(trial).unlink(missing_ok=True)
        if self.mirror:
            self.mirror.drop(self.checkpoint(trial))

    def is_finished(self, trial: Trial) -> bool:
        """Whether the trial has been run with success, and all that is wanted of it is there.

        Raises:
            StoreError: if its files are damaged.
        """
        if not self.has_run(trial, "finished"):
            return False
        folder = self.trials / trial.label
        read_table(folder / "results.parquet")
        if trial.save_policy and self.mirror:
            return self.mirror.trial(trial.label).has_policy
        return not trial.save_policy or self.policy(trial) is not None

    def source(self, trial: Trial) -> str:
        """Digest of the source code that computed a finished trial."""
        return str((self.record(trial.label) or {}).get("source"))

    def results(self) -> pd.DataFrame:
        """The long table over the trials of the study as last run.

        A failed or missing trial has one row per decoder, with status "failed" or "missing", metric None and value
        NaN.

        Raises:
            StoreError: if there is no study, or a file is damaged.
        """
        return published_table(self.out, "results") if is_published(self.out) else _long(self._parts("results"))

    def evaluations(self) -> pd.DataFrame:
        """The same with the rows from before the end of training in front of those from its end, for each trial.

        Raises:
            StoreError: as ``results``.
        """
        if is_published(self.out):
            return published_table(self.out, "evaluations")
        return _long(self._parts("evaluations", "results"))

    def long_tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """``evaluations`` and ``results``, every file read once.

        Raises:
            StoreError: as ``results``.
        """
        parts = self._parts("evaluations", "results")
        return _long(parts), _long([part for part in parts if part[1] == "results"])

    def _parts(self, *names: str) -> list[tuple[str, str, pa.Table]]:
        """The rows of every trial in the named tables, with the study that wants them and the name of their table."""
        import pyarrow as pa

        self._require_run()
        parts = list[tuple[str, str, pa.Table]]()
        for trial in self.study()["trials"]:
            record, folder = self.record(trial["label"]), self.trials / trial["label"]
            if record is not None and record["status"] == "finished":
                wanted = [name for name in names if name == "results" or trial.get("evaluation")]
                parts += [(trial["study"], name, read_arrow(folder / f"{name}.parquet")) for name in wanted]
            else:
                absent = absent_rows(trial, "missing" if record is None else "failed")
                parts.append((trial["study"], "results", pa.Table.from_pandas(absent)))
        return parts

    def series(self) -> pd.DataFrame:
        """The curves that metrics reported in the finished trials of the study as last run, a row per point, in order.

        Returns:
            The columns of ``harness.tables.SERIES_COLUMNS``; no rows of trials that an older version has run.

        Raises:
            StoreError: if there is no study, or a file is damaged.
        """
        tables = []
        for trial in self.study()["trials"]:
            record, path = self.record(trial["label"]), self.trials / trial["label"] / "series.parquet"
            if record is not None and record["status"] == "finished" and path.is_file():
                tables.append(read_arrow(path))
        return series_table(stacked(tables) if tables else [])

    def write_results(self) -> pd.DataFrame:
        """Write the long table as Parquet and CSV, and return it."""
        table = self.results()
        with writing(self.out):
            write_file(self.out / "results.parquet", table.to_parquet)
            write_file(self.out / "results.csv", lambda path: table.to_csv(path, index=False))
        for name in ("results.parquet", "results.csv"):
            self.push(self.out / name)
        return table

    def study(self) -> dict[str, Any]:
        """The study as last run: its tables, headline numbers by task, and trials.

        Raises:
            StoreError: if this is no results folder.
        """
        path = self.out / "study.json"
        if not path.is_file():
            found = "has no study.json" if self.out.exists() else "does not exist"
            raise StoreError(f"{self.place} is no results folder: it {found}; give the --out of a run")
        content = _read_json(path, ("study", "headlines", "trials"), "run the study again")
        trials = content["trials"]
        if not (isinstance(trials, list) and trials and all(isinstance(t, dict) and "label" in t for t in trials)):
            raise StoreError(f"{path} names no trials: run the study again")
        return content

    def specified(self) -> list[Trial]:
        """The trials of the study as last run, resolved as they were then.

        Raises:
            StoreError: if there is no study, or another version has written it.
        """
        entries = self.study()["trials"]
        try:
            trials = [Trial.from_json(entry) for entry in entries]
        except (KeyError, TypeError):
            trials = []
        if [trial.identity for trial in trials] != [entry["identity"] for entry in entries]:
            raise StoreError(f"{self.place} was written by another version of seqmatch: run the study again")
        return trials

    def records(self) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Every trial of the study as last run: its entry in ``study.json``, and its ``trial.json`` if it has been run.

        Raises:
            StoreError: if there is no study, or a file is damaged.
        """
        return [(entry, self.record(entry["label"])) for entry in self.study()["trials"]]

    def generations(self, trial: Trial) -> pd.DataFrame:
        """What a finished trial wrote, a row per sample and decoder.

        Raises:
            StoreError: if the table is absent or damaged, or does not say what each sample answers.
        """
        self._require_run()
        return read_table(self.trials / trial.label / "generations.parquet", "decoder", "prompt", "reference")

    def _require_run(self) -> None:
        if is_published(self.out):
            raise StoreError(
                f"{self.out} is a publication, without the trials themselves: run its study for those; its page is "
                f"{self.out / 'leaderboard.html'}, and compare, gate and reproduce read its tables"
            )

    def policy(self, trial: Trial) -> Path | None:
        """Folder of the trained policy of a finished trial; None where it was not kept.

        Raises:
            StoreError: if it has to be brought from a URL, and cannot.
        """
        if self.mirror:
            self.mirror.pull_policy(trial.label)
        folder = self.trials / trial.label / "policy"
        return folder if folder.is_dir() else None

    def write_measured(self, name: str, table: pd.DataFrame, differences: pd.DataFrame | None = None) -> Path:
        """Write the long table of one metric that was measured again, and return its path.

        Args:
            name: of the metric.
            table: its numbers.
            differences: of pairs of systems, written to ``differences_path``; None: older ones go away.

        Raises:
            StoreError: if the folder cannot be written.
        """
        path, beside = self.out / f"measured-{name}.parquet", self.differences_path(name)
        with writing(self.out):
            if differences is None:
                write_file(path, table.to_parquet)
                beside.unlink(missing_ok=True)
            else:

                def write_both(scratch: Path) -> None:  # neither table is replaced before both are written
                    differences.to_parquet(scratch)
                    write_file(path, table.to_parquet)

                write_file(beside, write_both)
        self.push(path)
        if differences is not None:
            self.push(beside)
        elif self.mirror:
            self.mirror.drop(beside)
        return path

    def differences_path(self, name: str) -> Path:
        """Where the differences of a metric that was measured again are."""
        return self.out / f"measured-{name}-differences.parquet"

    def timings(self) -> dict[str, float]:
        """Seconds by phase, summed over the trials of the study."""
        total: dict[str, float] = {}
        for trial in self.study()["trials"]:
            for phase, seconds in (self.record(trial["label"]) or {"timings": {}})["timings"].items():
                total[phase] = total.get(phase, 0.0) + seconds
        return total

    def record(self, label: str) -> dict[str, Any] | None:
        """The ``trial.json`` of a trial; None where it has not been run.

        Raises:
            StoreError: if it is damaged.
        """
        if is_published(self.out):
            return published_record(self.out, label)
        path = self.trials / label / RECORD
        if not path.is_file():
            return None
        keys = ("status", "identity", "timings")
        return _read_json(path, keys, f"delete {path.parent} and run the study again")


def load_results(out: str | Path) -> pd.DataFrame:
    """Read the long table of a results folder, see ``Store.results``.

    Args:
        out: the folder, or its URL.

    Returns:
        The columns of ``harness.tables.COLUMNS``, a row per number.

    Raises:
        StoreError: if the folder holds no study, or a file is damaged.
    """
    return Store(opened(out)).results()


def _long(parts: Sequence[tuple[str, str, pa.Table]]) -> pd.DataFrame:
    """One long table; a trial that another study has run too is of this one."""
    table = stacked([rows for _, _, rows in parts])
    names, lengths = [study for study, _, _ in parts], [len(rows) for _, _, rows in parts]
    return long_table(table.assign(study=np.repeat(names, lengths)))


def _read_json(path: Path, keys: Iterable[str], advice: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): {advice}") from error
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise StoreError(f"{path} cannot be read (it is not of seqmatch): {advice}")
    return content
