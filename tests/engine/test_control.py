"""ControlNets against an independent implementation, in both kinds, and at work in the shared batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.batch import Batch, Finished, Sampling, sample_alone
from keelbill.engine.conditioning import Box, Conditioning, Share
from keelbill.engine.control import Control, ControlNet, check_fits, load_control, steering
from keelbill.engine.guidance import Branch, Perturbed, Unguided
from keelbill.engine.naming import Part, to_folder
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from support.models import MEDIUM_SHAPED, model, random_weights, transformer

WIDTH, CONTEXT, POOLED = MEDIUM_SHAPED.width, MEDIUM_SHAPED.context_dim, MEDIUM_SHAPED.pooled_dim
PIPELINE = Pipeline(model(MEDIUM_SHAPED))


def reference(layers: int = 2, *, plain: bool = False, extra: int = 0, dual: bool = False) -> Any:
    """Make the other implementation's network with random weights."""
    diffusers = pytest.importorskip("diffusers")
    network = diffusers.SD3ControlNetModel(
        sample_size=32,
        num_layers=layers,
        attention_head_dim=64,
        num_attention_heads=WIDTH // 64,
        joint_attention_dim=None if plain else CONTEXT,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=POOLED,
        pos_embed_max_size=24,
        extra_conditioning_channels=extra,
        dual_attention_layers=(0,) if dual else (),
        qk_norm="rms_norm" if dual else None,
        pos_embed_type=None if plain else "sincos",
        use_pos_embed=not plain,
        force_zeros_for_pooled_projection=not plain and not extra,
    )
    random_weights(network)
    return network.eval().requires_grad_(False)


def ours(network: Any, prefix: str = "") -> ControlNet:
    tensors = {prefix + name: tensor.clone() for name, tensor in network.state_dict().items()}
    return load_control(tensors, dtype=torch.float32)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


PROMPT = Conditioning(draw(1, 5, CONTEXT), draw(2, POOLED))


class TestParity:
    @pytest.mark.parametrize("options", [{}, {"dual": True}, {"extra": 1}])
    def test_joint_blocks(self, options: dict[str, Any]) -> None:
        other = reference(**options)
        network = ours(other, prefix="controlnet." if options else "")
        channels = 16 + options.get("extra", 0)
        x, hint = draw(3, 16, 8, 12), draw(4, channels, 8, 12)
        pooled = PROMPT.pooled if options.get("extra") else torch.zeros_like(PROMPT.pooled)
        expected = other(
            hidden_states=x[None],
            controlnet_cond=hint[None],
            encoder_hidden_states=PROMPT.context[None],
            pooled_projections=pooled[None],
            timestep=torch.tensor([700.0]),
            return_dict=False,
        )[0]
        got = network.residuals(x, torch.zeros(24, WIDTH), hint, 0.7, PROMPT)
        assert len(got) == len(expected) == 2
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b[0], atol=2e-5, rtol=1e-5)

    def test_plain_blocks_on_the_transformers_tokens(self) -> None:
        other = reference(plain=True)
        tokens, hint = draw(5, 24, WIDTH), draw(4, 16, 8, 12)
        expected = other(
            hidden_states=tokens[None],
            controlnet_cond=hint[None],
            pooled_projections=PROMPT.pooled[None],
            timestep=torch.tensor([300.0]),
            return_dict=False,
        )[0]
        got = ours(other).residuals(draw(3, 16, 8, 12), tokens, hint, 0.3, PROMPT)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b[0], atol=2e-5, rtol=1e-5)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_steered_transformer(self, layers: int) -> None:
        """The other implementation adds nothing after the last block, where the official code does."""
        diffusers = pytest.importorskip("diffusers")
        small = transformer(MEDIUM_SHAPED)
        other = diffusers.SD3Transformer2DModel(
            sample_size=32, num_layers=MEDIUM_SHAPED.depth, attention_head_dim=64, num_attention_heads=WIDTH // 64,
            joint_attention_dim=CONTEXT, caption_projection_dim=WIDTH, pooled_projection_dim=POOLED,
            pos_embed_max_size=MEDIUM_SHAPED.pos_side, dual_attention_layers=MEDIUM_SHAPED.dual_blocks,
            qk_norm="rms_norm",
        ).eval().requires_grad_(False)  # fmt: skip
        other.load_state_dict(to_folder(Part.TRANSFORMER, small.state_dict()))
        x = draw(3, 16, 8, 12)
        steps = [0.3 * draw(10 + i, 24, WIDTH) for i in range(layers)]
        expected = other(
            hidden_states=x[None],
            encoder_hidden_states=PROMPT.context[None],
            pooled_projections=PROMPT.pooled[None],
            timestep=torch.tensor([700.0]),
            block_controlnet_hidden_states=[each[None] for each in steps],
            return_dict=False,
        )[0][0]
        last = small.blocks()[-1]
        table = small.modulation(torch.tensor([0.7]), PROMPT.pooled[None])
        got = small.forward_packed([x], [PROMPT.context], table, residuals=[lambda z, t: steps])[0]
        assert not torch.allclose(got, expected, atol=1e-3)
        kept = last.run

        def without_last(*given: Any) -> Any:
            image, text = kept(*given)
            return image - steps[-1], text

        last.run = without_last  # type: ignore[method-assign, assignment]
        got = small.forward_packed([x], [PROMPT.context], table, residuals=[lambda z, t: steps])[0]
        torch.testing.assert_close(got, expected, atol=5e-5, rtol=1e-4)


