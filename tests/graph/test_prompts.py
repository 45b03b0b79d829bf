"""Prompts: how they are read, mixed, and where and when they count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.engine.clip import END_TOKEN, CLIPConfig, CLIPText
from keelbill.engine.conditioning import Box, Conditioning
from keelbill.engine.lora import LowRank
from keelbill.engine.naming import Part
from keelbill.engine.schedules import time_shift
from keelbill.engine.sd3text import CLIPPart, SD3TextEncoder
from keelbill.engine.text import CachedTextEncoder
from keelbill.graph.errors import NodeFailed
from keelbill.graph.tensors import prompts
from keelbill.graph.tensors.handles import ClipHandle, Painter, Reader
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import model, random_weights

MODEL = replace(model(), native_side=1024)
PAINTER = Painter(MODEL.transformer)


def clip_part(width: int, projection: int | None, pad: int) -> CLIPPart:
    network = CLIPText(CLIPConfig(width=width, depth=3, mlp=64, projection=projection, quick_gelu=projection is None))
    random_weights(network, width)
    return CLIPPart(network.eval().requires_grad_(False), pad)


ENCODER = SD3TextEncoder(clip_part(64, None, END_TOKEN), clip_part(128, 128, 0), None, 256, 192)


@pytest.fixture
def bench() -> Workbench:
    published = replace(MODEL, text=CachedTextEncoder(ENCODER, "x"))
    return Workbench(Shelf({"m": MODEL, "mini": embedded(), "published": published}))


def said(bench: Workbench, kind: str, model_name: str = "published", **inputs: Any) -> Any:
    graph = {"1": node("CheckpointLoaderSimple", ckpt_name=model_name), "2": node(kind, clip=["1", 1], **inputs)}
    return evaluate(graph, "2", bench)


def run(bench: Workbench, kind: str, **inputs: Any) -> Any:
    values = {name: {"__value__": v} if isinstance(v, Tensor | list) else v for name, v in inputs.items()}
    return evaluate({"2": node(kind, **values)}, "2", bench)


def prompt(value: float, length: int = 2) -> list[list[Any]]:
    return [[torch.full((1, length, 64), value), {"pooled_output": torch.full((1, 32), value)}]]


class TestReading:
    def test_tokens_and_summary(self, bench: Workbench) -> None:
        ((tokens, options),) = said(bench, "CLIPTextEncode", text="a cat")
        expected = ENCODER.encode(["a cat"])[0]
        assert torch.equal(tokens[0], expected.context)
        assert torch.equal(options["pooled_output"][0], expected.pooled)

    def test_weights_and_escapes(self, bench: Workbench) -> None:
        plain = said(bench, "CLIPTextEncode", text="a cat")[0][0]
        heavy = said(bench, "CLIPTextEncode", text="a (cat:1.3)")[0][0]
        escaped = said(bench, "CLIPTextEncode", text=r"a \(cat\)")[0][0]
        assert plain.shape == heavy.shape == escaped.shape
        assert not torch.equal(plain, heavy)
        assert torch.equal(heavy, said(bench, "CLIPTextEncode", text="a (cat:1.30)")[0][0])
        assert not torch.equal(escaped, plain)

    def test_model_with_one_text_encoder_reads_the_first_text_that_says_something(self, bench: Workbench) -> None:
        texts = {"clip_l": "a dog", "clip_g": "a cat", "t5xxl": " "}
        got = said(bench, "CLIPTextEncodeSD3", "mini", **texts, empty_padding="none")
        assert torch.equal(got[0][0], said(bench, "CLIPTextEncode", "mini", text="a cat")[0][0])

    def test_each_encoder_reads_its_own_text(self, bench: Workbench) -> None:
        ((tokens, _),) = said(
            bench, "CLIPTextEncodeSD3", clip_l="a dog", clip_g="a cat", t5xxl="a fox", empty_padding="empty_prompt"
        )
        expected = ENCODER.encode_parts("a dog", "a cat", "a fox").context
        assert torch.equal(tokens[0], expected)
        dog, cat = (ENCODER.encode([text])[0].context for text in ("a dog", "a cat"))
        assert torch.equal(expected[:77, :64], dog[:77, :64])
        assert torch.equal(expected[:77, 64:192], cat[:77, 64:192])

    def test_empty_text_contributes_nothing(self, bench: Workbench) -> None:
        texts = {"clip_l": "", "clip_g": "a cat", "t5xxl": ""}
        ((tokens, options),) = said(bench, "CLIPTextEncodeSD3", **texts, empty_padding="none")
        assert tokens.shape[1] == 77
        assert not tokens[..., :64].any()
        assert not options["pooled_output"][..., :64].any()
        ((padded, _),) = said(bench, "CLIPTextEncodeSD3", **texts, empty_padding="empty_prompt")
        assert padded.shape[1] == 154
        assert padded[:, :77, :64].any()

    def test_nothing_at_all_is_an_empty_prompt(self, bench: Workbench) -> None:
        got = said(bench, "CLIPTextEncodeSD3", clip_l="", clip_g="", t5xxl="", empty_padding="none")
        assert torch.equal(got[0][0], said(bench, "CLIPTextEncode", text="")[0][0])

    def test_last_layer(self, bench: Workbench) -> None:
        def at(stop: int) -> Tensor:
            graph = {
                "1": node("CheckpointLoaderSimple", ckpt_name="published"),
                "2": node("CLIPSetLastLayer", clip=["1", 1], stop_at_clip_layer=stop),
                "3": node("CLIPTextEncode", clip=["2", 0], text="a cat"),
            }
            found: Tensor = evaluate(graph, "3", bench)[0][0]
            return found

        assert torch.equal(at(-2), said(bench, "CLIPTextEncode", text="a cat")[0][0])
        assert not torch.equal(at(-1), at(-2))
        assert torch.equal(at(-24), at(-4))  # three layers and the embeddings

    def test_last_layer_of_a_model_without_clip(self, bench: Workbench) -> None:
        graph = {
            "1": node("CheckpointLoaderSimple", ckpt_name="mini"),
            "2": node("CLIPSetLastLayer", clip=["1", 1], stop_at_clip_layer=-2),
            "3": node("CLIPTextEncode", clip=["2", 0], text="a cat"),
        }
        with pytest.raises(NodeFailed, match="it has no CLIP layers"):
            evaluate(graph, "3", bench)

    def test_embedding_stands_for_what_was_taught(self, bench: Workbench) -> None:
        rows = torch.full((2, 64), 0.5)
        bench.models = replace(bench.models, files={("embeddings", "toy"): {"clip_l": rows}})  # type: ignore[type-var]
        ((tokens, options),) = said(bench, "CLIPTextEncode", text="a embedding:toy")
        prompt = "a embedding:toy"
        expected = ENCODER.encode_parts(prompt, prompt, prompt, {"toy": {Part.CLIP_L: rows}})
        assert torch.equal(tokens[0], expected.context)
        assert torch.equal(options["pooled_output"][0], expected.pooled)
        assert not torch.equal(tokens[0], ENCODER.encode(["a embedding:toy"])[0].context)
        texts = {"clip_l": "a embedding:toy", "clip_g": "a", "t5xxl": "a"}
        ((parts, _),) = said(bench, "CLIPTextEncodeSD3", **texts, empty_padding="none")
        assert torch.equal(parts[0][:77, :64], expected.context[:77, :64])

    def test_embedding_that_is_not_installed(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="toy"):
            said(bench, "CLIPTextEncode", text="a embedding:toy")

    def test_embedding_for_an_encoder_without_a_place_for_it(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="cannot read embeddings"):
            said(bench, "CLIPTextEncode", "mini", text="a embedding:toy")

    def test_more_embeddings_than_a_prompt_can_hold(self, bench: Workbench) -> None:
        files = {("embeddings", "toy"): {"clip_l": torch.ones(500, 64)}}
        bench.models = replace(bench.models, files=files)  # type: ignore[type-var]
        with pytest.raises(NodeFailed, match="tokens of embeddings in a prompt"):
            said(bench, "CLIPTextEncode", text="embedding:toy " * 20)

    def test_lora_changes_a_copy_and_shares_the_rest(self) -> None:
        name = "text_model.encoder.layers.0.mlp.fc1"
        lora = {Part.CLIP_L: {name: LowRank(torch.ones(1, 64), torch.ones(64, 1))}}
        handle = ClipHandle(Reader(ENCODER), loras=((lora, 0.5),))
        before = ENCODER.encode(["a cat"])[0].context.clone()
        changed = prompts.encode(handle, Shelf(), "a cat")[0][0][0]
        assert torch.equal(ENCODER.encode(["a cat"])[0].context, before)
        assert not torch.equal(changed[:77, :64], before[:77, :64])
        assert torch.equal(changed[:77, 64:], before[:77, 64:])
        copy = ENCODER.changed(((lora, 0.5),))
        assert copy.clip_l is not None
        assert ENCODER.clip_l is not None
        shared = copy.clip_l.network.text_model.embeddings.token_embedding.weight
        assert shared is ENCODER.clip_l.network.text_model.embeddings.token_embedding.weight
        assert copy.clip_g is not None
        assert copy.clip_g.network is ENCODER.clip_g.network  # type: ignore[union-attr]


class TestArithmetic:
    def test_zero_out(self, bench: Workbench) -> None:
        ((tokens, options),) = run(bench, "ConditioningZeroOut", conditioning=prompt(2.0))
        assert not tokens.any()
        assert not options["pooled_output"].any()

    def test_combine(self, bench: Workbench) -> None:
        both = run(bench, "ConditioningCombine", conditioning_1=prompt(1.0), conditioning_2=prompt(2.0))
        assert [float(tokens[0, 0, 0]) for tokens, _ in both] == [1.0, 2.0]

    def test_concat(self, bench: Workbench) -> None:
        ((tokens, options),) = run(
            bench, "ConditioningConcat", conditioning_to=prompt(1.0, 2), conditioning_from=prompt(2.0, 3)
        )
        assert tokens[0, :, 0].tolist() == [1, 1, 2, 2, 2]
        assert options["pooled_output"].unique().tolist() == [1.0]

    @pytest.mark.parametrize(
        ("kind", "names", "what"),
        [
            ("ConditioningCombine", ("conditioning_1", "conditioning_2"), "prompts at once"),
            ("ConditioningConcat", ("conditioning_to", "conditioning_from"), "tokens of a prompt"),
        ],
    )
    def test_nodes_in_a_row_that_double_a_prompt(
        self, bench: Workbench, kind: str, names: tuple[str, str], what: str
    ) -> None:
        """Forty of them would ask for a million million."""
        graph = {"0": node(kind, **{key: {"__value__": prompt(1.0)} for key in names})}
        for number in range(1, 40):
            graph[str(number)] = node(kind, **{key: [str(number - 1), 0] for key in names})
        with pytest.raises(NodeFailed, match=f"{what}.*at most"):
            evaluate(graph, "39", bench)
        assert len(evaluate(graph, "2", bench)) <= prompts.MAX_PROMPTS

    def test_average_fills_the_shorter(self, bench: Workbench) -> None:
        ((tokens, options),) = run(
            bench, "ConditioningAverage",
            conditioning_to=prompt(4.0, 3), conditioning_from=prompt(2.0, 2), conditioning_to_strength=0.5,
        )  # fmt: skip
        assert tokens[0, :, 0].tolist() == [3, 3, 2]
        assert options["pooled_output"].unique().tolist() == [3.0]

    def test_average_cuts_the_longer(self, bench: Workbench) -> None:
        ((tokens, _),) = run(
            bench, "ConditioningAverage",
            conditioning_to=prompt(4.0, 1), conditioning_from=prompt(2.0, 5), conditioning_to_strength=0.25,
        )  # fmt: skip
        assert tokens[0, :, 0].tolist() == [2.5]

    def test_nodes_leave_what_they_were_given(self, bench: Workbench) -> None:
        given = prompt(1.0)
        run(bench, "ConditioningSetTimestepRange", conditioning=given, start=0.1, end=0.5)
        assert set(given[0][1]) == {"pooled_output"}


class TestPlaces:
    def shares(self, entries: list[list[Any]], picture: tuple[int, int] = (128, 128)) -> Any:
        grid = picture[0] // 8, picture[1] // 8
        return prompts.prompt_of(entries, PAINTER, picture, grid)

    def test_one_prompt_of_everything_is_plain(self) -> None:
        assert isinstance(self.shares(prompt(1.0)), Conditioning)

    def test_time(self, bench: Workbench) -> None:
        entries = run(bench, "ConditioningSetTimestepRange", conditioning=prompt(1.0), start=0.1, end=0.5)
        (share,) = self.shares(entries)
        assert share.interval == pytest.approx((time_shift(0.5, 3.0), time_shift(0.9, 3.0)))
        assert (share.acts(1.0), share.acts(0.8), share.acts(0.5)) == (False, True, False)

    def test_area(self, bench: Workbench) -> None:
        entries = run(
            bench, "ConditioningSetArea", conditioning=prompt(1.0), width=64, height=96, x=64, y=0, strength=2.0
        )
        (share,) = self.shares(entries)
        assert (share.box, share.strength) == (Box(0, 8, 12, 16), 2.0)
        edge = share.weight[0, 0, 8:]
        assert (float(edge[0]), float(edge[-1])) == (0.25, 1.0)  # soft towards the picture, hard at its border

    def test_area_outside_the_picture(self, bench: Workbench) -> None:
        entries = run(
            bench, "ConditioningSetArea", conditioning=prompt(1.0), width=64, height=64, x=4096, y=0, strength=1.0
        )
        (share,) = self.shares(entries)
        assert share.box == Box(0, 15, 8, 16)

    def test_mask(self, bench: Workbench) -> None:
        mask = torch.zeros(1, 128, 128)
        mask[:, 32:64, 16:48] = 1
        entries = run(
            bench, "ConditioningSetMask", conditioning=prompt(1.0), mask=mask, strength=0.5, set_cond_area="default"
        )
        (share,) = self.shares(entries)
        assert share.box is None
        assert share.weight.shape == (1, 16, 16)
        assert float(share.weight[0, 5, 3]) == 0.5
        assert float(share.weight[0, 12, 12]) == 0.0

    def test_bounds_of_a_mask(self, bench: Workbench) -> None:
        mask = torch.zeros(1, 128, 128)
        mask[:, 32:64, 16:48] = 1
        entries = run(
            bench, "ConditioningSetMask",
            conditioning=prompt(1.0), mask=mask, strength=1.0, set_cond_area="mask bounds",
        )  # fmt: skip
        (share,) = self.shares(entries)
        assert share.box == Box(4, 2, 8, 6)

    def test_missing_summary_is_zero(self) -> None:
        found = self.shares([[torch.ones(1, 2, 64), {}]])
        assert not found.pooled.any()

    def test_no_prompt(self) -> None:
        with pytest.raises(InvalidInput, match="at least one encoded prompt"):
            self.shares([])

    def test_summary_of_another_width(self) -> None:
        with pytest.raises(InvalidInput, match="of 32 channels"):
            self.shares([[torch.ones(1, 2, 64), {"pooled_output": torch.ones(1, 7)}]])


class TestPainting:
    def test_two_areas(self, bench: Workbench) -> None:
        graph = {
            "1": node("CheckpointLoaderSimple", ckpt_name="m"),
            "2": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
            "3": node("CLIPTextEncode", text="a dog", clip=["1", 1]),
            "4": node("ConditioningSetArea", conditioning=["3", 0], width=64, height=128, x=64, y=0, strength=1.0),
            "5": node("ConditioningCombine", conditioning_1=["2", 0], conditioning_2=["4", 0]),
            "6": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
            "7": node(
                "KSampler", model=["1", 0], seed=1, steps=2, cfg=2.0, sampler_name="euler", scheduler="normal",
                positive=["5", 0], negative=["2", 0], latent_image=["6", 0], denoise=1.0,
            ),
        }  # fmt: skip
        both = evaluate(graph, "7", bench)["samples"]
        graph["7"]["inputs"]["positive"] = ["2", 0]
        change = (both - evaluate(graph, "7", bench)["samples"]).abs().mean(dim=(0, 1, 2))
        assert change[10:].mean() > change[:6].mean()
