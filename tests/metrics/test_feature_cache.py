import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.feature_cache import read_features, write_features

FEATURES = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def entry(tmp_path):
    file = tmp_path / "new" / "key.features"
    write_features(file, FEATURES)
    return file


def test_what_is_written_is_read_and_nothing_else_is_left(entry):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_features(entry, 3), FEATURES)
        assert read_features(entry.with_name("other.features"), 3) is None
    assert list(entry.parent.iterdir()) == [entry]


@given(data=st.data())
def test_any_changed_byte_or_lost_end_is_noticed(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("cache") / "key.features"
    write_features(file, FEATURES)
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    file.write_bytes(data.draw(st.sampled_from([whole[:place], whole[:place] + changed + whole[place + 1 :]])))
    with pytest.warns(UserWarning, match=r"corrupt, computing them again: .*key\.features"):
        assert read_features(file, 3) is None


def test_the_file_of_another_key_or_number_of_texts_is_not_used(entry):
    other = Path(shutil.copy(entry, entry.with_name("other.features")))
    for file, rows in ((other, 3), (entry, 2)):
        with pytest.warns(UserWarning, match="corrupt"):
            assert read_features(file, rows) is None


def test_an_unreadable_file_is_a_warning(tmp_path):
    (tmp_path / "key.features").mkdir()
    with pytest.warns(UserWarning, match="cannot read cached features"):
        assert read_features(tmp_path / "key.features", 3) is None


def test_a_killed_write_leaves_the_old_entry_and_no_other_file(entry, monkeypatch):
    def killed(self, content):
        with self.open("wb") as file:
            file.write(content[:40])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        write_features(entry, FEATURES + 1)
    assert list(entry.parent.iterdir()) == [entry]
    assert np.array_equal(read_features(entry, 3), FEATURES)


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from metrics.feature_cache import write_features

def half(self, content):
    with self.open("wb") as file:
        file.write(content[: len(content) // 2])
    print("half written", flush=True)
    time.sleep(600)

Path.write_bytes = half
write_features(Path(sys.argv[1]), np.ones((3, 4), np.float32))
"""


@pytest.mark.parametrize("before", [True, False], ids=["old entry", "no entry"])
def test_kill_9_in_mid_write_changes_nothing_and_is_swept_away_later(entry, before):
    if not before:
        entry.unlink()
    with subprocess.Popen([sys.executable, "-c", KILLED, entry], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half written\n"
        process.kill()
    (left,) = entry.parent.glob(".writing-*")
    assert (left / entry.name).stat().st_size > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if before:
            assert np.array_equal(read_features(entry, 3), FEATURES)
        else:
            assert read_features(entry, 3) is None
        write_features(entry, FEATURES + 2)
        assert left.exists()  # it could be that of a process which still writes
        yesterday = time.time() - 90_000
        os.utime(left, (yesterday, yesterday))
        write_features(entry, FEATURES + 1)
        assert np.array_equal(read_features(entry, 3), FEATURES + 1)
    assert list(entry.parent.iterdir()) == [entry]


def test_an_unwritable_cache_is_a_warning(entry):
    with pytest.warns(UserWarning, match="cannot cache features"):
        write_features(entry / "inside a file" / "key.features", FEATURES)
