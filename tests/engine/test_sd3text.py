"""SD3's text encoders: each network against an independent implementation, and how they are put together."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.clip import END_TOKEN, CLIPConfig, CLIPText
from keelbill.engine.components import find_components
from keelbill.engine.sd3text import CLIPPart, SD3TextEncoder, T5Part, load_text_encoder
from keelbill.engine.t5 import T5Config, T5Encoder, relative_buckets
from keelbill.engine.tokenize import FileTokenizer, clip_chunks, clip_segmenter

CONTEXT, POOLED = 256, 192
LETTERS = ["<pad>", "</s>", "<unk>", "\u2581", "a", "b", "c", "d", "e", "\u2581a", "\u2581red", "\u2581car"]


def unigram() -> str:
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(LETTERS)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return str(tokenizer.to_str())


def make_clip_l() -> CLIPText:
    return CLIPText(CLIPConfig(width=64, depth=3, mlp=96)).eval().requires_grad_(False)


def make_clip_g() -> CLIPText:
    config = CLIPConfig(width=128, depth=3, mlp=96, projection=128, quick_gelu=False)
    return CLIPText(config).eval().requires_grad_(False)


def make_t5() -> T5Encoder:
    config = T5Config(width=CONTEXT, depth=2, heads=4, head_dim=16, mlp=64, vocabulary=len(LETTERS))
    return T5Encoder(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoder() -> SD3TextEncoder:
    torch.manual_seed(0)
    return SD3TextEncoder(
        CLIPPart(make_clip_l(), END_TOKEN),
        CLIPPart(make_clip_g(), 0),
        T5Part(make_t5(), FileTokenizer(unigram())),
        CONTEXT,
        POOLED,
    )


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def official_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Newer versions of the library drop a prefix from their modules that published files have."""
    return {
        name if name.startswith(("text_model.", "text_projection.")) else "text_model." + name: tensor
        for name, tensor in tensors.items()
        if not name.endswith("position_ids")
    }


