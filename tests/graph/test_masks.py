"""Nodes that make and change masks, against a plain reckoning."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from keelbill.core.errors import InvalidInput
from support.graphnodes import run


def dot(height: int = 7, width: int = 7, y: int = 3, x: int = 3) -> Tensor:
    mask = torch.zeros(1, height, width)
    mask[0, y, x] = 1
    return mask


def plainly_grown(mask: Tensor, reach: int, *, tapered: bool) -> Tensor:
    """Grow one pixel at a time, as one would with a pencil."""
    for _ in range(abs(reach)):
        found = mask.clone()
        for y in range(mask.shape[1]):
            for x in range(mask.shape[2]):
                near = [
                    mask[:, y + dy, x + dx]
                    for dy in (-1, 0, 1)
                    for dx in (-1, 0, 1)
                    if not (tapered and dy and dx) and 0 <= y + dy < mask.shape[1] and 0 <= x + dx < mask.shape[2]
                ]
                stack = torch.stack(near)
                found[:, y, x] = stack.amax(0) if reach > 0 else stack.amin(0)
        mask = found
    return mask


class TestConverting:
    def test_mask_to_picture(self) -> None:
        found = run("MaskToImage", mask=torch.tensor([[[0.25, 1.0]]]))

        assert found.tolist() == [[[[0.25] * 3, [1.0] * 3]]]

    def test_mask_that_came_without_a_batch(self) -> None:
        assert run("MaskToImage", mask=torch.zeros(2, 3)).shape == (1, 2, 3, 3)

    @pytest.mark.parametrize(("channel", "value"), [("red", 0.1), ("green", 0.2), ("blue", 0.3), ("alpha", 0.4)])
    def test_a_channel(self, channel: str, value: float) -> None:
        found = run("ImageToMask", image=torch.tensor([[[[0.1, 0.2, 0.3, 0.4]]]]), channel=channel)

        assert found.shape == (1, 1, 1)
        assert float(found) == pytest.approx(value)

    def test_alpha_of_an_opaque_picture(self) -> None:
        assert run("ImageToMask", image=torch.zeros(1, 2, 2, 3), channel="alpha").min() == 1

    def test_exactly_one_colour(self) -> None:
        image = torch.tensor([[[[255, 128, 1], [255, 128, 2]]]]) / 255

        assert run("ImageColorToMask", image=image, color=0xFF8001).tolist() == [[[1, 0]]]


class TestChanging:
    def test_inverted(self) -> None:
        assert run("InvertMask", mask=torch.tensor([[[0.25]]])).tolist() == [[[0.75]]]

    def test_solid(self) -> None:
        found = run("SolidMask", value=0.5, width=3, height=2)

        assert found.shape == (1, 2, 3)
        assert (found == 0.5).all()

    def test_solid_that_no_memory_holds(self) -> None:
        with pytest.raises(InvalidInput):
            run("SolidMask", width=16384, height=16384)

    def test_threshold_is_not_reached_by_itself(self) -> None:
        assert run("ThresholdMask", mask=torch.tensor([[[0.5, 0.51]]]), value=0.5).tolist() == [[[0, 1]]]

    def test_cut(self) -> None:
        assert run("CropMask", mask=dot(), x=3, y=2, width=2, height=9)[0].tolist() == [[0, 0], [1, 0]] + [[0, 0]] * 3

    def test_fading(self) -> None:
        found = run("FeatherMask", mask=torch.ones(1, 1, 6), left=2, right=4)

        assert found[0, 0].tolist() == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])

    def test_fading_from_above_and_below(self) -> None:
        found = run("FeatherMask", mask=torch.ones(1, 4, 1), top=2, bottom=99)

        assert found[0, :, 0].tolist() == pytest.approx([0.5 * 1, 0.75, 0.5, 0.25])


class TestGrowing:
    def test_a_dot_becomes_a_diamond_or_a_square(self) -> None:
        diamond = run("GrowMask", mask=dot(), expand=2)
        square = run("GrowMask", mask=dot(), expand=2, tapered_corners=False)

        assert int(diamond.sum()) == 13
        assert int(square.sum()) == 25

    def test_nothing(self) -> None:
        assert torch.equal(run("GrowMask", mask=dot(), expand=0), dot())

    @settings(max_examples=40, deadline=None)
    @given(
        values=st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=30, max_size=30),
        reach=st.integers(-9, 9),
        tapered=st.booleans(),
    )
    def test_few_rounds_give_what_many_small_ones_give(self, values: list[float], reach: int, tapered: bool) -> None:
        mask = torch.tensor(values).reshape(1, 5, 6)

        found = run("GrowMask", mask=mask, expand=reach, tapered_corners=tapered)

        assert torch.allclose(found, plainly_grown(mask, reach, tapered=tapered))

    @pytest.mark.parametrize("tapered", [True, False])
    def test_the_farthest_reach_ends_soon(self, tapered: bool) -> None:
        mask = dot(600, 600, 0, 0)

        assert run("GrowMask", mask=mask, expand=16384, tapered_corners=tapered).min() == 1
        assert run("GrowMask", mask=mask, expand=-16384, tapered_corners=tapered).max() == 0


class TestCombining:
    @pytest.mark.parametrize(
        ("operation", "expected"),
        [
            ("multiply", [0.0, 0.12, 0.8, 0.48]),
            ("add", [0.2, 0.8, 1.0, 1.0]),
            ("subtract", [0.0, 0.4, 0.2, 0.0]),
            ("and", [0, 0, 1, 1]),
            ("or", [0, 1, 1, 1]),
            ("xor", [0, 1, 0, 0]),
        ],
    )
    def test_each_operation(self, operation: str, expected: list[float]) -> None:
        below, above = torch.tensor([[[0.0, 0.6, 1.0, 0.6]]]), torch.tensor([[[0.2, 0.2, 0.8, 0.8]]])

        found = run("MaskComposite", destination=below, source=above, operation=operation)

        assert found[0, 0].tolist() == pytest.approx(expected)

    def test_only_where_they_meet(self) -> None:
        found = run("MaskComposite", destination=dot(3, 3, 0, 0), source=torch.ones(1, 2, 2), x=2, y=1, operation="add")

        assert found[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]

    def test_given_masks_stay_as_they_are(self) -> None:
        below = torch.zeros(1, 2, 2)

        run("MaskComposite", destination=below, source=torch.ones(1, 2, 2), operation="add")

        assert below.max() == 0


class TestTransparency:
    def test_apart_and_together(self) -> None:
        image = torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))

        colours, mask = run("SplitImageWithAlpha", image=image)
        found = run("JoinImageWithAlpha", image=colours, alpha=mask)

        assert torch.allclose(found, image, atol=1e-6)

    def test_opaque_picture_has_an_empty_mask_of_its_size(self) -> None:
        colours, mask = run("SplitImageWithAlpha", image=torch.ones(1, 2, 3, 3))

        assert colours.shape == (1, 2, 3, 3)
        assert mask.tolist() == [[[0, 0, 0], [0, 0, 0]]]

    def test_mask_of_another_size_is_brought_to_the_pictures(self) -> None:
        found = run("JoinImageWithAlpha", image=torch.zeros(3, 8, 4, 3), alpha=torch.full((1, 64, 64), 0.25))

        assert found.shape == (3, 8, 4, 4)
        assert (found[..., 3] == 0.75).all()
