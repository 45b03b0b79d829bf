"""Reading weight files: good ones to the bit, bad ones with one sentence."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, UnsafeFile
from keelbill.engine.gguf import BLOCKED
from keelbill.engine.weights import check_finite, load_into, open_weights

Header = dict[str, object]


def write_raw(path: Path, header: Header | bytes, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> Header:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="no weight file"):
            open_weights(tmp_path / "none.safetensors")

    @pytest.mark.parametrize("size", [0, 1, 7, 8])
    def test_shorter_than_a_header(self, tmp_path: Path, size: int) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(b"\x02" + b"\0" * (size - 1) if size else b"")
        with pytest.raises(BadWeights, match="truncated"):
            open_weights(path)

    def test_truncated_in_the_data(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_file({"a": torch.ones(64)}, path)
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(BadWeights, match="truncated"):
            open_weights(path)

    def test_truncated_in_the_header(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_file({"a": torch.ones(64)}, path)
        path.write_bytes(path.read_bytes()[:30])
        with pytest.raises(BadWeights, match="truncated"):
            open_weights(path)

    def test_header_too_large(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="header would have"):
            open_weights(write_raw(tmp_path / "a.safetensors", {}, length=2**40))

    def test_header_is_not_json(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="not valid JSON"):
            open_weights(write_raw(tmp_path / "a.safetensors", b"{nonsense"))

    def test_header_nested_too_deeply(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="not valid JSON"):
            open_weights(write_raw(tmp_path / "a.safetensors", b'{"a":' * 200_000))

    def test_name_occurs_twice(self, tmp_path: Path) -> None:
        one = json.dumps(entry(0, 4, [1]))
        with pytest.raises(BadWeights, match="twice"):
            open_weights(write_raw(tmp_path / "a.safetensors", f'{{"a": {one}, "a": {one}}}'.encode(), b"0000"))

    def test_tensors_overlap(self, tmp_path: Path) -> None:
        header: Header = {"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}
        with pytest.raises(BadWeights, match="overlaps"):
            open_weights(write_raw(tmp_path / "a.safetensors", header, b"\0" * 12))

    def test_gap_between_tensors(self, tmp_path: Path) -> None:
        header: Header = {"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}
        with pytest.raises(BadWeights, match="gap"):
            open_weights(write_raw(tmp_path / "a.safetensors", header, b"\0" * 12))

    def test_bytes_after_the_last_tensor(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="belong to none"):
            open_weights(write_raw(tmp_path / "a.safetensors", {"a": entry(0, 4, [1])}, b"\0" * 12))

    @pytest.mark.parametrize(
        "value",
        [
            entry(0, 4, [2]),
            entry(4, 0, [1]),
            entry(-4, 0, [1]),
            entry(0, 4, [-1]),
            entry(0, 4, [2**60, 2**60]),
            entry(0, 4, [1], "F7"),
            {"dtype": "F32"},
            [],
            {"dtype": "F32", "shape": [1], "data_offsets": [0]},
            {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        ],
    )
    def test_malformed_entry(self, tmp_path: Path, value: object) -> None:
        with pytest.raises(BadWeights, match="'a'"):
            open_weights(write_raw(tmp_path / "a.safetensors", {"a": value}, b"\0" * 4))

    def test_metadata_is_not_text(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="metadata"):
            open_weights(write_raw(tmp_path / "a.safetensors", {"__metadata__": {"a": 1}}))

    def test_a_missing_tensor_names_the_nearest(self, tmp_path: Path) -> None:
        save_file({"layer.weight": torch.ones(1)}, tmp_path / "a.safetensors")
        with pytest.raises(BadWeights, match=r"nearest: 'layer\.weight'"):
            open_weights(tmp_path / "a.safetensors").read("layer.weights")


class TestPickles:
    @pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "m.pth", "m.bin", "m.PTH", "m.safetensors"])
    def test_torch_zip(self, tmp_path: Path, name: str) -> None:
        torch.save({"a": torch.ones(2)}, tmp_path / name)
        with pytest.raises(UnsafeFile, match="can run any program"):
            open_weights(tmp_path / name)

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_plain_pickle_under_a_safe_name(self, tmp_path: Path, protocol: int) -> None:
        path = tmp_path / "m.safetensors"
        path.write_bytes(pickle.dumps({"a": list(range(100))}, protocol=protocol))
        with pytest.raises(UnsafeFile):
            open_weights(path)

    def test_unsafe_suffix_with_safe_content(self, tmp_path: Path) -> None:
        save_file({"a": torch.ones(1)}, tmp_path / "m.bin")
        with pytest.raises(UnsafeFile, match=r"Get the \.safetensors version"):
            open_weights(tmp_path / "m.bin")

    def test_a_header_length_that_looks_like_a_pickle(self, tmp_path: Path) -> None:
        header: Header = {"a": entry(0, 4, [1])}
        text = json.dumps(header).encode().ljust(0x0280)
        path = write_raw(tmp_path / "m.safetensors", text, b"\0" * 4)
        assert path.read_bytes()[:2] == b"\x80\x02"
        assert open_weights(path).read("a").tolist() == [0.0]


class TestReading:
    @pytest.mark.parametrize(
        "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
    )
    def test_bits_survive(self, tmp_path: Path, dtype: torch.dtype) -> None:
        tensors = {"a": torch.arange(15).reshape(3, 5).to(dtype), "scalar": torch.tensor(1).to(dtype)}
        save_file(tensors, tmp_path / "a.safetensors", metadata={"who": "me"})
        file = open_weights(tmp_path / "a.safetensors")
        assert file.metadata == {"who": "me"}
        assert file.shapes == {"a": (3, 5), "scalar": ()}
        for name, tensor in tensors.items():
            assert file.read(name).dtype == dtype
            assert torch.equal(file.read(name), tensor)

    def test_cast_leaves_integers_alone(self, tmp_path: Path) -> None:
        save_file({"a": torch.ones(2), "i": torch.ones(2, dtype=torch.int64)}, tmp_path / "a.safetensors")
        file = open_weights(tmp_path / "a.safetensors")
        assert file.read("a", torch.bfloat16).dtype == torch.bfloat16
        assert file.read("i", torch.bfloat16).dtype == torch.int64

    def test_unaligned_and_empty_tensors(self, tmp_path: Path) -> None:
        header: Header = {"b": entry(0, 1, [1], "U8"), "a": entry(1, 9, [2]), "e": entry(9, 9, [0, 4])}
        data = b"\x07" + struct.pack("<2f", 1.5, -2.0)
        file = open_weights(write_raw(tmp_path / "a.safetensors", header, data))
        assert file.read("a").tolist() == [1.5, -2.0]
        assert file.read("e").shape == (0, 4)

    def test_writing_to_a_tensor_does_not_touch_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_file({"a": torch.ones(4)}, path)
        before = path.read_bytes()
        open_weights(path).read("a").zero_()
        assert path.read_bytes() == before


class TestEightBitFloats:
    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
    def test_plain(self, tmp_path: Path, dtype: torch.dtype) -> None:
        stored = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
        save_file({"a.weight": stored}, tmp_path / "a.safetensors")
        read = open_weights(tmp_path / "a.safetensors").read("a.weight")
        assert read.dtype == torch.bfloat16
        assert torch.equal(read, stored.to(torch.bfloat16))

    @pytest.mark.parametrize("leaf", ["scale_weight", "weight_scale"])
    @pytest.mark.parametrize("per_row", [False, True])
    def test_scaled(self, tmp_path: Path, leaf: str, per_row: bool) -> None:
        weight = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) * 0.02
        scale = weight.abs().amax(1) / 448 if per_row else weight.abs().amax() / 448
        stored = (weight / (scale[:, None] if per_row else scale)).to(torch.float8_e4m3fn)
        tensors = {"a.weight": stored, f"a.{leaf}": scale, "scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
        save_file({**tensors, "a.scale_input": torch.tensor(1.0)}, tmp_path / "a.safetensors")
        file = open_weights(tmp_path / "a.safetensors")
        assert set(file.shapes) == {"a.weight"}
        read = file.read("a.weight", torch.float32)
        assert torch.allclose(read, weight, rtol=0.07, atol=1e-4)

    def test_scale_of_blocks_is_refused(self, tmp_path: Path) -> None:
        tensors = {"a.weight": torch.zeros(4, 4).to(torch.float8_e4m3fn), "a.weight_scale": torch.ones(4, 2)}
        save_file(tensors, tmp_path / "a.safetensors")
        with pytest.raises(BadWeights, match="one for each row"):
            open_weights(tmp_path / "a.safetensors").read("a.weight")

    def test_eight_bit_integers_with_a_scale_for_each_row(self, tmp_path: Path) -> None:
        tensors = {
            "a.weight": torch.tensor([[1, -2], [3, 4]], dtype=torch.int8),
            "a.weight_scale": torch.tensor([0.5, 2.0]),
        }
        save_file(tensors, tmp_path / "a.safetensors")
        read = open_weights(tmp_path / "a.safetensors").read("a.weight", torch.float32)
        assert read.tolist() == [[0.5, -1.0], [6.0, 8.0]]

    def test_other_quantisation_is_refused(self, tmp_path: Path) -> None:
        save_file(
            {"a.weight": torch.zeros(4, 4, dtype=torch.uint8), "a.weight_scale": torch.ones(4)},
            tmp_path / "a.safetensors",
        )
        with pytest.raises(BadWeights, match="not supported"):
            open_weights(tmp_path / "a.safetensors").read("a.weight")


def write_shards(folder: Path, weight_map: dict[str, str]) -> Path:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


class TestShards:
    def test_reads_across_files(self, tmp_path: Path) -> None:
        save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
        save_file({"b": torch.zeros(3)}, tmp_path / "model-00002-of-00002.safetensors")
        index = write_shards(
            tmp_path, {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        )
        file = open_weights(index)
        assert file.shapes == {"a": (2,), "b": (3,)}
        assert file.read("b").tolist() == [0, 0, 0]

    @pytest.mark.parametrize(
        "shard",
        [
            "../secret.safetensors",
            "/etc/secret.safetensors",
            "sub/a.safetensors",
            "..\\a.safetensors",
            "..",
            "",
            "a.json",
        ],
    )
    def test_leaving_the_folder(self, tmp_path: Path, shard: str) -> None:
        inner = tmp_path / "inner"
        (inner / "sub").mkdir(parents=True)
        for path in (tmp_path / "secret.safetensors", inner / "sub" / "a.safetensors"):
            save_file({"a": torch.ones(2)}, path)
        with pytest.raises(BadWeights, match="beside it"):
            open_weights(write_shards(inner, {"a": shard}))

    def test_pickled_shard(self, tmp_path: Path) -> None:
        with pytest.raises(UnsafeFile):
            open_weights(write_shards(tmp_path, {"a": "model.bin"}))

    def test_missing_shard(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="no such file"):
            open_weights(write_shards(tmp_path, {"a": "gone.safetensors"}))

    def test_index_and_shard_disagree(self, tmp_path: Path) -> None:
        save_file({"a": torch.ones(2)}, tmp_path / "s.safetensors")
        with pytest.raises(BadWeights, match="'b'"):
            open_weights(write_shards(tmp_path, {"a": "s.safetensors", "b": "s.safetensors"}))

    @pytest.mark.parametrize(
        "text", ["{}", '{"weight_map": {}}', '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', "[]"]
    )
    def test_malformed_index(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "m.safetensors.index.json"
        path.write_text(text)
        with pytest.raises(BadWeights):
            open_weights(path)


def small_module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


class TestLoadInto:
    def tensors(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        return {n: torch.randn(t.shape, generator=generator) for n, t in small_module().state_dict().items()}

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_fills_everything(self, device: str) -> None:
        module = small_module().to(device)
        load_into(module, self.tensors(), "network")
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, self.tensors()[name])

    def test_casts_to_what_the_module_declares(self) -> None:
        module = small_module().to(torch.bfloat16).to("meta")
        load_into(module, self.tensors(), "network")
        assert {t.dtype for t in module.state_dict().values()} == {torch.bfloat16}

    def test_missing_name_shows_the_nearest(self) -> None:
        tensors = self.tensors()
        tensors["0.weights"] = tensors.pop("0.weight")
        with pytest.raises(BadWeights, match=r"network lacks the tensor '0\.weight'; nearest: '0\.weights'"):
            load_into(small_module(), tensors, "network")

    def test_unexpected_name_shows_the_nearest(self) -> None:
        tensors = {**self.tensors(), "1.weigth": torch.ones(2)}
        with pytest.raises(BadWeights, match=r"unexpected tensor '1\.weigth'; nearest: '1\.weight'"):
            load_into(small_module(), tensors, "network")

    def test_wrong_shape(self) -> None:
        tensors = {**self.tensors(), "0.weight": torch.ones(3, 2)}
        with pytest.raises(BadWeights, match=r"'0\.weight' with shape \(3, 2\); it must be \(2, 3\)"):
            load_into(small_module(), tensors, "network")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_damaged_values_change_nothing(self, value: float) -> None:
        tensors = self.tensors()
        tensors["1.bias"][1] = value
        module = small_module()
        before = {n: t.clone() for n, t in module.state_dict().items()}
        with pytest.raises(BadWeights, match=r"'1\.bias' holds NaN or infinite"):
            load_into(module, tensors, "network")
        assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())

    def test_damage_in_the_last_chunk(self) -> None:
        tensor = torch.zeros(2**22 + 3, dtype=torch.float16)
        tensor[-1] = float("nan")
        with pytest.raises(BadWeights):
            check_finite({"a": tensor}, "network")

    def test_empty_tensor_is_finite(self) -> None:
        check_finite({"a": torch.zeros(0, 3)}, "network")


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def write_gguf(path: Path, name: str, kind: int, shape: tuple[int, ...], data: bytes, original: list[int]) -> Path:
    info = gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
    info += struct.pack("<IQ", kind, 0)
    values = gguf_string("general.architecture") + struct.pack("<I", 8) + gguf_string("sd3")
    values += gguf_string(f"comfy.gguf.orig_shape.{name}") + struct.pack("<IIQ", 9, 5, len(original))
    values += struct.pack(f"<{len(original)}i", *original)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + values + info
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def half(value: float) -> bytes:
    return struct.pack("<e", value)


class TestGguf:
    """Blocks of 32 weights, written by hand from the format's description."""

    def blocks(self, code: str, q: list[int]) -> tuple[bytes, list[float]]:
        low = [v & 15 for v in q]
        nibbles = bytes(low[i] | low[i + 16] << 4 for i in range(16))
        high = struct.pack("<I", sum((v >> 4 & 1) << i for i, v in enumerate(q)))
        match code:
            case "Q4_0":
                return half(0.5) + nibbles, [0.5 * (v - 8) for v in q]
            case "Q4_1":
                return half(0.5) + half(-2) + nibbles, [0.5 * v - 2 for v in q]
            case "Q5_0":
                return half(0.5) + high + nibbles, [0.5 * (v - 16) for v in q]
            case "Q5_1":
                return half(0.5) + half(-2) + high + nibbles, [0.5 * v - 2 for v in q]
        return half(0.5) + struct.pack("<32b", *(v - 128 for v in q)), [0.5 * (v - 128) for v in q]

    @pytest.mark.parametrize("kind", sorted(BLOCKED))
    def test_blocks(self, tmp_path: Path, kind: int) -> None:
        code, size = BLOCKED[kind]
        top = {"4": 16, "5": 32, "8": 256}[code[1]]
        data, expected = b"", list[float]()
        for row in range(2):
            block, values = self.blocks(code, [(7 * i + row) % top for i in range(32)])
            assert len(block) == size
            data, expected = data + block, expected + values
        path = write_gguf(tmp_path / "m.gguf", "a.weight", kind, (2, 32), data, [64])
        file = open_weights(path)
        assert file.shapes == {"a.weight": (64,)}
        assert file.metadata["general.architecture"] == "sd3"
        assert file.read("a.weight", torch.float32).tolist() == expected
        assert file.read("a.weight").dtype == torch.bfloat16

    def test_plain_types(self, tmp_path: Path) -> None:
        for kind, dtype in ((0, torch.float32), (1, torch.float16), (30, torch.bfloat16)):
            tensor = torch.arange(8).to(dtype)
            data = tensor.view(torch.uint8).numpy().tobytes()
            file = open_weights(write_gguf(tmp_path / "m.gguf", "a", kind, (8,), data, [2, 4]))
            assert torch.equal(file.read("a"), tensor.view(2, 4))

    def test_unsupported_type(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match=r"type 14; supported are F32.*Q8_0"):
            open_weights(write_gguf(tmp_path / "m.gguf", "a", 14, (256,), b"\0" * 210, [256]))

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        whole = write_gguf(tmp_path / "m.gguf", "a", 0, (8,), b"\0" * 32, [8]).read_bytes()
        for size in (4, 8, 20, 40, 90, 140, len(whole) - 1):
            (tmp_path / "cut.gguf").write_bytes(whole[:size])
            with pytest.raises(BadWeights):
                open_weights(tmp_path / "cut.gguf")

    def test_huge_counts_are_refused_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "m.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60))
        with pytest.raises(BadWeights, match="claims"):
            open_weights(tmp_path / "m.gguf")
