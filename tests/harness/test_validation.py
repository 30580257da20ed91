import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StudyError
from harness.validation import Key, build, check, plain

KEY = Key("file.toml", ("table",))


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    name: str = "x"


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    limit: int | None = None
    clusters: int | Literal["auto"] = "auto"
    folder: Path = Path("here")
    colors: frozenset[str] = frozenset()
    inner: Inner | None = None
    derived: int = field(init=False, default=7)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")


settings = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(1, 10**12),
        "rate": st.floats(allow_nan=False) | st.integers(-5, 5),
        "flag": st.booleans(),
        "kind": st.sampled_from("ab"),
        "names": st.lists(st.text(), max_size=3),
        "limit": st.none() | st.integers(),
        "clusters": st.just("auto") | st.integers(),
        "folder": st.text("abc/", min_size=1),
        "colors": st.lists(st.text("abc"), max_size=5),
        "inner": st.none() | st.fixed_dictionaries({"size": st.integers()}, optional={"name": st.text()}),
    },
)


@given(settings)
def test_plain_settings_are_json_and_build_the_same_instance(table):
    built = build(Outer, table, KEY)
    data = json.loads(json.dumps(plain(built)))
    assert build(Outer, data, KEY) == built
    assert set(data) == set(Outer.__dataclass_fields__) - {"derived"}
    for name in table.keys() - {"names", "folder", "colors", "inner"}:
        assert getattr(built, name) == table[name]


def test_sets_have_one_order():
    assert plain(build(Outer, {"colors": list("zxcvbnmasdfgh")}, KEY))["colors"] == sorted("zxcvbnmasdfgh")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"cuont": 2}, "file.toml: table.cuont: unknown key; did you mean 'count'?"),
        ({"inner": {"size": 1, "nmae": "y"}}, "file.toml: table.inner.nmae: unknown key; did you mean 'name'?"),
        ({"derived": 1}, "table.derived: unknown key"),
        ({"count": "abc"}, "table.count: Input should be a valid integer; got 'abc'"),
        ({"count": 1.5}, "table.count"),
        ({"count": 2.0}, "table.count"),
        ({"count": True}, "table.count"),
        ({"rate": "0.5"}, "table.rate"),
        ({"flag": 1}, "table.flag"),
        ({"kind": "c"}, "table.kind: Input should be 'a' or 'b'; got 'c'"),
        ({"names": "abc"}, "table.names"),
        ({"names": ["a", 1]}, "table.names.1: Input should be a valid string; got 1"),
        ({"clusters": "many"}, "table.clusters: Input should be a valid integer or Input should be 'auto'; got 'many'"),
        ({"inner": 3}, "table.inner: must be a table, not 3"),
        ({"limit": object()}, "table.limit"),
    ],
)
def test_wrong_keys_and_types_are_errors_in_partial_and_in_complete_tables(table, message):
    for function in (check, build):
        with pytest.raises(StudyError) as caught:
            function(Outer, table, KEY)
        assert message in str(caught.value)


def test_what_is_missing_or_rejected_by_the_class_is_an_error_of_complete_tables_only():
    assert check(Outer, {"inner": {}}, KEY) == {"inner": {}}
    with pytest.raises(StudyError, match=r"table\.inner\.size: is missing"):
        build(Outer, {"inner": {}}, KEY)
    with pytest.raises(StudyError, match=r"file\.toml: table: count must be at least 1, got 0"):
        build(Outer, {"count": 0}, KEY)


def test_a_table_that_is_none_is_an_error():
    with pytest.raises(StudyError, match=r"table: must be a table, not \[1\]"):
        build(Outer, [1], KEY)


def test_a_type_that_only_a_type_checker_sees_is_explained():
    @dataclass
    class Hidden:
        table: "NotImported"  # noqa: F821

    with pytest.raises(StudyError, match="outside 'if TYPE_CHECKING'"):
        build(Hidden, {"table": 1}, KEY)
