"""Installed models: fetching, adding, checking, forgetting; against a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelbill.core.errors import AppError, DownloadFailed, InvalidInput, UnknownModel
from keelbill.core.settings import Settings
from keelbill.models import embedded_folder
from keelbill.storage.catalogue import CATALOGUE
from keelbill.storage.folders import Place, models_root, weight_files
from keelbill.storage.hub import BUILT_IN, EMBEDDED, Finding, Hub, Kind, Origin, locate
from keelbill.storage.remote import HuggingFace, Listing, RemoteFile
from support.hubdouble import REVISION, HubDouble, hub_double

MAIN = "stabilityai/stable-diffusion-3.5-medium"
ENCODERS = ("clip_l", "clip_g", "t5xxl_fp16", "t5xxl_fp8_e4m3fn")


def content() -> dict[str, bytes]:
    files = {f"text_encoders/{name}.safetensors": os.urandom(3000) for name in ENCODERS}
    for folder in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        files |= {f"{folder}/tokenizer_config.json": b'{"a": 1}\n', f"{folder}/merges.txt": b"a b\n"}
    return {
        "sd3.5_medium.safetensors": os.urandom(200_000),
        "demo.jpg": b"picture",
        "../escape.json": b"{}",
        "tokenizer/../../escape.json": b"{}",
        **files,
    }


SHIPPED = [name for name in BUILT_IN if embedded_folder(name).is_dir()]


@pytest.fixture
def double() -> Iterator[HubDouble]:
    with hub_double(HubDouble(repos={MAIN: content()})) as double:
        yield double


@pytest.fixture
def hub(tmp_path: Path, double: HubDouble, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return Hub(tmp_path / "home", HuggingFace(endpoint=double.endpoint))


class TestPull:
    def test_unknown_name_shows_the_nearest(self, hub: Hub) -> None:
        with pytest.raises(UnknownModel, match=r"Did you mean 'sd3\.5-medium'"):
            hub.pull("sd3.5-medum")

    def test_gated_without_agreement(self, hub: Hub, double: HubDouble) -> None:
        double.gated.add(MAIN)
        with pytest.raises(DownloadFailed, match=f"accept its licence. Sign in at {double.endpoint}/{MAIN}") as caught:
            hub.pull("sd3.5-medium")
        assert "KEELBILL_HF_TOKEN" in str(caught.value)
        assert [item.name for item in hub.list()] == SHIPPED

    def test_gated_with_token(self, hub: Hub, double: HubDouble) -> None:
        double.gated.add(MAIN)
        allowed = Hub(hub.home, HuggingFace(double.token, double.endpoint))
        assert allowed.pull("sd3.5-medium", t5="none").is_there

    def test_repository_is_gone(self, hub: Hub, double: HubDouble) -> None:
        double.repos.clear()
        with pytest.raises(DownloadFailed, match="does not exist or is not shown to you"):
            hub.pull("sd3.5-medium")

    def test_file_is_gone(self, hub: Hub, double: HubDouble) -> None:
        del double.repos[MAIN]["text_encoders/clip_g.safetensors"]
        with pytest.raises(DownloadFailed, match=r"has no file 'text_encoders/clip_g\.safetensors' any more"):
            hub.pull("sd3.5-medium")

    def test_nobody_answers(self, tmp_path: Path) -> None:
        hub = Hub(tmp_path, HuggingFace(endpoint="http://127.0.0.1:9"))
        with pytest.raises(DownloadFailed, match="medium cannot be fetched"):
            hub.pull("sd3.5-medium")

    def test_disk_is_full(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
        with pytest.raises(DownloadFailed, match=r"needs 0\.0 GB .* --t5 fp8"):
            hub.pull("sd3.5-medium")

    def test_everything_arrives(self, hub: Hub, double: HubDouble) -> None:
        seen: list[tuple[str, int, int]] = []
        item = hub.pull("sd3.5-medium", t5="fp8", on_file=lambda *told: seen.append(told))
        files = double.repos[MAIN]
        wanted = {
            "sd3.5_medium.safetensors",
            *(f"text_encoders/{name}.safetensors" for name in ("clip_l", "clip_g", "t5xxl_fp8_e4m3fn")),
            *(name for name in files if name.startswith("tokenizer") and ".." not in name),
        }
        assert {file.path.relative_to(item.path).as_posix() for file in item.files} == wanted
        for file in item.files:
            data = files[file.path.relative_to(item.path).as_posix()]
            assert file.path.read_bytes() == data
            assert file.sha256 == hashlib.sha256(data).hexdigest()
        assert (item.repo, item.revision, item.origin) == (MAIN, REVISION, Origin.DOWNLOADED)
        assert [place for _, place, _ in seen] == list(range(1, len(wanted) + 1))
        assert hub.get("sd3.5-medium") == item
        assert hub.resolve("sd3.5-medium") == hub.models_folder / "sd3.5-medium"
        assert not (hub.home / "escape.json").exists()
        assert not (hub.models_folder / "escape.json").exists()

    def test_interrupted_and_continued(self, hub: Hub, double: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
        double.break_after = 150_000
        assert hub.pull("sd3.5-medium").is_there
        assert "bytes=150000-" in double.ranges

    def test_a_failed_pull_is_continued_by_the_next(self, hub: Hub, double: HubDouble) -> None:
        last = "text_encoders/clip_g.safetensors"
        double.corrupt.add(last)
        with pytest.raises(DownloadFailed):
            hub.pull("sd3.5-medium")
        double.corrupt.clear()
        double.sent.clear()
        assert hub.pull("sd3.5-medium").is_there
        assert last in double.sent
        assert "sd3.5_medium.safetensors" not in double.sent

    def test_corrupted_on_the_way(self, hub: Hub, double: HubDouble) -> None:
        double.corrupt.add("sd3.5_medium.safetensors")
        with pytest.raises(DownloadFailed, match="did not arrive whole"):
            hub.pull("sd3.5-medium")
        assert not (hub.models_folder / "sd3.5-medium").exists()
        double.corrupt.clear()
        assert hub.pull("sd3.5-medium").is_there

    def test_small_file_corrupted_on_the_way(self, hub: Hub, double: HubDouble) -> None:
        double.corrupt.add("tokenizer/merges.txt")
        with pytest.raises(DownloadFailed, match=r"tokenizer/merges\.txt did not arrive whole"):
            hub.pull("sd3.5-medium")

    def test_twice(self, hub: Hub) -> None:
        first = hub.pull("sd3.5-medium", t5="none")
        second = hub.pull("sd3.5-medium", t5="fp8")
        assert len(second.files) == len(first.files) + 3
        assert second.is_there
        assert [item.name for item in hub.list()] == [*SHIPPED, "sd3.5-medium"]

    @pytest.mark.parametrize("name", list(CATALOGUE))
    def test_the_whole_catalogue_can_be_planned(self, name: str, tmp_path: Path) -> None:
        entry = CATALOGUE.get(name)
        assert entry.licence
        for t5 in ("fp16", "fp8", "none"):
            wanted = entry.wanted(t5)
            assert wanted[0].repo == entry.repo
            assert entry.weights in wanted[0].files
            assert entry.expected_bytes(t5) > entry.about_bytes


class NoRemote:
    """A source that must not be asked."""

    def listing(self, repo: str) -> Listing:
        raise AssertionError(repo)

    def download(self, listing: Listing, file: RemoteFile, folder: Path) -> Path:
        raise AssertionError(file)


@pytest.fixture
def offline(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "home", NoRemote())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "mine.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


class TestNames:
    def test_the_built_in_models_are_always_listed(self, offline: Hub) -> None:
        assert [item.name for item in offline.list()] == SHIPPED == list(BUILT_IN)
        item = offline.list()[0]
        assert (item.name, item.origin, item.licence) == (EMBEDDED, Origin.BUILT_IN, "Apache-2.0")
        assert offline.resolve(EMBEDDED).name == EMBEDDED

    def test_unknown(self, offline: Hub) -> None:
        with pytest.raises(UnknownModel, match="Did you mean 'keelbill-mini'") as caught:
            offline.resolve("keelbil-mini")
        assert caught.value.status == 404

    def test_not_pulled_yet(self, offline: Hub) -> None:
        with pytest.raises(UnknownModel, match=r"keelbill models pull sd3\.5-large"):
            offline.resolve("sd3.5-large")

    @pytest.mark.parametrize("name", ["../mine.safetensors", "/etc/passwd", "elsewhere/mine.safetensors", ""])
    def test_a_path_is_no_name(self, offline: Hub, weights: Path, name: str) -> None:
        with pytest.raises(UnknownModel):
            offline.resolve(name)

    def test_a_person_may_name_a_path(self, tmp_path: Path, weights: Path) -> None:
        settings = Settings(home=tmp_path / "home")
        assert locate(str(weights), settings).path == weights
        assert locate(str(weights), settings).name == "mine"
        assert locate(str(weights.parent), settings).name == "elsewhere"
        assert locate(EMBEDDED, settings).origin is Origin.BUILT_IN
        with pytest.raises(UnknownModel):
            locate(str(tmp_path / "gone.safetensors"), settings)


class TestAdd:
    def test_stays_where_it_is(self, offline: Hub, weights: Path) -> None:
        item = offline.add("mine", weights, family="SD3.5 Large")
        assert item.path == weights
        assert Hub(offline.home, NoRemote()).get("mine") == item
        assert list(offline.home.iterdir()) == [offline.home / "models.json"]

    def test_extras_and_kinds_survive(self, offline: Hub, weights: Path) -> None:
        vae = weights.with_name("vae.safetensors")
        vae.write_bytes(b"vae")
        offline.add("mine", weights, extras=[vae])
        offline.add("style", vae, kind=Kind.LORA)
        assert offline.get("mine").extras == (vae,)
        assert [item.name for item in offline.list(Kind.LORA)] == ["style"]
        with pytest.raises(UnknownModel):
            offline.get("style")

    @pytest.mark.parametrize("name", ["", "Mine", "a/b", "..", "-a", "a" * 65, "a b"])
    def test_bad_name(self, offline: Hub, weights: Path, name: str) -> None:
        with pytest.raises(InvalidInput, match="small letters"):
            offline.add(name, weights)

    @pytest.mark.parametrize("name", [EMBEDDED, "sd3.5-large", "mine"])
    def test_name_in_use(self, offline: Hub, weights: Path, name: str) -> None:
        offline.add("mine", weights)
        with pytest.raises(InvalidInput, match="not in use"):
            offline.add(name, weights)

    def test_no_such_file(self, offline: Hub, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="existing"):
            offline.add("mine", tmp_path / "gone")

    def test_a_link_keeps_its_name(self, offline: Hub, weights: Path) -> None:
        link = weights.with_name("link.safetensors")
        link.symlink_to(weights)
        assert offline.add("mine", link).path == link


class TestVerify:
    def test_learns_then_compares(self, offline: Hub, weights: Path) -> None:
        offline.add("mine", weights)
        assert offline.verify("mine") == (Finding(weights, "learnt"),)
        assert offline.verify("mine") == (Finding(weights, "ok"),)
        weights.write_bytes(b"weightz")
        assert offline.verify("mine") == (Finding(weights, "changed"),)
        assert offline.verify("mine") == (Finding(weights, "changed"),)
        weights.unlink()
        assert offline.verify("mine") == (Finding(weights, "missing"),)
        assert not offline.get("mine").is_there

    def test_downloads_are_compared_at_once(self, hub: Hub) -> None:
        item = hub.pull("sd3.5-medium", t5="none")
        assert {finding.result for finding in hub.verify("sd3.5-medium")} == {"ok"}
        item.files[0].path.write_bytes(b"")
        assert hub.verify("sd3.5-medium")[0].result == "changed"


class TestRemove:
    def test_added_files_stay(self, offline: Hub, weights: Path) -> None:
        offline.add("mine", weights)
        assert offline.remove("mine") == ()
        assert weights.exists()
        with pytest.raises(UnknownModel):
            offline.get("mine")

    def test_downloads_are_deleted(self, hub: Hub) -> None:
        item = hub.pull("sd3.5-medium", t5="none")
        assert set(hub.remove("sd3.5-medium")) == {file.path for file in item.files}
        assert not item.path.exists()

    def test_what_a_person_put_there_stays(self, hub: Hub) -> None:
        item = hub.pull("sd3.5-medium", t5="none")
        (item.path / "notes.txt").write_text("mine")
        hub.remove("sd3.5-medium")
        assert [path.name for path in item.path.iterdir()] == ["notes.txt"]

    def test_nothing_outside_the_models_folder_is_deleted(self, hub: Hub, weights: Path) -> None:
        hub.pull("sd3.5-medium", t5="none")
        registry = hub.home / "models.json"
        value = json.loads(registry.read_text())
        value["models"]["sd3.5-medium"]["files"].append({"path": str(weights), "size": 7, "sha256": ""})
        registry.write_text(json.dumps(value))
        hub.remove("sd3.5-medium")
        assert weights.exists()

    def test_built_in(self, offline: Hub) -> None:
        with pytest.raises(InvalidInput, match="part of the program"):
            offline.remove(EMBEDDED)

    def test_unknown(self, offline: Hub) -> None:
        with pytest.raises(UnknownModel):
            offline.remove("mine")


class TestRegistry:
    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1, "models": {"a": {}}}'])
    def test_damaged(self, offline: Hub, text: str) -> None:
        offline.home.mkdir()
        (offline.home / "models.json").write_text(text)
        with pytest.raises(AppError, match="damaged"):
            offline.list()

    def test_from_the_future(self, offline: Hub) -> None:
        offline.home.mkdir()
        (offline.home / "models.json").write_text('{"version": 2, "models": {}}')
        with pytest.raises(AppError, match="newer Keelbill"):
            offline.list()

    def test_a_failed_write_leaves_the_old_list(
        self, offline: Hub, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offline.add("mine", weights)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            offline.add("other", weights)
        assert [item.name for item in offline.list()] == [*SHIPPED, "mine"]
        assert [path.name for path in offline.home.iterdir()] == ["models.json"]


class TestFolders:
    def test_folders_of_both_programs(self, tmp_path: Path) -> None:
        for name in ("checkpoints/a.safetensors", "loras/sub/b.safetensors", "vae/c.safetensors", "Lora/d.safetensors"):
            path = tmp_path / "ui" / "models" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        (tmp_path / "ui" / "models" / "checkpoints" / "notes.txt").write_text("")
        root = models_root(tmp_path / "ui")
        assert root == tmp_path / "ui" / "models"
        assert models_root(root) == root
        found = {path.name: place for path, place in weight_files(root)}
        assert found == {
            "a.safetensors": Place.MODELS,
            "b.safetensors": Place.LORAS,
            "c.safetensors": Place.PARTS,
            "d.safetensors": Place.LORAS,
        }

    def test_a_folder_of_one_model(self, tmp_path: Path) -> None:
        (tmp_path / "vae").mkdir()
        assert models_root(tmp_path) is None
