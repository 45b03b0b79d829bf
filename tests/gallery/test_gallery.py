"""Pictures are found, marked, sorted and deleted by their own account only, on both databases."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from keelbill.core.errors import Conflict, InvalidRequest, NotFound
from keelbill.core.ids import new_id
from keelbill.core.types import micro
from keelbill.db.base import Database
from keelbill.gallery import repository
from keelbill.gallery.schemas import Filter, NewPicture
from keelbill.gallery.service import Gallery
from keelbill.storage.blobs import BlobStore
from support.jobbook import ManualClock

ANN, BOB = "a" * 32, "b" * 32


class Shelf:
    """A gallery with a way to put pictures into it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = ManualClock()
        self.blobs = BlobStore(folder / "blobs", delete_grace_s=0.0)
        self.forgotten: list[str] = []
        self.needed: set[str] = set()
        self.gallery = Gallery(
            database,
            self.blobs,
            self.clock,
            forget_job=lambda _, job_id: self.forgotten.append(job_id),
            needed_elsewhere=lambda _, ref: ref in self.needed,
        )

    def add(self, prompt: str = "a red fox", org_id: str = ANN, content: bytes | None = None, **more: object) -> str:
        data = png() if content is None else content
        values: dict[str, object] = {
            "id": new_id(),
            "org_id": org_id,
            "user_id": "u" * 32,
            "job_id": new_id(),
            "blob_ref": self.blobs.put(data),
            "media_type": "image/png",
            "size_bytes": len(data),
            "width": 64,
            "height": 48,
            "prompt": prompt,
            "negative": "",
            "model": "keelbill-mini",
            "requested_model": "sd3.5-large",
            "seed": 2**64 - 1,
            "kind": "generate",
            "service": "sd3.5-large",
            "recipe": "{}",
            "filtered": False,
            "price": micro("6.5"),
            **more,
        }
        new = NewPicture(**values)  # type: ignore[arg-type]
        self.database.write_now(lambda connection: self.gallery.add(connection, new))
        self.clock.move(1)
        return new.id

    async def found(self, org_id: str = ANN, **wanted: object) -> list[str]:
        page = await self.gallery.page(org_id, Filter(**wanted))  # type: ignore[arg-type]
        return [picture.prompt for picture in page.pictures]


def png(size: tuple[int, int] = (64, 48), mode: str = "RGB", kind: str = "PNG") -> bytes:
    out = BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, tmp_path)


class TestOwnership:
    async def test_everything_is_404_for_another_account(self, shelf: Shelf) -> None:
        mine = shelf.add()
        album = await shelf.gallery.add_album(ANN, "Foxes")
        gallery = shelf.gallery
        for attempt in (
            gallery.get(BOB, mine),
            gallery.content(BOB, mine),
            gallery.thumbnail(BOB, mine),
            gallery.mark(BOB, mine, True),
            gallery.set_tags(BOB, mine, ["stolen"]),
            gallery.delete(BOB, mine),
            gallery.rename_album(BOB, album.id, "Stolen"),
            gallery.remove_album(BOB, album.id),
            gallery.put_into_album(BOB, album.id, []),
            gallery.take_from_album(BOB, album.id, []),
        ):
            with pytest.raises(NotFound):
                await attempt
        kept = await gallery.get(ANN, mine)
        assert (kept.favourite, kept.tags, kept.seed) == (False, (), 2**64 - 1)

    async def test_a_stranger_sees_an_empty_list(self, shelf: Shelf) -> None:
        shelf.add()
        album = await shelf.gallery.add_album(ANN, "Foxes")
        assert await shelf.found(BOB) == []
        assert await shelf.found(BOB, text="fox") == []
        assert await shelf.found(BOB, album_id=album.id) == []
        assert await shelf.gallery.albums(BOB) == []
        assert await shelf.gallery.tags(BOB) == []

    async def test_pictures_of_others_cannot_be_put_into_an_album(self, shelf: Shelf) -> None:
        mine, theirs = shelf.add(), shelf.add(org_id=BOB)
        album = await shelf.gallery.add_album(ANN, "Foxes")
        with pytest.raises(NotFound):
            await shelf.gallery.put_into_album(ANN, album.id, [mine, theirs])
        assert (await shelf.gallery.albums(ANN))[0].pictures == 0


