"""Writes the workflows that the graph editor offers to begin with, and paints their pictures on a running server.

python studio/graph_templates.py                    write the workflows anew
python studio/graph_templates.py URL KEY            and paint the pictures with the server's own model
python studio/graph_templates.py URL KEY NAME …     paint some of them
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
from PIL import Image, ImageDraw

from keelbill.graph.drawing import to_workflow
from keelbill.graph.registry import load_builtin

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "src/keelbill/api/comfy/templates"
MODEL: Final = "keelbill-mini.safetensors"
TURBO: Final = "keelbill-mini-turbo.safetensors"
PUBLISHED: Final = "sd3.5_large.safetensors"
EXAMPLE: Final = "example.png"
HOLE: Final = "example_hole.png"
SUBJECT: Final = "a house in a meadow"
SIDE: Final = 384
DATE: Final = "2026-11-22"

Graph = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Template:
    """One workflow.

    Attributes:
        name: Of its file.
        title: For people.
        description: One sentence.
        tags: For the editor's filter.
        graph: In the API format.
    """

    name: str
    title: str
    description: str
    tags: tuple[str, ...]
    graph: Graph


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """Return a node."""
    return {"class_type": kind, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def words(prompt: str, clip: list[Any], negative: str = "") -> Graph:
    """Return the nodes of prompt and negative prompt."""
    return {
        "positive": node("CLIPTextEncode", "Prompt", text=prompt, clip=clip),
        "negative": node("CLIPTextEncode", "Negative prompt", text=negative, clip=clip),
    }


def sampler(latent: list[Any], model: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a sampler with our model's usual values."""
    values: dict[str, Any] = {
        "model": model or ["model", 0],
        "positive": ["positive", 0],
        "negative": ["negative", 0],
        "latent_image": latent,
        "seed": 1,
        "steps": 28,
        "cfg": 4.0,
        "sampler_name": "euler",
        "scheduler": "sgm_uniform",
        "denoise": 1.0,
    }
    return node("KSampler", **(values | more))


def seen(latent: list[Any], prefix: str, vae: list[Any] | None = None) -> Graph:
    """Return the nodes that make pictures of latents and save them."""
    return {
        "decode": node("VAEDecode", samples=latent, vae=vae or ["model", 2]),
        "save": node("SaveImage", filename_prefix=prefix, images=["decode", 0]),
    }


def checkpoint(name: str = MODEL) -> Graph:
    """Return the loader of a whole model."""
    return {"model": node("CheckpointLoaderSimple", ckpt_name=name)}


def empty(side: int = 1024) -> Graph:
    """Return an empty latent."""
    return {"size": node("EmptySD3LatentImage", "Size", width=side, height=side, batch_size=1)}


def text_to_image() -> Graph:
    """Return the usual workflow."""
    return (
        checkpoint()
        | words(SUBJECT, ["model", 1])
        | empty()
        | {"sampler": sampler(["size", 0])}
        | seen(["sampler", 0], "text_to_image")
    )


def turbo() -> Graph:
    """Return the workflow of the quick model."""
    quick = sampler(["size", 0], steps=4, cfg=1.0, scheduler="simple")
    return (
        checkpoint(TURBO)
        | words("a red car", ["model", 1])
        | empty()
        | {"sampler": quick}
        | seen(["sampler", 0], "turbo")
    )


def separate_encoders() -> Graph:
    """Return a workflow with parts from files of their own."""
    parts = {
        "model": node("UNETLoader", unet_name=MODEL, weight_dtype="default"),
        "texts": node("TripleCLIPLoader", clip_name1=MODEL, clip_name2=MODEL, clip_name3=MODEL),
        "vae": node("VAELoader", vae_name=MODEL),
    }
    return (
        parts
        | words("a mushroom in a forest", ["texts", 0])
        | empty()
        | {"sampler": sampler(["size", 0])}
        | seen(["sampler", 0], "separate_encoders", ["vae", 0])
    )


def image_to_image() -> Graph:
    """Return a workflow that begins with a picture."""
    source = {
        "picture": node("LoadImage", image=EXAMPLE),
        "encode": node("VAEEncode", pixels=["picture", 0], vae=["model", 2]),
    }
    again = sampler(["encode", 0], denoise=0.7)
    return (
        checkpoint()
        | words("a castle in a meadow", ["model", 1])
        | source
        | {"sampler": again}
        | seen(["sampler", 0], "image_to_image")
    )


