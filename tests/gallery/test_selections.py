"""Many pictures at once: marked, tagged, deleted and packed, all or none, and never a stranger's."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.core.principal import Principal
from keelbill.gallery.errors import NoSuchPicture
from keelbill.gallery.schemas import Filter, Picture
from keelbill.gallery.selections import MOST
from support.jobhouse import House, wish


async def made(house: House, who: Principal, *prompts: str) -> list[Picture]:
    """Make pictures and return them, newest first."""
    for prompt in prompts:
        await house.jobs.run(who, wish(prompt))
    return list((await house.gallery.page(who.org_id)).pictures)


async def prompts(house: House, who: Principal, wanted: Filter) -> list[str]:
    return [picture.prompt for picture in (await house.gallery.page(who.org_id, wanted)).pictures]


async def test_pictures_of_a_stranger(house: House) -> None:
    ann, bob = house.account(), house.account()
    (hers,) = await made(house, ann, "hers")
    (his,) = await made(house, bob, "his")
    both = [hers.id, his.id]
    with pytest.raises(NoSuchPicture):
        await house.gallery.selections.change(ann.org_id, both, favourite=True)
    with pytest.raises(NoSuchPicture):
        await house.gallery.selections.archive(ann.org_id, both)
    assert await house.gallery.selections.delete(ann.org_id, [his.id]) == 0
    assert not (await house.gallery.get(ann.org_id, hers.id)).favourite
    assert await prompts(house, bob, Filter()) == ["his"]


@pytest.mark.parametrize("ids", [[], [f"{number:032x}" for number in range(MOST + 1)]], ids=["none", "too many"])
async def test_too_few_or_too_many(house: House, ids: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="picture_ids"):
        await house.gallery.selections.delete(house.account().org_id, ids)


async def test_marks_and_tags_of_several(house: House) -> None:
    ann = house.account()
    first, second, third = await made(house, ann, "c", "b", "a")
    await house.gallery.set_tags(ann.org_id, first.id, ["old", "kept"])
    await house.gallery.selections.change(
        ann.org_id, [first.id, second.id, first.id], favourite=True, add_tags=["new"], remove_tags=["old"]
    )
    assert await prompts(house, ann, Filter(favourite=True)) == ["a", "b"]
    assert (await house.gallery.get(ann.org_id, first.id)).tags == ("kept", "new")
    assert (await house.gallery.get(ann.org_id, second.id)).tags == ("new",)
    assert (await house.gallery.get(ann.org_id, third.id)).tags == ()


async def test_one_tag_too_many_changes_nothing(house: House) -> None:
    ann = house.account()
    full, other = await made(house, ann, "b", "a")
    await house.gallery.set_tags(ann.org_id, full.id, [f"tag {number}" for number in range(32)])
    with pytest.raises(InvalidRequest, match=full.id):
        await house.gallery.selections.change(ann.org_id, [other.id, full.id], favourite=True, add_tags=["more"])
    assert (await house.gallery.get(ann.org_id, other.id)).tags == ()
    assert await prompts(house, ann, Filter(favourite=True)) == []


async def test_deleting_several_passes_over_what_is_gone(house: House) -> None:
    ann = house.account()
    first, second, third = await made(house, ann, "c", "b", "a")
    await house.gallery.delete(ann.org_id, second.id)
    assert await house.gallery.selections.delete(ann.org_id, [first.id, second.id]) == 1
    assert await prompts(house, ann, Filter()) == [third.prompt]
    assert await prompts(house, ann, Filter(text=first.prompt)) == []
    assert house.job(first.job_id).result_ref == ""


async def test_an_archive_holds_pictures_and_recipes(house: House) -> None:
    ann = house.account()
    newest, oldest = await made(house, ann, "../../etc/passwd", "ein rotes \u201etor\u201c")
    pieces = [piece async for piece in await house.gallery.selections.archive(ann.org_id, [oldest.id, newest.id])]
    assert len(pieces) == 3  # one for each picture and one for the list: nothing waits for the end
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{newest.id}.png", f"{oldest.id}.png", "recipes.json"]
        assert archive.read(f"{oldest.id}.png") == (await house.gallery.content(ann.org_id, oldest.id))[1]
        recipes = json.loads(archive.read("recipes.json"))
    assert [recipe["prompt"] for recipe in recipes] == [newest.prompt, oldest.prompt]
    assert recipes[1]["file"] == f"{oldest.id}.png"
    assert recipes[1]["recipe"]["seed"] == oldest.seed == 7