class TestPages:
    async def test_newest_first_without_gaps_or_repeats(self, shelf: Shelf) -> None:
        made = [shelf.add(f"number {number}") for number in range(7)]
        seen, cursor = [], ""
        while True:
            page = await shelf.gallery.page(ANN, cursor=cursor, limit=3)
            seen += [picture.id for picture in page.pictures]
            cursor = page.next_cursor
            if not cursor:
                break
            shelf.add("came meanwhile")
        assert seen == made[::-1]

    async def test_a_page_that_is_just_full_is_the_last(self, shelf: Shelf) -> None:
        for _ in range(3):
            shelf.add()
        assert (await shelf.gallery.page(ANN, limit=3)).next_cursor == ""

    @pytest.mark.parametrize("cursor", ["x", "-1", "1" * 16, "1;drop table picture", "é"])
    async def test_cursors_that_are_not_ours(self, shelf: Shelf, cursor: str) -> None:
        with pytest.raises(InvalidRequest, match="cursor"):
            await shelf.gallery.page(ANN, cursor=cursor)

    @pytest.mark.parametrize("limit", [0, 201])
    async def test_limits(self, shelf: Shelf, limit: int) -> None:
        with pytest.raises(InvalidRequest, match="limit"):
            await shelf.gallery.page(ANN, limit=limit)


class TestFilters:
    async def test_by_facts(self, shelf: Shelf) -> None:
        shelf.add("one", kind="upscale", model="other")
        start_ms = shelf.clock.now_ms()
        shelf.add("two", user_id="v" * 32)
        shelf.add("three", requested_model="sd3.5-medium")
        assert await shelf.found(kind="upscale") == ["one"]
        assert await shelf.found(model="other") == ["one"]
        assert await shelf.found(model="sd3.5-medium") == ["three"]
        assert await shelf.found(user_id="v" * 32) == ["two"]
        assert await shelf.found(from_ms=start_ms) == ["three", "two"]
        assert await shelf.found(until_ms=start_ms) == ["one"]

    async def test_favourites(self, shelf: Shelf) -> None:
        first = shelf.add("one")
        shelf.add("two")
        await shelf.gallery.mark(ANN, first, True)
        assert await shelf.found(favourite=True) == ["one"]
        assert await shelf.found(favourite=False) == ["two"]
        await shelf.gallery.mark(ANN, first, False)
        assert await shelf.found(favourite=True) == []


class TestSearch:
    async def test_words_in_any_order_and_case(self, shelf: Shelf) -> None:
        shelf.add("A red FOX in the snow")
        shelf.add("a blue door", negative="snow")
        assert await shelf.found(text="snow fox") == ["A red FOX in the snow"]
        assert await shelf.found(text="SNOW") == ["a blue door", "A red FOX in the snow"]
        assert await shelf.found(text="fox door") == []

    async def test_the_last_word_may_be_unfinished(self, shelf: Shelf) -> None:
        shelf.add("a lighthouse at dusk")
        assert await shelf.found(text="dusk light") == ["a lighthouse at dusk"]
        assert await shelf.found(text="light dusk") == [], "only the last one may"

    async def test_other_scripts(self, shelf: Shelf) -> None:
        shelf.add("лиса зимой")
        assert await shelf.found(text="лиса") == ["лиса зимой"]

    @pytest.mark.parametrize(
        "text",
        ['"', "fox'", "NEAR(", "a AND OR NOT", "fox*", "(", "prompt:fox", "!fox | door & <->", "%", "\\", "''", "^"],
    )
    async def test_no_syntax_of_either_database_gets_through(self, shelf: Shelf, text: str) -> None:
        shelf.add("something else")
        await shelf.found(text=text)

    async def test_deleted_words_are_not_found(self, shelf: Shelf) -> None:
        gone = shelf.add("a secret garden")
        await shelf.gallery.delete(ANN, gone)
        assert await shelf.found(text="secret") == []


class TestTagsAndAlbums:
    async def test_tags(self, shelf: Shelf) -> None:
        first, second = shelf.add("one"), shelf.add("two")
        assert await shelf.gallery.set_tags(ANN, first, ["winter", "  red   fox ", "winter"]) == ("red fox", "winter")
        await shelf.gallery.set_tags(ANN, second, ["winter"])
        assert await shelf.gallery.tags(ANN) == [("red fox", 1), ("winter", 2)]
        assert await shelf.found(tag="red fox") == ["one"]
        await shelf.gallery.set_tags(ANN, first, [])
        assert (await shelf.gallery.get(ANN, first)).tags == ()

    @pytest.mark.parametrize("tags", [[""], ["a,b"], ["x" * 65], [str(n) for n in range(33)]])
    async def test_tags_that_are_refused(self, shelf: Shelf, tags: list[str]) -> None:
        with pytest.raises(InvalidRequest, match="tags"):
            await shelf.gallery.set_tags(ANN, shelf.add(), tags)

    async def test_an_album(self, shelf: Shelf) -> None:
        first, second = shelf.add("one"), shelf.add("two")
        album = await shelf.gallery.add_album(ANN, "  Best   of ")
        assert album.name == "Best of"
        await shelf.gallery.put_into_album(ANN, album.id, [first, second])
        await shelf.gallery.put_into_album(ANN, album.id, [first])
        assert (await shelf.gallery.albums(ANN))[0].pictures == 2
        await shelf.gallery.take_from_album(ANN, album.id, [second])
        assert await shelf.found(album_id=album.id) == ["one"]
        await shelf.gallery.remove_album(ANN, album.id)
        assert await shelf.gallery.albums(ANN) == []
        assert await shelf.found() == ["two", "one"], "its pictures stay"

    async def test_names_of_albums(self, shelf: Shelf) -> None:
        first = await shelf.gallery.add_album(ANN, "One")
        await shelf.gallery.add_album(ANN, "Two")
        await shelf.gallery.add_album(BOB, "One")
        with pytest.raises(Conflict):
            await shelf.gallery.add_album(ANN, "One")
        with pytest.raises(Conflict):
            await shelf.gallery.rename_album(ANN, first.id, "Two")
        await shelf.gallery.rename_album(ANN, first.id, "Three")
        assert [album.name for album in await shelf.gallery.albums(ANN)] == ["Three", "Two"]
        for name in ("", "  ", "x" * 201):
            with pytest.raises(InvalidRequest):
                await shelf.gallery.add_album(ANN, name)