def inpaint() -> Graph:
    """Return a workflow that fills a hole."""
    source = {
        "picture": node("LoadImage", "Picture with a hole", image=HOLE),
        "encode": node(
            "VAEEncodeForInpaint", pixels=["picture", 0], vae=["model", 2], mask=["picture", 1], grow_mask_by=6
        ),
    }
    return (
        checkpoint()
        | words("a red car", ["model", 1])
        | source
        | {"sampler": sampler(["encode", 0])}
        | seen(["sampler", 0], "inpaint")
    )


def outpaint() -> Graph:
    """Return a workflow that widens a picture."""
    source = {
        "picture": node("LoadImage", image=EXAMPLE),
        "wider": node("ImagePadForOutpaint", image=["picture", 0], left=0, top=0, right=256, bottom=0, feathering=40),
        "encode": node("VAEEncodeForInpaint", pixels=["wider", 0], vae=["model", 2], mask=["wider", 1], grow_mask_by=6),
    }
    return (
        checkpoint()
        | words(SUBJECT, ["model", 1])
        | source
        | {"sampler": sampler(["encode", 0])}
        | seen(["sampler", 0], "outpaint")
    )


def lora() -> Graph:
    """Return a workflow with a changed model."""
    changed = {
        "lora": node(
            "LoraLoader",
            model=["model", 0],
            clip=["model", 1],
            lora_name="my-lora.safetensors",
            strength_model=1.0,
            strength_clip=1.0,
        )
    }
    return (
        checkpoint()
        | changed
        | words(SUBJECT, ["lora", 1])
        | empty()
        | {"sampler": sampler(["size", 0], ["lora", 0])}
        | seen(["sampler", 0], "lora")
    )


def controlled(kind: str, hint: dict[str, Any]) -> Graph:
    """Return a workflow that follows the lines or the blurred shapes of a picture.

    Args:
        kind: Which ControlNet, as its file is named.
        hint: The node that makes what it looks at of the picture.
    """
    steering = {
        "picture": node("LoadImage", image=EXAMPLE),
        "larger": node(
            "ImageScale", image=["picture", 0], upscale_method="lanczos", width=1024, height=1024, crop="center"
        ),
        "hint": hint,
        "looked": node("PreviewImage", images=["hint", 0]),
        "control": node("ControlNetLoader", control_net_name=f"sd3.5_large_controlnet_{kind}.safetensors"),
        "steered": node(
            "ControlNetApplyAdvanced",
            positive=["positive", 0],
            negative=["negative", 0],
            control_net=["control", 0],
            image=["hint", 0],
            vae=["model", 2],
            strength=0.8,
        ),
    }
    return (
        checkpoint(PUBLISHED)
        | words("a house in a meadow at night", ["model", 1])
        | steering
        | empty()
        | {"sampler": sampler(["size", 0], positive=["steered", 0], negative=["steered", 1])}
        | seen(["sampler", 0], kind)
    )


def upscale() -> Graph:
    """Return a workflow that paints twice and enlarges."""
    second = {
        "first": sampler(["size", 0]),
        "larger": node("LatentUpscaleBy", samples=["first", 0], upscale_method="bicubic", scale_by=1.5),
        "second": sampler(["larger", 0], denoise=0.5, steps=20),
    }
    enlarged = {
        "decode": node("VAEDecode", samples=["second", 0], vae=["model", 2]),
        "enlarger": node("UpscaleModelLoader", model_name="keelbill-x4.safetensors"),
        "enlarged": node("ImageUpscaleWithModel", upscale_model=["enlarger", 0], image=["decode", 0]),
        "fitted": node(
            "ImageScale", image=["enlarged", 0], upscale_method="lanczos", width=1536, height=1536, crop="disabled"
        ),
        "save": node("SaveImage", filename_prefix="upscale", images=["fitted", 0]),
    }
    return checkpoint() | words("a rocket", ["model", 1]) | empty(512) | second | enlarged


def api_nodes() -> Graph:
    """Return a workflow of one node that does it all."""
    return {
        "picture": node(
            "Stability SD3",
            prompt="a teapot on a wooden table",
            model="sd3.5-large",
            mode="text-to-image",
            seed=1,
        ),
        "save": node("SaveImage", filename_prefix="api_nodes", images=["picture", 0]),
    }


