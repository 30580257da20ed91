import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import small_study, small_tables, to_toml

from harness.errors import StudyError
from harness.study import Study, apply_override, bundled_studies, load_study


def test_a_file_and_a_study_object_give_the_same_study(study_file):
    from_file, key = load_study(study_file())
    from_object, _ = load_study(small_study())
    assert from_file == from_object
    assert key.source.endswith("small.toml")


def test_seeds_are_a_number_or_a_list():
    assert small_study(seeds=3).chosen_seeds == (0, 1, 2)
    assert small_study(seeds=(5, 2)).chosen_seeds == (5, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds must be a number of at least 1"),
        ({"seeds": []}, "seeds must be"),
        ({"seeds": [1, 1]}, "distinct numbers"),
        ({"seeds": [-1]}, "at least 0"),
        ({"seeds": "three"}, "seeds: Input should be"),
        ({"seeds": True}, "seeds: Input should be"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"trainers": {}}, r"there are no trainers: add a table \[trainers.NAME\]"),
        ({"tasks": {}}, "there are no tasks"),
        ({"decoders": {}}, "there are no decoders"),
        ({"trainers": {"mle": 3}}, "trainers.mle: Input should be an object; got 3"),
        ({"tasks": {"a b": {}}}, "name 'a b' must be"),
        ({"name": "../escape"}, "name '../escape' must be"),
        ({"sedes": 3}, "sedes: unknown key; did you mean 'seeds'"),
        ({"generation": {"batchsize": 2}}, "generation.batchsize: unknown key; did you mean 'batch_size'"),
        ({"generation": {"batch_size": 0}}, "generation: batch_size must be at least 1"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_with_file_and_key(tmp_path, changes, message):
    path = tmp_path / "s.toml"
    path.write_text(to_toml({**small_tables(), **changes}))
    with pytest.raises(StudyError, match=message) as caught:
        load_study(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_model_is_said(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n')
    with pytest.raises(StudyError, match="model: is missing"):
        load_study(path)


def test_files_that_cannot_be_read_are_errors(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("name = [")
    with pytest.raises(StudyError, match=r"bad\.toml: is not valid TOML"):
        load_study(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="is not valid TOML"):
        load_study(bad)
    with pytest.raises(StudyError, match=r"none\.toml: cannot be read: No such file"):
        load_study(tmp_path / "none.toml")
    with pytest.raises(StudyError, match="unknown study 'quik'; did you mean 'quick'"):
        load_study("quik")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seeds=5", ["seeds"], 5),
        ("seeds=[1, 2]", ["seeds"], [1, 2]),
        ("budget.steps=1_000", ["budget", "steps"], 1000),
        ("trainers.mle.kind=task", ["trainers", "mle", "kind"], "task"),
        ('trainers.mle.kind="task"', ["trainers", "mle", "kind"], "task"),
        ("description=a=b", ["description"], "a=b"),
        ("description=", ["description"], ""),
        ("description=1\nseeds=2", ["description"], "1\nseeds=2"),
        ('tasks."a.b".x=1.5', ["tasks", "a.b", "x"], 1.5),
        (" a . b = true", ["a", "b"], True),
    ],
)
def test_an_override_sets_a_toml_value_or_else_a_string(override, path, value):
    table = {}
    apply_override(table, override)
    for part in path:
        assert list(table) == [part]
        table = table[part]
    assert table == value


@given(
    st.lists(st.text("abcde_-", min_size=1), min_size=1, max_size=4),
    st.integers() | st.booleans() | st.text("xyz \"'\\é"),
)
def test_an_override_written_as_json_reads_back(path, value):
    table = {}
    apply_override(table, f"{'.'.join(path)}={json.dumps(value)}")
    for part in path:
        table = table[part]
    assert table == value


@pytest.mark.parametrize("override", ["seeds", "=3", "a..b=1", "a b=1", "x\ny=1", "{a=1}=2"])
def test_an_override_that_is_none_is_an_error(override):
    with pytest.raises(StudyError, match="must look like key"):
        load_study(small_study(), [override])


def test_an_override_of_a_key_below_a_value_is_an_error():
    with pytest.raises(StudyError, match="seeds is 2, not a table"):
        load_study(small_study(), ["seeds.x=1"])


def test_an_override_applies_to_the_last_word_and_leaves_the_study_as_it_was():
    study = small_study()
    changed, _ = load_study(study, ["seeds=7", "budget.steps=9", "seeds=8"])
    assert (changed.seeds, changed.budget) == (8, {"steps": 9})
    assert study == small_study()


def test_bundled_studies_are_listed_by_name_and_have_a_description():
    studies = bundled_studies()
    assert {"quick", "smollm2", "paper_text", "paper_arithmetic"} <= set(studies)
    for name in studies:
        study, _ = load_study(name)
        assert isinstance(study, Study)
        assert study.name == name
        assert study.description
