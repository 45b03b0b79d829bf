"""``keelbill generate``: pictures from a prompt, made here or by a server. Checks all before it loads anything."""

from __future__ import annotations

from pathlib import Path

import click

from keelbill.cli import _changes, _orders, _remote
from keelbill.cli._files import write_named, write_new
from keelbill.cli._orders import Order, slug
from keelbill.core.errors import InvalidInput
from keelbill.imaging.decode import ImageFormat


@click.command("generate")
@click.argument("prompt")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder; else a name from the prompt.")
@click.option("-m", "--model", help="Name of an installed model, or the path of a weight file or folder.")
@click.option("--sampler", help="How the steps are taken, for example euler or dpmpp_2m.")
@click.option("--schedule", help="How the noise levels are spaced, for example reference or simple.")
@click.option("--aspect-ratio", help="21:9, 16:9, 3:2, 5:4, 1:1, 4:5, 2:3, 9:16 or 9:21.")
@click.option("--size", help="WIDTHxHEIGHT in pixels, both multiples of 16; else the model's own size.")
@click.option("--seed", type=int, help="Number that decides the noise; else a random one.")
@click.option("--steps", type=int, help="Denoising steps, 1 to 1000; else the model's own number.")
@click.option("--cfg", type=float, help="How strongly the prompt is followed, 0 to 100; 1 or less is no guidance.")
@click.option("--shift", type=float, help="How many of the steps are spent on strong noise, above 0 to 100.")
@click.option("--dtype", help="Precision: auto, bfloat16, float16 or float32; else the setting's.")
@click.option("--lora", "loras", multiple=True, help="FILE[:STRENGTH] or NAME[:STRENGTH], -10 to 10; may be repeated.")
@click.option("--negative", default="", help="What the picture should not show.")
@click.option("--image", type=click.Path(path_type=Path), help="PNG, JPEG or WebP picture to start from.")
@click.option("--strength", type=float, help="How much of the image is painted anew, 0 to 1; 0.7, or 1 with a mask.")
@click.option("--mask", type=click.Path(path_type=Path), help="Picture that is white where the image is repainted.")
@click.option("--outpaint", help="LEFT,TOP,RIGHT,BOTTOM: pixels around the image to paint, 0 to 2000 each.")
@click.option(
    "-n", "--n", "count", type=int, default=1, show_default=True, help="How many pictures, with seeds in a row."
)
@click.option("--format", "kind", help="png, jpeg or webp; else by the output's name.")
@click.option("--server", help="Let the server at this address make them, instead of this machine.")
@click.option("--key", help="API key for --server, - to be asked; else KEELBILL_API_KEY or STABILITY_API_KEY.")
@click.option("--style", help="A look such as photographic or line-art; with --server only.")
def command(
    prompt: str,
    output: Path | None,
    model: str | None,
    sampler: str | None,
    schedule: str | None,
    aspect_ratio: str | None,
    size: str | None,
    seed: int | None,
    steps: int | None,
    cfg: float | None,
    shift: float | None,
    dtype: str | None,
    loras: tuple[str, ...],
    negative: str,
    image: Path | None,
    strength: float | None,
    mask: Path | None,
    outpaint: str | None,
    count: int,
    kind: str | None,
    server: str | None,
    key: str | None,
    style: str | None,
) -> None:
    """Make pictures from PROMPT.

    Prints the file, the seed and the seconds of each picture. The picture carries its recipe: `keelbill verify` makes
    it again. A file named with -o is replaced; a file under the default name never is.
    """
    if server is not None:
        _remote.refuse_local(sampler=sampler, schedule=schedule, size=size, steps=steps, shift=shift, dtype=dtype)
        _remote.refuse_local(lora=loras[0] if loras else None, outpaint=outpaint)
        wanted = _orders.check_format(kind, output)
        _orders.check_output(output)
        return _remote.generate(
            _remote.RemoteOrder(
                prompt=prompt,
                negative=negative,
                model=model,
                ratio=aspect_ratio,
                style=style,
                seed=seed,
                cfg=cfg,
                count=count,
                image=image,
                strength=strength,
                mask=mask,
                kind=wanted,
                output=output,
            ),
            server,
            key,
        )
    for field, given in (("key", key and "…"), ("style", style)):
        if given is not None:
            raise InvalidInput(field, given, "given together with server")
    shape = _orders.check_shape(size, aspect_ratio)
    _orders.check_numbers(steps=steps, cfg=cfg, count=count, shift=shift)
    _changes.check_dtype(dtype)
    margins = None if outpaint is None else _changes.check_margins(outpaint)
    _orders.check_text("prompt", prompt)
    _orders.check_text("negative", negative, empty=True)
    first = _orders.check_seed(seed, count)
    chosen = _orders.check_format(kind, output)
    _orders.check_output(output)
    _orders.check_recipe_fits(chosen, prompt, negative)
    from keelbill.core.settings import read_settings

    settings = read_settings()
    adapters = _changes.check_loras(loras, settings)
    source = _orders.check_source(image, mask, strength, max_bytes=settings.max_image_bytes)
    source = _changes.widened(source, margins, strength)
    order = Order(
        prompt=prompt,
        negative=negative,
        model=model or settings.model,
        shape=shape,
        seed=first,
        count=count,
        steps=steps,
        cfg=cfg,
        sampler=sampler,
        schedule=schedule,
        shift=shift,
        source=source,
        dtype=dtype,
        loras=adapters,
    )
    return _make(order, chosen, output)


def _make(order: Order, kind: ImageFormat, output: Path | None) -> None:
    """Make and write the pictures of an order, telling of each."""
    from keelbill.cli import _pictures
    from keelbill.cli._progress import progress_bar
    from keelbill.imaging.encode import encode

    _pictures.check_names(order.sampler, order.schedule)
    with progress_bar() as bar:
        bar.status(f"loading {Path(order.model).name}")
        with _pictures.changed(_pictures.load(order.model, order.dtype), order.loras) as model:
            for place in range(order.count):
                made = _pictures.make(model, order, place, bar.step)
                path = _write(encode(made.pixels, kind, made.recipe), kind, output, order, place)
                bar.print(f"{path}  seed {made.recipe.seed}  {made.seconds:.1f} s")


def _write(data: bytes, kind: ImageFormat, output: Path | None, order: Order, place: int) -> Path:
    if output is None or output.is_dir():
        return write_new(output or Path(), f"{slug(order.prompt)}-{order.seed + place}", kind.suffix, data)
    path = output if output.suffix else output.with_suffix(kind.suffix)
    return write_named(path if order.count == 1 else path.with_stem(f"{path.stem}-{place + 1}"), data)