TEMPLATES: Final = (
    Template(
        "text_to_image", "Text to image", "A picture from words, with the model that comes along.",
        ("Text to image",), text_to_image(),
    ),
    Template("turbo", "Turbo", "A picture in four steps.", ("Text to image",), turbo()),
    Template(
        "separate_encoders", "Separate encoders", "Network, text encoders and autoencoder from files of their own.",
        ("Text to image",), separate_encoders(),
    ),
    Template(
        "image_to_image", "Image to image", "A picture that keeps the shape of another.",
        ("Image to image",), image_to_image(),
    ),
    Template("inpaint", "Inpaint", "Paint anew what is transparent in a picture.", ("Inpaint",), inpaint()),
    Template("outpaint", "Outpaint", "Go on painting beyond an edge.", ("Outpaint",), outpaint()),
    Template(
        "upscale", "Two passes", "A small picture, painted over at a larger size and enlarged.",
        ("Upscale",), upscale(),
    ),
    Template("api_nodes", "API nodes", "One node that does all of it.", ("API",), api_nodes()),
    Template("lora", "LoRA", "Change the model with a small file of your own.", ("LoRA",), lora()),
    Template(
        "canny", "Canny", "Follow the lines of a picture, with the ControlNet for them.", ("ControlNet",),
        controlled("canny", node("Canny", image=["larger", 0], low_threshold=0.05, high_threshold=0.12)),
    ),
    Template(
        "blur", "Blur", "Paint a blurred picture in detail, with the ControlNet for it.", ("ControlNet",),
        controlled("blur", node("ImageBlur", image=["larger", 0], blur_radius=31, sigma=10.0)),
    ),
)  # fmt: skip


def complete(graph: Graph) -> Graph:
    """Return a graph with the default of every field that it leaves out."""
    nodes = load_builtin()
    return {
        name: {
            **each,
            "inputs": {
                field.name: each["inputs"].get(field.name, field.default if field.default is not None else "")
                for field in nodes[each["class_type"]].inputs
                if field.name in each["inputs"] or field.is_widget
            },
        }
        for name, each in graph.items()
    }


def write() -> None:
    """Write all workflows and the catalogue."""
    for each in TEMPLATES:
        workflow = to_workflow(complete(each.graph), load_builtin())
        workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"keelbill:template:{each.name}"))
        (FOLDER / f"{each.name}.json").write_text(json.dumps(workflow, indent=1) + "\n", encoding="utf-8")
    shown = [
        {
            "name": each.name,
            "title": each.title,
            "description": each.description,
            "mediaType": "image",
            "mediaSubtype": "webp",
            "tags": list(each.tags),
            "models": [],
            "date": DATE,
        }
        for each in TEMPLATES
    ]
    catalogue = [{"moduleName": "default", "title": "Keelbill", "type": "image", "templates": shown}]
    (FOLDER / "catalogue.json").write_text(json.dumps(catalogue, indent=1) + "\n", encoding="utf-8")


class Server:
    """A running server."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/comfy", headers={"authorization": f"Bearer {key}"}, timeout=120)

    def offer(self, name: str) -> None:
        """Upload an example picture."""
        files = {"image": (name, (FOLDER / name).read_bytes())}
        self._http.post("/upload/image", files=files, data={"overwrite": "true"}).raise_for_status()

    def run(self, graph: Graph) -> Image.Image:
        """Run a graph and return its first picture."""
        answer = self._http.post("/prompt", json={"prompt": graph})
        if answer.is_error:
            raise SystemExit(answer.text)
        prompt_id = answer.json()["prompt_id"]
        while not (found := self._http.get(f"/history/{prompt_id}").json()):
            time.sleep(1)
        outputs = list(found[prompt_id]["outputs"].values())
        if not outputs:
            raise SystemExit(json.dumps(found[prompt_id]["status"], indent=1))
        first = outputs[0]["images"][0]
        return Image.open(BytesIO(self._http.get("/view", params=first).content))


def paint(server: Server, only: list[str]) -> None:
    """Paint the pictures."""
    if not (FOLDER / EXAMPLE).exists():
        whole = server.run(complete(text_to_image())).convert("RGB").resize((512, 512), Image.Resampling.LANCZOS)
        whole.save(FOLDER / EXAMPLE, optimize=True)
        hole = Image.new("L", whole.size, 255)
        ImageDraw.Draw(hole).ellipse((10, 290, 240, 500), fill=0)
        whole.putalpha(hole)
        whole.save(FOLDER / HOLE, optimize=True)
    for name in (EXAMPLE, HOLE):
        server.offer(name)
    for each in TEMPLATES:
        if each.name == "lora" or (only and each.name not in only):
            continue
        begun = time.monotonic()
        picture = server.run(complete(each.graph)).convert("RGB")
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(FOLDER / f"{each.name}-1.webp", quality=82, method=6)
        sys.stdout.write(f"{each.name}: {time.monotonic() - begun:.1f} s\n")
    if not only:
        (FOLDER / "lora-1.webp").write_bytes((FOLDER / "text_to_image-1.webp").read_bytes())


def main() -> None:
    """Do what the command line asks for."""
    write()
    if len(sys.argv) > 2:
        paint(Server(sys.argv[1].rstrip("/"), sys.argv[2]), sys.argv[3:])


if __name__ == "__main__":
    main()