class TestDelete:
    async def test_row_words_file_and_thumbnail_go(self, shelf: Shelf) -> None:
        picture_id = shelf.add(content=png())
        await shelf.gallery.thumbnail(ANN, picture_id)
        picture = await shelf.gallery.get(ANN, picture_id)
        await shelf.gallery.delete(ANN, picture_id)
        with pytest.raises(NotFound):
            await shelf.gallery.get(ANN, picture_id)
        assert not shelf.blobs.exists(picture.blob_ref)
        assert not shelf.blobs.exists(picture.thumb_ref)
        assert shelf.forgotten == [picture.job_id]
        assert shelf.database.read_now(lambda c: repository.hidden(c, 9)) == []

    async def test_same_bytes_of_another_picture_stay(self, shelf: Shelf) -> None:
        mine, theirs = shelf.add(content=png()), shelf.add(content=png(), org_id=BOB)
        await shelf.gallery.delete(ANN, mine)
        assert (await shelf.gallery.content(BOB, theirs))[1] == png()
        await shelf.gallery.delete(BOB, theirs)
        assert list(shelf.blobs.refs()) == []

    async def test_bytes_that_somebody_else_needs_stay(self, shelf: Shelf) -> None:
        picture_id = shelf.add()
        ref = (await shelf.gallery.get(ANN, picture_id)).blob_ref
        shelf.needed.add(ref)
        await shelf.gallery.delete(ANN, picture_id)
        assert shelf.blobs.exists(ref)

    async def test_bytes_that_were_just_put_are_removed_later(self, shelf: Shelf) -> None:
        picture_id = shelf.add()
        shelf.blobs.delete_grace_s = 60.0
        await shelf.gallery.delete(ANN, picture_id)
        assert await shelf.found() == [], "out of the history at once"
        assert await shelf.gallery.purge() == 0
        shelf.blobs.delete_grace_s = 0.0
        assert await shelf.gallery.purge() == 1
        assert list(shelf.blobs.refs()) == []

    async def test_twice(self, shelf: Shelf) -> None:
        picture_id = shelf.add()
        await shelf.gallery.delete(ANN, picture_id)
        with pytest.raises(NotFound):
            await shelf.gallery.delete(ANN, picture_id)


class TestRetention:
    async def test_old_pictures_of_everybody_go(self, shelf: Shelf) -> None:
        shelf.add("old", content=b"1")
        shelf.add("old too", org_id=BOB, content=b"2")
        shelf.clock.move(8 * 86_400)
        shelf.add("new", content=b"3")
        assert await shelf.gallery.retire(7) == 2
        assert (await shelf.found(), await shelf.found(BOB)) == (["new"], [])
        assert len(list(shelf.blobs.refs())) == 1

    async def test_for_ever(self, shelf: Shelf) -> None:
        shelf.add()
        shelf.clock.move(10_000 * 86_400)
        assert await shelf.gallery.retire(0) == 0
        assert len(await shelf.found()) == 1


class TestThumbnails:
    @pytest.mark.parametrize(
        ("mode", "kind", "size"),
        [
            ("RGB", "PNG", (1024, 512)),
            ("RGBA", "PNG", (64, 64)),
            ("RGB", "JPEG", (2000, 3000)),
            ("RGB", "WEBP", (640, 640)),
        ],
    )
    async def test_small_webp(self, shelf: Shelf, mode: str, kind: str, size: tuple[int, int]) -> None:
        picture_id = shelf.add(content=png(size, mode, kind))
        with Image.open(BytesIO(await shelf.gallery.thumbnail(ANN, picture_id))) as small:
            assert small.format == "WEBP"
            assert max(small.size) <= 320
            assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.02)
            assert small.mode == mode

    async def test_is_made_once(self, shelf: Shelf) -> None:
        picture_id = shelf.add()
        first = await shelf.gallery.thumbnail(ANN, picture_id)
        ref = (await shelf.gallery.get(ANN, picture_id)).thumb_ref
        assert shelf.blobs.read(ref) == first
        assert await shelf.gallery.thumbnail(ANN, picture_id) == first
