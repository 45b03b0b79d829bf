"""Files of accounts: uploads, numbers, quotas, expiry, and who may see them."""

from __future__ import annotations

from typing import Any

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.db.base import Database
from keelbill.serving.messages import GraphFile
from keelbill.storage.blobs import BlobStore
from keelbill.workspace.errors import NameTaken, NoSuchFile, QuotaFull
from keelbill.workspace.names import Place, place_of
from keelbill.workspace.schemas import Account, StoredFile
from keelbill.workspace.service import Workspace
from support.identities import HandClock

CAT = place_of("input", "cat.png")
JOB = "7" * 32


async def upload(workspace: Workspace, account: Account, content: bytes, **more: Any) -> StoredFile:
    kept = await workspace.keep(content, "image/png", width=1, height=1)
    return await workspace.upload(account, more.pop("place", CAT), kept, **more)


async def write(workspace: Workspace, account: Account, path: str, content: bytes = b"{}", **more: Any) -> StoredFile:
    kept = await workspace.keep(content, "application/json")
    return await workspace.write(account, place_of("userdata", path), kept, **more)


def made(prefix: str = "castle", content: bytes = b"png", **more: Any) -> GraphFile:
    facts: dict[str, Any] = {"media_type": "image/png", "width": 8, "height": 8, **more}
    return GraphFile(content=content, prefix=prefix, **facts)


class TestUpload:
    async def test_same_bytes_are_the_same_file(self, workspace: Workspace, ada: Account) -> None:
        first = await upload(workspace, ada, b"cat")
        again = await upload(workspace, ada, b"cat")
        assert again == first
        assert len(await workspace.listed(ada, "input")) == 1

    async def test_other_bytes_of_the_same_name(self, workspace: Workspace, ada: Account) -> None:
        names = [(await upload(workspace, ada, content)).name for content in (b"cat", b"dog", b"owl", b"dog")]
        assert names == ["cat.png", "cat (1).png", "cat (2).png", "cat (1).png"]

    async def test_overwrite(self, workspace: Workspace, ada: Account) -> None:
        await upload(workspace, ada, b"cat")
        await upload(workspace, ada, b"dog", overwrite=True)
        _, content = await workspace.content(ada, CAT)
        assert content == b"dog"

    async def test_full(self, open_workspace: Any, ada: Account, bob: Account) -> None:
        workspace = open_workspace(size_bytes=10)
        await upload(workspace, ada, b"123456")
        with pytest.raises(QuotaFull, match="MiB"):
            await upload(workspace, ada, b"1234567")
        assert (await upload(workspace, bob, b"1234567")).name == "cat.png"
        assert (await upload(workspace, ada, b"1234567890", overwrite=True)).size_bytes == 10

    async def test_too_many(self, open_workspace: Any, ada: Account) -> None:
        workspace = open_workspace(files=1)
        await upload(workspace, ada, b"cat")
        with pytest.raises(QuotaFull, match="1"):
            await upload(workspace, ada, b"dog")
        with pytest.raises(QuotaFull):
            await workspace.require_room(ada)


class TestOthers:
    async def test_no_file_crosses(self, workspace: Workspace, ada: Account, bob: Account) -> None:
        await upload(workspace, ada, b"cat")
        with pytest.raises(NoSuchFile):
            await workspace.content(bob, CAT)
        with pytest.raises(NoSuchFile):
            await workspace.remove(bob, CAT)
        with pytest.raises(NoSuchFile):
            await workspace.move(bob, CAT, place_of("input", "mine.png"))
        assert await workspace.listed(bob, "input") == []
        assert await workspace.refs(bob, {"cat.png": CAT}) == {}
        assert (await upload(workspace, bob, b"dog")).name == "cat.png"

    async def test_nor_between_members_of_one_organisation(self, workspace: Workspace, ada: Account) -> None:
        colleague = Account(ada.org_id, "3" * 32)
        await upload(workspace, ada, b"cat")
        assert await workspace.newest(colleague, "input") == []


