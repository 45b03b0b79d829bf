"""What the gallery can be filtered by: sizes, keys and sources, and how many pictures each of them has."""

from __future__ import annotations

import dataclasses

import pytest

from keelbill.core.principal import Principal
from keelbill.gallery.facets import Facets
from keelbill.gallery.schemas import Filter
from support.jobhouse import House, wish


async def fill(house: House) -> tuple[Principal, Principal]:
    """Make two pictures with a key and one in the studio; return who used which."""
    with_key = house.account("100")
    in_studio = dataclasses.replace(with_key, key_id="")
    await house.jobs.run(with_key, wish("wide", width=128))
    await house.jobs.run(with_key, wish("small"))
    await house.jobs.run(in_studio, wish("studio"))
    return with_key, in_studio


async def test_an_account_without_pictures(house: House) -> None:
    assert await house.gallery.facets(house.account().org_id) == Facets(0, [], [], [], [])


async def test_every_picture_is_counted_once(house: House) -> None:
    who, _ = await fill(house)
    await fill(house)  # another account
    model = (await house.gallery.page(who.org_id)).pictures[0].model
    assert await house.gallery.facets(who.org_id) == Facets(
        3, [(model, 3)], [("64x64", 2), ("128x64", 1)], [(who.key_id, 2)], [("api", 2), ("studio", 1)]
    )


async def test_deleted_pictures_do_not_count(house: House) -> None:
    who, _ = await fill(house)
    newest = (await house.gallery.page(who.org_id)).pictures[0]
    await house.gallery.delete(who.org_id, newest.id)
    assert (await house.gallery.facets(who.org_id)).sources == [("api", 2)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(size=(64, 64)), ["studio", "small"]),
        (Filter(size=(64, 128)), []),
        (Filter(source="studio"), ["studio"]),
        (Filter(source="api"), ["small", "wide"]),
        (Filter(source="graph"), []),
        (Filter(source="api", size=(128, 64), text="wi"), ["wide"]),
        (Filter(key_id="f" * 32), []),
    ],
)
async def test_filters_by_facets(house: House, wanted: Filter, found: list[str]) -> None:
    who, _ = await fill(house)
    pictures = (await house.gallery.page(who.org_id, wanted)).pictures
    assert [picture.prompt for picture in pictures] == found


async def test_pictures_of_one_key(house: House) -> None:
    who, _ = await fill(house)
    pictures = (await house.gallery.page(who.org_id, Filter(key_id=who.key_id))).pictures
    assert [picture.prompt for picture in pictures] == ["small", "wide"]
