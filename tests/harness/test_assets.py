import hashlib
import zipfile
from pathlib import Path

import pytest

from harness import assets
from harness.errors import AssetError


@pytest.fixture(scope="session")
def fetched(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("assets")


def wheel(folder: Path, content: str = "hello") -> str:
    """Build a wheel and return the requirement that pins it."""
    path = folder / "toy_asset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_asset/data/text.txt", content)
        archive.writestr("toy_asset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-asset\nVersion: 1.0\n")
        archive.writestr(
            "toy_asset-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("toy_asset-1.0.dist-info/RECORD", "")
    return f"toy-asset @ file://{path} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(wheel(tmp_path))
    monkeypatch.setattr(assets, "REQUIREMENTS", path)
    return path


def test_the_location_is_in_the_environment_or_in_the_cache(monkeypatch, tmp_path):
    assert assets.location() == tmp_path / "cache" / "seqmatch" / "assets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert assets.location() == Path("/home/someone/.cache/seqmatch/assets")
    monkeypatch.setenv("SEQMATCH_ASSETS", "/elsewhere")
    assert assets.location() == Path("/elsewhere")


def test_assets_are_fetched_once_and_again_when_the_requirements_change(requirements, tmp_path, monkeypatch):
    folder = assets.fetch()
    text = folder / "toy_asset" / "data" / "text.txt"
    assert text.read_text() == "hello"
    assert assets.resolve({"a": ["asset:toy_asset/data"]}) == {"a": [str(text.parent)]}
    with monkeypatch.context() as patch:
        patch.setattr(assets.subprocess, "run", lambda *a, **k: pytest.fail("pip was run again"))
        assert assets.fetch() == folder
    requirements.write_text(wheel(tmp_path, "new"))
    assert not assets.is_complete(folder)
    assert assets.fetch() == folder
    assert text.read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["assets"]


def test_a_wrong_hash_is_an_error_and_leaves_nothing(requirements):
    requirements.write_text(requirements.read_text()[:-9] + "00000000\n")
    with pytest.raises(AssetError, match=r"(?s)pip could not fetch.*HASH"):
        assets.fetch()
    assert list(assets.location().parent.iterdir()) == []


def test_a_requirement_without_a_hash_is_an_error(requirements):
    requirements.write_text(requirements.read_text().partition(" --hash")[0] + "\n")
    with pytest.raises(AssetError, match="hash"):
        assets.fetch()


def test_a_folder_with_something_else_is_not_touched(requirements, monkeypatch, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    monkeypatch.setenv("SEQMATCH_ASSETS", str(mine))
    with pytest.raises(AssetError, match="holds something else"):
        assets.fetch()
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    monkeypatch.setenv("SEQMATCH_ASSETS", str(mine / "thesis.txt"))
    with pytest.raises(AssetError, match="holds something else"):
        assets.fetch()
    monkeypatch.setenv("SEQMATCH_ASSETS", str(mine / "thesis.txt" / "below"))
    with pytest.raises(AssetError, match="cannot write assets"):
        assets.fetch()


def test_an_asset_that_is_not_there_names_the_command_or_the_nearest_one(requirements):
    with pytest.raises(AssetError, match="fetch the assets with `seqmatch assets`"):
        assets.resolve("asset:toy_asset/data")
    folder = assets.fetch()
    with pytest.raises(AssetError, match="unknown asset 'asset:toy_asset/dta'; did you mean 'asset:toy_asset/data'"):
        assets.resolve("asset:toy_asset/dta")
    with pytest.raises(AssetError, match="unknown asset 'asset:toyasset/data'; did you mean 'asset:toy_asset'"):
        assets.resolve("asset:toyasset/data")
    (folder / assets._MARKER).unlink()
    with pytest.raises(AssetError, match="incomplete: fetch the assets"):
        assets.resolve("asset:toy_asset/dta")


def test_other_values_stay_as_they_are():
    value = {"a": 1, "b": [None, True, 2.5, "text"], "c": {"d": "some/path"}}
    assert assets.resolve(value) == value


def test_a_gguf_file_becomes_the_folder_that_it_is_converted_to(monkeypatch, tmp_path):
    calls = []

    def dequantize(gguf, cache):
        calls.append(gguf)
        return cache / "converted"

    monkeypatch.setattr("trainers.models.dequantize", dequantize)
    path = tmp_path / "model.gguf"
    with pytest.raises(AssetError, match=f"there is no file {path}"):
        assets.resolve(str(path))
    path.write_bytes(b"GGUF")
    assert assets.resolve([str(path)] * 2) == [str(tmp_path / "cache" / "seqmatch" / "converted")] * 2
    assert calls == [path]


@pytest.mark.assets
def test_the_assets_that_the_bundled_studies_name_are_there(fetched, monkeypatch):
    from harness.expansion import plan
    from harness.study import bundled_studies

    monkeypatch.setenv("SEQMATCH_ASSETS", str(fetched))
    monkeypatch.setattr("trainers.models.dequantize", lambda gguf, cache: gguf)
    monkeypatch.setattr(assets, "_dequantized", assets._dequantized.__wrapped__)  # what is cached outlives the patch
    for name in bundled_studies():
        for trial in plan(name).trials:
            assets.resolve([trial.model, trial.task.settings, [metric.settings for metric in trial.metrics]])
