"""Small random models on disk, in the layouts that the loader reads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.minilm import MiniLM, MiniLMConfig
from keelbill.engine.text import MiniLMTextEncoder
from keelbill.engine.tokenize import FileTokenizer
from support.models import random_weights, transformer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "an", "red", "apple", "cat", "on", "blue"]
SMALL = MMDiTConfig(depth=3, width=192, pos_side=24, context_dim=64, pooled_dim=64)


def word_tokenizer() -> str:
    """Return the ``tokenizer.json`` of a WordPiece tokeniser that knows `WORDS` and the letters."""
    letters = [mark + chr(code) for code in range(ord("a"), ord("z") + 1) for mark in ("", "##")]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*WORDS, *letters]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return str(tokenizer.to_str())


def write_embedded(folder: Path) -> Path:
    """Write a small random model in the layout of the embedded model."""
    folder.mkdir(parents=True)
    network = transformer(SMALL)
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig(widths=(8, 12, 16)))
    random_weights(autoencoder)
    tokenizer = word_tokenizer()
    words = MiniLM(MiniLMConfig(vocabulary=80, positions=40, width=64, depth=2, mlp=96)).eval()
    random_weights(words, 1)
    text = MiniLMTextEncoder(words, FileTokenizer(tokenizer)).pack()
    for name, tensors in (
        ("transformer", network.state_dict()),
        ("vae", autoencoder.state_dict()),
        ("text_encoder", text),
    ):
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    config = {
        "format": 1,
        "latents": {"scale": [1.2] * 16, "shift": [0.1] * 16},
        "sampling": {"steps": 4, "cfg": 3.0, "sampler": "euler", "schedule": "trailing", "shift": 1.0},
        "native_side": 64,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_pickle(path: Path) -> Path:
    """Write a checkpoint in the old format that can run code when it is opened."""
    torch.save({"weight": torch.zeros(1)}, path)
    return path