class TestUserdata:
    async def test_write_read_move_remove(self, workspace: Workspace, ada: Account) -> None:
        await write(workspace, ada, "workflows/a.json", b"1")
        moved = await workspace.move(
            ada, place_of("userdata", "workflows/a.json"), place_of("userdata", "workflows/old/b.json")
        )
        assert (moved.path, (await workspace.content(ada, moved.place))[1]) == ("workflows/old/b.json", b"1")
        await workspace.remove(ada, moved.place)
        with pytest.raises(NoSuchFile):
            await workspace.find(ada, moved.place)

    async def test_no_overwriting(self, workspace: Workspace, ada: Account) -> None:
        await write(workspace, ada, "a.json", b"1")
        await write(workspace, ada, "b.json", b"2")
        with pytest.raises(NameTaken):
            await write(workspace, ada, "a.json", b"3", overwrite=False)
        a, b = place_of("userdata", "a.json"), place_of("userdata", "b.json")
        with pytest.raises(NameTaken):
            await workspace.move(ada, b, a, overwrite=False)
        await workspace.move(ada, b, a)
        assert (await workspace.content(ada, a))[1] == b"2"

    async def test_folders(self, workspace: Workspace, ada: Account) -> None:
        for path in ("workflows/a.json", "workflows/old/b.json", "workflows_2/c.json", "d.json"):
            await write(workspace, ada, path)

        async def paths(*asked: Any, **more: Any) -> list[str]:
            return [each.path for each in await workspace.listed(ada, "userdata", *asked, **more)]

        assert await paths("workflows") == ["workflows/a.json"]
        assert await paths("workflows", deep=True) == ["workflows/a.json", "workflows/old/b.json"]
        assert await paths("") == ["d.json"]
        assert len(await paths("", deep=True)) == 4

    async def test_wildcards_of_the_database_are_letters(self, workspace: Workspace, ada: Account) -> None:
        await write(workspace, ada, "ab/x/a.json")
        assert await workspace.listed(ada, "userdata", "%", deep=True) == []
        assert await workspace.listed(ada, "userdata", "a_", deep=True) == []


class TestOutputs:
    async def test_numbers_count_on_by_folder_and_prefix(self, workspace: Workspace, ada: Account) -> None:
        files = [made("castle"), made("castle", b"2"), made("old/castle"), made("tower"), made(kind="temp")]
        kept = await workspace.keep_outputs(ada, JOB, files)
        assert [(each.area, each.path) for each in kept] == [
            ("output", "castle_00001_.png"),
            ("output", "castle_00002_.png"),
            ("output", "old/castle_00001_.png"),
            ("output", "tower_00001_.png"),
            ("temp", "castle_00001_.png"),
        ]

    async def test_taken_number_is_passed_over(self, workspace: Workspace, ada: Account) -> None:
        await upload(workspace, ada, b"x", place=Place("output", "", "castle_00001_.png"))
        (kept,) = await workspace.keep_outputs(ada, JOB, [made()])
        assert kept.name == "castle_00002_.png"

    async def test_known_result_keeps_its_file(self, workspace: Workspace, ada: Account) -> None:
        (first,) = await workspace.keep_outputs(ada, JOB, [made(key="k")])
        (again,) = await workspace.keep_outputs(ada, "8" * 32, [made(key="k")], is_cached=True)
        assert again == first

    async def test_known_result_whose_file_is_gone(self, workspace: Workspace, ada: Account) -> None:
        (first,) = await workspace.keep_outputs(ada, JOB, [made(key="k")])
        await workspace.remove(ada, first.place)
        (again,) = await workspace.keep_outputs(ada, "8" * 32, [made(key="k")], is_cached=True)
        assert again.name == "castle_00002_.png"

    async def test_new_result_is_a_new_file_unless_its_job_was_lost(self, workspace: Workspace, ada: Account) -> None:
        (first,) = await workspace.keep_outputs(ada, JOB, [made(key="k")])
        (retried,) = await workspace.keep_outputs(ada, JOB, [made(key="k")])
        (other,) = await workspace.keep_outputs(ada, "8" * 32, [made(key="k")])
        assert retried == first
        assert other.name == "castle_00002_.png"

    async def test_other_accounts_do_not_share_results(self, workspace: Workspace, ada: Account, bob: Account) -> None:
        await workspace.keep_outputs(ada, JOB, [made(key="k")])
        (theirs,) = await workspace.keep_outputs(bob, "8" * 32, [made(key="k")], is_cached=True)
        assert theirs.job_id == "8" * 32

    async def test_prefix_that_no_name_may_have(self, workspace: Workspace, ada: Account) -> None:
        (kept,) = await workspace.keep_outputs(ada, JOB, [made("../../etc/cron.d/x")])
        assert kept.path == "output_00001_.png"

    async def test_room_for_many_temporary_files_only(self, open_workspace: Any, ada: Account) -> None:
        workspace = open_workspace(temp_files=2)
        for content in (b"1", b"2", b"3"):
            await workspace.keep_outputs(ada, JOB, [made(content=content, kind="temp")])
        assert [each.name for each in await workspace.newest(ada, "temp")] == ["castle_00003_.png", "castle_00002_.png"]

    async def test_temporary_files_go_after_a_day(self, workspace: Workspace, ada: Account, clock: HandClock) -> None:
        await workspace.keep_outputs(ada, JOB, [made(kind="temp"), made()])
        assert await workspace.sweep() == 0
        clock.advance(25 * 3600)
        assert await workspace.sweep() == 1
        assert await workspace.newest(ada, "temp") == []
        assert len(await workspace.newest(ada, "output")) == 1


