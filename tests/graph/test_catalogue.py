"""The nodes for pictures, masks and values as workflows of others know them: names, order, types and ranges."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from keelbill.graph.definition import definition
from keelbill.graph.registry import load_builtin, nodes, register

WIRE = {
    "LoadImage": ("image:input^", "IMAGE MASK"),
    "LoadImageMask": ("image:input^ channel{alpha,red,green,blue}", "MASK"),
    "LoadImageOutput": ("image:output^", "IMAGE MASK"),
    "SaveImage": ("images:IMAGE filename_prefix=ComfyUI", ""),
    "PreviewImage": ("images:IMAGE", ""),
    "SaveImageWebsocket": ("images:IMAGE", ""),
    "ImageScale": (
        "image:IMAGE upscale_method{nearest-exact,bilinear,area,bicubic,lanczos} "
        "width=512[0,16384] height=512[0,16384] crop{disabled,center}",
        "IMAGE",
    ),
    "ImageScaleBy": (
        "image:IMAGE upscale_method{nearest-exact,bilinear,area,bicubic,lanczos} scale_by=1.0[0.01,8.0]",
        "IMAGE",
    ),
    "ImageScaleToTotalPixels": (
        "image:IMAGE upscale_method{nearest-exact,bilinear,area,bicubic,lanczos} "
        "megapixels=1.0[0.01,16.0] resolution_steps=1[1,256]",
        "IMAGE",
    ),
    "ImageUpscaleWithModel": ("upscale_model:UPSCALE_MODEL image:IMAGE", "IMAGE"),
    "ImagePadForOutpaint": (
        "image:IMAGE left=0[0,16384] top=0[0,16384] right=0[0,16384] bottom=0[0,16384] feathering=40[0,16384]",
        "IMAGE MASK",
    ),
    "ImageInvert": ("image:IMAGE", "IMAGE"),
    "ImageBatch": ("image1:IMAGE image2:IMAGE", "IMAGE"),
    "EmptyImage": ("width=512[1,16384] height=512[1,16384] batch_size=1[1,4096] color=0[0,16777215]", "IMAGE"),
    "Canny": ("image:IMAGE low_threshold=0.4[0.01,0.99] high_threshold=0.8[0.01,0.99]", "IMAGE"),
    "ImageBlur": ("image:IMAGE blur_radius=1[1,31] sigma=1.0[0.1,10.0]", "IMAGE"),
    "ImageCrop": ("image:IMAGE width=512[1,16384] height=512[1,16384] x=0[0,16384] y=0[0,16384]", "IMAGE"),
    "ImageCompositeMasked": (
        "destination:IMAGE source:IMAGE x=0[0,16384] y=0[0,16384] resize_source=False ?mask:MASK",
        "IMAGE",
    ),
    "GetImageSize": ("image:IMAGE", "INT.width INT.height INT.batch_size"),
    "MaskToImage": ("mask:MASK", "IMAGE"),
    "ImageToMask": ("image:IMAGE channel{red,green,blue,alpha}", "MASK"),
    "ImageColorToMask": ("image:IMAGE color=0[0,16777215]", "MASK"),
    "InvertMask": ("mask:MASK", "MASK"),
    "GrowMask": ("mask:MASK expand=0[-16384,16384] tapered_corners=True", "MASK"),
    "FeatherMask": ("mask:MASK left=0[0,16384] top=0[0,16384] right=0[0,16384] bottom=0[0,16384]", "MASK"),
    "SolidMask": ("value=1.0[0.0,1.0] width=512[1,16384] height=512[1,16384]", "MASK"),
    "MaskComposite": (
        "destination:MASK source:MASK x=0[0,16384] y=0[0,16384] operation{multiply,add,subtract,and,or,xor}",
        "MASK",
    ),
    "CropMask": ("mask:MASK x=0[0,16384] y=0[0,16384] width=512[1,16384] height=512[1,16384]", "MASK"),
    "ThresholdMask": ("mask:MASK value=0.5[0.0,1.0]", "MASK"),
    "JoinImageWithAlpha": ("image:IMAGE alpha:MASK", "IMAGE"),
    "SplitImageWithAlpha": ("image:IMAGE", "IMAGE MASK"),
    "PrimitiveString": ("value=", "STRING"),
    "PrimitiveStringMultiline": ("value=", "STRING"),
    "PrimitiveInt": ("value=0[-9223372036854775808,9223372036854775807]", "INT"),
    "PrimitiveFloat": ("value=0.0[-9223372036854775808,9223372036854775807]", "FLOAT"),
    "PrimitiveBoolean": ("value=False", "BOOLEAN"),
    "PreviewAny": ("source:*", ""),
    "StringConcatenate": ("string_a= string_b= delimiter=", "STRING"),
}
OUTPUTS = {"SaveImage", "PreviewImage", "SaveImageWebsocket", "PreviewAny"}
DISPLAY = {
    "LoadImage": ("Load Image", "image"),
    "LoadImageMask": ("Load Image (as Mask)", "mask"),
    "LoadImageOutput": ("Load Image (from Outputs)", "image"),
    "SaveImage": ("Save Image", "image"),
    "PreviewImage": ("Preview Image", "image"),
    "SaveImageWebsocket": ("SaveImageWebsocket", "api/image"),
    "ImageScale": ("Upscale Image", "image/upscaling"),
    "ImageScaleBy": ("Upscale Image By", "image/upscaling"),
    "ImageScaleToTotalPixels": ("ImageScaleToTotalPixels", "image/upscaling"),
    "ImageUpscaleWithModel": ("Upscale Image (using Model)", "image/upscaling"),
    "ImagePadForOutpaint": ("Pad Image for Outpainting", "image"),
    "ImageInvert": ("Invert Image", "image"),
    "ImageBatch": ("Batch Images", "image"),
    "EmptyImage": ("EmptyImage", "image"),
    "Canny": ("Canny", "image/preprocessors"),
    "ImageBlur": ("ImageBlur", "image/postprocessing"),
    "ImageCrop": ("Image Crop", "image/transform"),
    "ImageCompositeMasked": ("ImageCompositeMasked", "image"),
    "GetImageSize": ("Get Image Size", "image"),
    "MaskToImage": ("Convert Mask to Image", "mask"),
    "ImageToMask": ("Convert Image to Mask", "mask"),
    "ImageColorToMask": ("ImageColorToMask", "mask"),
    "InvertMask": ("InvertMask", "mask"),
    "GrowMask": ("Grow Mask", "mask"),
    "FeatherMask": ("FeatherMask", "mask"),
    "SolidMask": ("SolidMask", "mask"),
    "MaskComposite": ("MaskComposite", "mask"),
    "CropMask": ("CropMask", "mask"),
    "ThresholdMask": ("ThresholdMask", "mask"),
    "JoinImageWithAlpha": ("Join Image with Alpha", "mask/compositing"),
    "SplitImageWithAlpha": ("Split Image with Alpha", "mask/compositing"),
    "PrimitiveString": ("String", "utils/primitive"),
    "PrimitiveStringMultiline": ("String (Multiline)", "utils/primitive"),
    "PrimitiveInt": ("Int", "utils/primitive"),
    "PrimitiveFloat": ("Float", "utils/primitive"),
    "PrimitiveBoolean": ("Boolean", "utils/primitive"),
    "PreviewAny": ("Preview as Text", "utils"),
    "StringConcatenate": ("Concatenate", "utils/string"),
}


class Shelf:
    def names(self, folder: str) -> list[str]:
        return [f"{folder}.png"]

    def has(self, folder: str, name: str) -> bool:
        return False


def described(name: str) -> dict[str, Any]:
    return definition(load_builtin()[name], Shelf())


def short(name: str) -> tuple[str, str]:
    """Write a class's inputs and outputs in one line each."""
    kind = load_builtin()[name]
    parts = []
    for each in kind.inputs:
        text = ("?" if each.is_optional else "") + each.name
        if each.folder:
            text += f":{each.folder}" + "^" * each.has_upload
        elif each.choices:
            text += "{" + ",".join(each.choices) + "}"
        elif not each.is_widget:
            text += f":{each.type}"
        else:
            text += f"={each.default}" + (f"[{each.low},{each.high}]" if each.low is not None else "")
        parts.append(text)
    return " ".join(parts), " ".join(f"{each.type}.{each.name}".rstrip(".") for each in kind.outputs)