@pytest.mark.parametrize("projected", [False, True], ids=["clip_l", "clip_g"])
def test_parity_of_clip_with_transformers(projected: bool) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.CLIPTextConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=1,
        intermediate_size=96,
        hidden_act="gelu" if projected else "quick_gelu",
        projection_dim=32,
        bos_token_id=49406,
        eos_token_id=END_TOKEN,
    )
    model = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    reference = model(config).eval()
    tensors = official_clip(reference.state_dict())
    ours = CLIPText(CLIPConfig.from_tensors(shapes(tensors))).eval().requires_grad_(False)
    ours.load_state_dict(tensors)
    ids = torch.tensor([[49406, 5, 6, 7, END_TOKEN, *[0 if projected else END_TOKEN] * 72]])

    with torch.no_grad():
        expected = reference(ids, output_hidden_states=True)
    hidden, pooled = ours(ids)

    torch.testing.assert_close(hidden, expected.hidden_states[-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(pooled, expected[0] if projected else expected.pooler_output, atol=1e-5, rtol=0)


def test_parity_of_t5_with_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    config = transformers.T5Config(
        vocab_size=50,
        d_model=48,
        d_kv=16,
        d_ff=64,
        num_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    reference = transformers.T5EncoderModel(config).eval()
    tensors = {k: v for k, v in reference.state_dict().items() if k != "encoder.embed_tokens.weight"}
    ours = T5Encoder(T5Config.from_tensors(shapes(tensors))).eval().requires_grad_(False)
    ours.load_state_dict(tensors)
    ids = torch.randint(0, 50, (1, 300))

    with torch.no_grad():
        expected = reference(ids).last_hidden_state

    torch.testing.assert_close(ours(ids), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def clip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CLIP's vocabulary in the library's own files."""
    folder = tmp_path_factory.mktemp("clip")
    merges = gzip.decompress(files("keelbill.models").joinpath("clip", "merges.txt.gz").read_bytes()).decode()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(c) for c in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    pieces = letters + [c + "</w>" for c in letters] + ["".join(line.split()) for line in merges.splitlines()]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    return folder


def test_parity_of_clip_tokens_with_transformers(clip_files: Path) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.CLIPTokenizer.from_pretrained(clip_files)
    for prompt in (
        "a photo of a cat",
        "A Red CAR, made of fruit! it's 42 years old",
        "naïve café 字 🚗\n\ttabs",
        "don't (stop) [now] {ok} a_b-c",
        "",
    ):
        assert clip_segmenter()(prompt) == reference(prompt, add_special_tokens=False).input_ids


def library_clip(network: CLIPText) -> Any:
    """The library's network with the weights of ours."""
    import transformers

    config = network.config
    model = transformers.CLIPTextModelWithProjection(
        transformers.CLIPTextConfig(
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.width // 64,
            intermediate_size=config.mlp,
            hidden_act="quick_gelu" if config.quick_gelu else "gelu",
            projection_dim=config.projection or config.width,
            bos_token_id=49406,
            eos_token_id=END_TOKEN,
        )
    )
    # SD3's CLIP-L has no projection; the library's has one, so it must change nothing.
    identity = {"text_projection.weight": torch.eye(config.width)} if config.projection is None else {}
    model.load_state_dict(network.state_dict() | identity)
    return model.eval()


def library_t5(network: T5Encoder) -> Any:
    """The library's network with the weights of ours."""
    import transformers

    config = network.config
    model = transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=config.vocabulary,
            d_model=config.width,
            d_kv=config.head_dim,
            d_ff=config.mlp,
            num_layers=config.depth,
            num_heads=config.heads,
            feed_forward_proj="gated-gelu",
        )
    )
    tensors = network.state_dict()
    model.load_state_dict(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"]})
    return model.eval()


@pytest.mark.parametrize("prompt", ["a red car", "", "A photo of a cat, 4k " * 3])
def test_parity_of_the_whole_with_the_diffusers_pipeline(
    encoder: SD3TextEncoder, clip_files: Path, prompt: str
) -> None:
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    assert encoder.clip_l is not None
    assert encoder.clip_g is not None
    assert encoder.t5 is not None
    pieces = Tokenizer.from_str(unigram())
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    load = transformers.CLIPTokenizer.from_pretrained
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer=None,
        scheduler=None,
        vae=None,
        text_encoder=library_clip(encoder.clip_l.network),
        tokenizer=load(clip_files, model_max_length=77, pad_token="<|endoftext|>"),
        text_encoder_2=library_clip(encoder.clip_g.network),
        tokenizer_2=load(clip_files, model_max_length=77, pad_token="!"),
        text_encoder_3=library_t5(encoder.t5.network),
        tokenizer_3=transformers.PreTrainedTokenizerFast(
            tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", model_max_length=512
        ),
    )
    with torch.no_grad():
        context, negative, pooled, negative_pooled = pipeline.encode_prompt(
            prompt, None, None, device="cpu", negative_prompt="", max_sequence_length=256
        )
    t5 = T5Part(encoder.t5.network, encoder.t5.segment, 256)
    ours = SD3TextEncoder(encoder.clip_l, encoder.clip_g, t5, CONTEXT, POOLED)

    found, empty = ours.encode([prompt, ""])

    torch.testing.assert_close(found.context, context[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled, pooled[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(empty.context, negative[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(empty.pooled, negative_pooled[0], atol=1e-5, rtol=0)


def test_buckets_reach_128_places() -> None:
    buckets = relative_buckets(200)
    assert buckets[0, 0] == 0
    assert buckets[5, 0] == 5
    assert buckets[0, 5] == 16 + 5
    assert buckets[150, 0] == 15
    assert buckets[0, 199] == 31


class TestClipChunks:
    def test_short_prompt_is_one_chunk(self) -> None:
        assert clip_chunks("a photo of a cat") == [[(320, 1.0), (1125, 1.0), (539, 1.0), (320, 1.0), (2368, 1.0)]]

    def test_empty_prompt_is_one_empty_chunk(self) -> None:
        assert clip_chunks("") == [[]]

    def test_long_prompt_goes_on_in_the_next_chunk(self) -> None:
        assert [len(chunk) for chunk in clip_chunks("cat " * 80)] == [75, 5]

    def test_a_word_is_not_cut_at_the_border(self) -> None:
        word = len(clip_segmenter()("rhododendron"))
        assert word > 1
        assert [len(chunk) for chunk in clip_chunks("cat " * 74 + "rhododendron")] == [74, word]

    def test_an_endless_word_is_cut(self) -> None:
        lengths = [len(chunk) for chunk in clip_chunks("z" * 1000)]
        assert all(length == 75 for length in lengths[:-1])


class TestAssembly:
    def test_shapes(self, encoder: SD3TextEncoder) -> None:
        (found,) = encoder.encode(["a red car"])
        assert found.context.shape == (77 + 77, CONTEXT)
        assert found.pooled.shape == (POOLED,)
        assert not found.context[:77, POOLED:].any()

    @pytest.mark.parametrize("length", [256, 512])
    def test_fixed_t5_length(self, encoder: SD3TextEncoder, length: int) -> None:
        assert encoder.t5 is not None
        part = T5Part(encoder.t5.network, encoder.t5.segment, 256 if length == 256 else 512)
        assert part.encode("a red car").shape == (length, CONTEXT)

    def test_t5_grows_with_the_prompt_up_to_512(self, encoder: SD3TextEncoder) -> None:
        assert encoder.t5 is not None
        assert encoder.t5.encode("car" + " car" * 98).shape == (100, CONTEXT)
        assert encoder.t5.encode("car" + " car" * 998).shape == (512, CONTEXT)

    def test_without_t5_its_tokens_are_zero(self, encoder: SD3TextEncoder) -> None:
        partial = SD3TextEncoder(encoder.clip_l, encoder.clip_g, None, CONTEXT, POOLED)
        full, found = encoder.encode(["a car"])[0], partial.encode(["a car"])[0]
        assert torch.equal(found.context[:77], full.context[:77])
        assert not found.context[77:].any()
        assert torch.equal(found.pooled, full.pooled)

    def test_without_clip_l_its_channels_are_zero(self, encoder: SD3TextEncoder) -> None:
        found = SD3TextEncoder(None, encoder.clip_g, encoder.t5, CONTEXT, POOLED).encode(["a car"])[0]
        full = encoder.encode(["a car"])[0]
        assert not found.context[:77, :64].any()
        assert torch.equal(found.context[:77, 64:], full.context[:77, 64:])
        assert not found.pooled[:64].any()
        assert torch.equal(found.pooled[64:], full.pooled[64:])

    def test_without_clip_g_its_channels_are_zero(self, encoder: SD3TextEncoder) -> None:
        found = SD3TextEncoder(encoder.clip_l, None, None, CONTEXT, POOLED).encode(["a car"])[0]
        assert found.context.shape == (154, CONTEXT)
        assert not found.context[:, 64:].any()
        assert not found.pooled[64:].any()

    def test_t5_alone(self, encoder: SD3TextEncoder) -> None:
        found = SD3TextEncoder(None, None, encoder.t5, CONTEXT, POOLED).encode(["a car"])[0]
        assert not found.context[:77].any()
        assert not found.pooled.any()
        assert torch.equal(found.context[77:], encoder.encode(["a car"])[0].context[77:])

    def test_no_encoder_at_all(self) -> None:
        with pytest.raises(BadWeights, match="no text encoder"):
            SD3TextEncoder(None, None, None)

    def test_encoders_of_the_wrong_width(self, encoder: SD3TextEncoder) -> None:
        with pytest.raises(BadWeights, match="64 \\+ 128 pooled"):
            SD3TextEncoder(encoder.clip_l, encoder.clip_g, None, CONTEXT, 2048)
        with pytest.raises(BadWeights, match="256 wide"):
            SD3TextEncoder(None, None, encoder.t5, 4096, POOLED)

    def test_weights_move_only_their_tokens(self, encoder: SD3TextEncoder) -> None:
        plain, heavier = encoder.encode(["a red car", "a (red:1.5) car"])
        moved = (plain.context != heavier.context).any(1).nonzero().flatten().tolist()
        assert moved[0] == 2
        assert all(index == 2 or index >= 77 for index in moved)
        assert torch.equal(plain.pooled, heavier.pooled)

    def test_weight_zero_is_the_empty_prompts_token(self, encoder: SD3TextEncoder) -> None:
        gone, empty = encoder.encode(["a (red:0.0) car", ""])
        torch.testing.assert_close(gone.context[2], empty.context[2], atol=1e-6, rtol=0)

    def test_long_prompts_lengthen_the_context(self, encoder: SD3TextEncoder) -> None:
        assert encoder.encode(["car" + " car" * 79])[0].context.shape == (2 * 77 + 81, CONTEXT)

    def test_each_encoder_may_read_its_own_text(self, encoder: SD3TextEncoder) -> None:
        found = encoder.encode_parts("cat " * 80, "a", "a")
        assert found.context.shape == (2 * 77 + 77, CONTEXT)


class TestLoading:
    def store(self, folder: Path, tokenizer: bool = True) -> Path:
        torch.manual_seed(0)
        tensors: dict[str, Tensor] = {}
        for name, network in (("clip_l", make_clip_l()), ("clip_g", make_clip_g()), ("t5xxl", make_t5())):
            tensors |= {f"text_encoders.{name}.transformer.{k}": v for k, v in network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        if tokenizer:
            (folder / "tokenizer_3").mkdir()
            (folder / "tokenizer_3" / "tokenizer.json").write_text(unigram(), encoding="utf-8")
        return folder / "model.safetensors"

    def test_single_file_with_all_three(self, tmp_path: Path, encoder: SD3TextEncoder) -> None:
        loaded = load_text_encoder(find_components(self.store(tmp_path)), CONTEXT, POOLED)
        found, expected = loaded.encode(["a red car"])[0], encoder.encode(["a red car"])[0]
        assert torch.equal(found.context[:77], expected.context[:77])
        torch.testing.assert_close(found.context[77:], expected.context[77:], atol=0.1, rtol=0)  # T5 is in bf16

    def test_t5_without_tokeniser_says_where_to_put_it(self, tmp_path: Path) -> None:
        components = find_components(self.store(tmp_path, tokenizer=False))
        with pytest.raises(BadWeights, match=r"tokenizer_3/tokenizer\.json"):
            load_text_encoder(components, CONTEXT, POOLED)

    def test_unknown_t5_length(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="t5_length"):
            load_text_encoder(find_components(self.store(tmp_path)), CONTEXT, POOLED, t5_length=100)  # type: ignore[arg-type]