class TestExamples:
    async def test_everybody_has_them_until_they_bring_their_own(
        self, workspace: Workspace, ada: Account, bob: Account, database: Database
    ) -> None:
        await workspace.offer("cat.png", b"example", "image/png", width=1, height=1)
        assert (await workspace.content(ada, CAT))[1] == b"example"
        own = await upload(workspace, ada, b"own")
        assert own.name == "cat.png"
        assert [each.name for each in await workspace.newest(ada, "input")] == ["cat.png"]
        assert (await workspace.content(ada, CAT))[1] == b"own"
        refs = await workspace.refs(bob, {"cat.png": CAT})
        assert refs["cat.png"] in await database.read(workspace.all_refs)
        assert await workspace.newest(bob, "output") == []


class TestBytes:
    async def test_bytes_live_as_long_as_a_row(
        self, workspace: Workspace, ada: Account, database: Database, blobs: BlobStore
    ) -> None:
        kept = await upload(workspace, ada, b"cat")
        assert await database.read(workspace.all_refs) == {kept.blob_ref}
        assert await database.read(lambda c: workspace.is_needed(c, kept.blob_ref))
        blobs.sweep(await database.read(workspace.all_refs), older_than_s=-1)
        assert blobs.exists(kept.blob_ref)
        await workspace.remove(ada, CAT)
        assert not await database.read(lambda c: workspace.is_needed(c, kept.blob_ref))
        blobs.sweep(await database.read(workspace.all_refs), older_than_s=-1)
        assert not blobs.exists(kept.blob_ref)

    async def test_picture_deleted_elsewhere(self, workspace: Workspace, ada: Account, database: Database) -> None:
        gone, stays = await workspace.keep_outputs(ada, JOB, [made(content=b"1"), made(content=b"2")])
        await database.write(lambda c: workspace.forget(c, JOB, {stays.blob_ref}))
        assert [each.name for each in await workspace.newest(ada, "output")] == [stays.name]
        with pytest.raises(NoSuchFile):
            await workspace.find(ada, gone.place)


class TestSettings:
    async def test_merge(self, workspace: Workspace, ada: Account, bob: Account) -> None:
        await workspace.set_settings(ada, {"a": 1, "b": {"c": [None, "ü"]}})
        await workspace.set_settings(ada, {"a": True})
        assert await workspace.settings(ada) == {"a": True, "b": {"c": [None, "ü"]}}
        assert await workspace.settings(bob) == {}

    async def test_limits(self, open_workspace: Any, ada: Account) -> None:
        workspace = open_workspace(settings=2, setting_bytes=10)
        with pytest.raises(InvalidRequest, match="at most 10"):
            await workspace.set_settings(ada, {"a": "x" * 10})
        with pytest.raises(InvalidRequest, match="printable"):
            await workspace.set_settings(ada, {"": 1})
        await workspace.set_settings(ada, {"a": 1, "b": 2})
        with pytest.raises(InvalidRequest, match="may have 2"):
            await workspace.set_settings(ada, {"c": 3})
        await workspace.set_settings(ada, {"b": 3})