@pytest.mark.parametrize("name", WIRE)
def test_inputs_and_outputs(name: str) -> None:
    assert short(name) == WIRE[name]


@pytest.mark.parametrize("name", DISPLAY)
def test_place_in_the_menu(name: str) -> None:
    kind = load_builtin()[name]

    assert (kind.display_name or kind.name, kind.category) == DISPLAY[name]
    assert kind.is_output == (name in OUTPUTS)


def test_marks() -> None:
    assert load_builtin()["ImageBatch"].is_deprecated
    assert load_builtin()["LoadImageOutput"].is_experimental


def test_hidden_values() -> None:
    given = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

    assert described("SaveImage")["input"]["hidden"] == given
    assert described("PreviewImage")["input"]["hidden"] == given
    assert described("GetImageSize")["input"]["hidden"] == {"unique_id": "UNIQUE_ID"}


def test_upload_button_and_files() -> None:
    kind, options = described("LoadImage")["input"]["required"]["image"]

    assert kind == ["input.png"]
    assert options["image_upload"] is True


def test_colour_fields() -> None:
    assert described("EmptyImage")["input"]["required"]["color"][1]["display"] == "color"
    assert described("ImageColorToMask")["input"]["required"]["color"][1]["display"] == "number"


@pytest.mark.parametrize("name", sorted(load_builtin()))
def test_every_built_in_node_can_be_described_and_explained(name: str) -> None:
    kind, facts = load_builtin()[name], described(name)

    assert kind.description.endswith(".")
    assert kind.category
    assert facts["api_node"] is False
    assert list(facts["input"]["required"]) == facts["input_order"]["required"]
    required = [each.is_optional for each in kind.inputs]
    assert required == sorted(required), "required inputs come first"
    assert len({each.name for each in kind.inputs}) == len(kind.inputs)


def test_names_are_taken_once() -> None:
    class Another(load_builtin()["LoadImage"]):  # type: ignore[misc]
        pass

    with pytest.raises(ValueError, match="'LoadImage' is registered twice"):
        register(Another)
    assert nodes()["LoadImage"] is not Another


def test_declarations_need_no_tensors() -> None:
    import subprocess

    code = "import sys; from keelbill.graph.registry import load_builtin; load_builtin(); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert told.stdout.strip() == "False"