def sampling(seed: int, **share: Any) -> Sampling:
    plain = PIPELINE.prepare(GenerationRequest("a cat", seed=seed, width=96, height=64, steps=2, cfg=3.0))
    positive = plain.conditionings[Branch.POSITIVE]
    assert isinstance(positive, Conditioning)
    return replace(plain, conditionings={**plain.conditionings, Branch.POSITIVE: (Share(positive, **share),)})


def control(plain: bool = False, **options: Any) -> Control:
    return Control(ours(reference(plain=plain)), draw(9, 16, 8, 12), **options)


class TestSampling:
    def test_strength_zero_changes_nothing(self) -> None:
        one, none = sampling(1, controls=(control(strength=0.0),)), sampling(1)
        assert torch.equal(
            sample_alone(PIPELINE.model.transformer, one), sample_alone(PIPELINE.model.transformer, none)
        )

    def test_acts_only_in_its_interval(self) -> None:
        share = Share(PROMPT, controls=(control(interval=(0.5, 0.9)),))
        assert [steering(share, sigma) is not None for sigma in (0.95, 0.9, 0.7, 0.5, 0.4)] == [
            False, True, True, True, False,
        ]  # fmt: skip

    def test_two_in_a_chain_add_up(self) -> None:
        one, two = control(strength=0.6), control(strength=0.4)
        both, whole = Share(PROMPT, controls=(one, two)), Share(PROMPT, controls=(control(strength=1.0),))
        x, tokens = draw(3, 16, 8, 12), draw(5, 24, WIDTH)
        pairs = [compute(x, tokens) for share in (both, whole) if (compute := steering(share, 0.5))]
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*pairs, strict=True))

    def test_chain_of_different_depths(self) -> None:
        deep = Control(ours(reference(3)), draw(9, 16, 8, 12))
        compute = steering(Share(PROMPT, controls=(control(), deep)), 0.5)
        assert compute is not None
        with pytest.raises(InvalidInput, match="of equal depth"):
            compute(draw(3, 16, 8, 12), draw(5, 24, WIDTH))

    def test_crowd_picture_equals_picture_made_alone(self) -> None:
        crowd = [
            sampling(1, controls=(control(),)),
            sampling(2, controls=(control(plain=True, strength=0.5),), box=Box(0, 0, 8, 7)),
            sampling(3),
            replace(sampling(4), guidance=Perturbed(Unguided(), 2.0)),
        ]
        batch = Batch(PIPELINE.model.transformer)
        tickets = [batch.admit(each) for each in crowd]
        done = {event.ticket: event.latents for event in batch.run() if isinstance(event, Finished)}
        alone = [sample_alone(PIPELINE.model.transformer, each) for each in crowd]
        assert all(torch.equal(done[t], latents) for t, latents in zip(tickets, alone, strict=True))
        assert not torch.equal(alone[0], sample_alone(PIPELINE.model.transformer, sampling(1)))


class TestRefusals:
    def test_another_network(self) -> None:
        with pytest.raises(BadWeights, match="not a ControlNet of the SD3 family"):
            load_control(transformer().state_dict(), dtype=torch.float32)

    def test_made_for_another_transformer(self) -> None:
        check_fits(control().network, PIPELINE.model.transformer)
        with pytest.raises(InvalidInput, match="width 192"):
            check_fits(control().network, transformer())

    def test_hint_without_its_mask(self) -> None:
        network = ours(reference(extra=1))
        with pytest.raises(InvalidInput, match="of 17 channels"):
            network.residuals(draw(1, 16, 8, 8), draw(2, 16, WIDTH), draw(3, 16, 8, 8), 0.5, PROMPT)


class TestPerturbed:
    def test_formula(self) -> None:
        two, one = torch.full((1, 2, 2), 2.0), torch.full((1, 2, 2), 1.0)
        assert Perturbed(Unguided(), 3.0).combine({Branch.POSITIVE: two, Branch.APART: one}).unique().tolist() == [5.0]
        assert Perturbed(Unguided(), 0.0).branches(0.5, 0, 4) == (Branch.POSITIVE,)
        with pytest.raises(InvalidInput, match="perturbed-attention scale"):
            Perturbed(Unguided(), -1.0)

    def test_image_tokens_see_only_themselves_and_the_text(self) -> None:
        network = transformer(MEDIUM_SHAPED)
        depth = frozenset(range(MEDIUM_SHAPED.depth))
        table = network.modulation(torch.tensor([0.5]), PROMPT.pooled[None])

        def first_place(x: Tensor, text: Tensor) -> Tensor:
            return network.forward_packed([x], [text], table, apart=frozenset({3}), skip=depth - {3})[0][:, :2, :2]

        x, other = draw(3, 16, 8, 8), draw(3, 16, 8, 8)
        other[:, 4:] = 0
        assert torch.allclose(first_place(x, PROMPT.context), first_place(other, PROMPT.context), atol=1e-5)
        assert not torch.allclose(first_place(x, PROMPT.context), first_place(x, PROMPT.context * 2), atol=1e-3)
