"""Nodes that paint: samplers in one piece, and the pieces that they are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keelbill.graph.node import MAX_SEED, Input, Node, Output, choice, integer, number, socket, switch, text
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

SAMPLER_NAMES: Final = (
    "euler", "euler_ancestral", "heun", "exp_heun_2_x0", "exp_heun_2_x0_sde", "dpm_2", "dpm_2_ancestral", "lms",
    "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "lcm", "ipndm", "ipndm_v", "deis",
    "res_multistep", "gradient_estimation", "er_sde", "seeds_2", "ddim", "uni_pc", "uni_pc_bh2",
)  # fmt: skip
"""Those that work, in the order of menus."""

SCHEDULER_NAMES: Final = (
    "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic",
    "kl_optimal",
)  # fmt: skip

_CUSTOM: Final = "sampling/custom_sampling"
_CUSTOM_MODULE: Final = "comfy_extras.nodes_custom_sampler"
_LATENTS: Final = (Output("LATENT", "output"), Output("LATENT", "denoised_output"))


def _seed(name: str) -> Input:
    return integer(name, 0, 0, MAX_SEED, control=True)


def _steps() -> Input:
    return integer("steps", 20, 1, 10000)


def _cfg() -> Input:
    return number("cfg", 8.0, 0.0, 100.0, 0.1, round=0.01)


def _denoise() -> Input:
    return number("denoise", 1.0, 0.0, 1.0)


@register
class KSampler(Node):
    """All of sampling in one node."""

    name = "KSampler"
    category = "sampling"
    description = "Paints: turns noise into a latent that follows the prompts."
    inputs = (
        socket("model", "MODEL"),
        _seed("seed"),
        _steps(),
        _cfg(),
        choice("sampler_name", SAMPLER_NAMES),
        choice("scheduler", SCHEDULER_NAMES),
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        socket("latent_image", "LATENT"),
        _denoise(),
    )
    outputs = (Output("LATENT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the painted latent."""
        from keelbill.graph.tensors import denoising
        from keelbill.graph.tensors.handles import Guider, Noise

        model = values["model"]
        levels = denoising.levels(context.models, model, values["scheduler"], values["steps"], values["denoise"])
        guider = Guider(model, values["positive"], values["negative"], values["cfg"])
        latent, noise = values["latent_image"], Noise(values["seed"])
        return denoising.denoise(context, guider, latent, noise, values["sampler_name"], levels)[:1]


@register
class KSamplerAdvanced(Node):
    """A part of a run."""

    name = "KSamplerAdvanced"
    display_name = "KSampler (Advanced)"
    category = "sampling"
    description = "Paints some of the steps of a run, so that another sampler may go on."
    inputs = (
        socket("model", "MODEL"),
        choice("add_noise", ("enable", "disable")),
        _seed("noise_seed"),
        _steps(),
        _cfg(),
        choice("sampler_name", SAMPLER_NAMES),
        choice("scheduler", SCHEDULER_NAMES),
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        socket("latent_image", "LATENT"),
        integer("start_at_step", 0, 0, 10000),
        integer("end_at_step", 10000, 0, 10000),
        choice("return_with_leftover_noise", ("disable", "enable")),
    )
    outputs = (Output("LATENT"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latent at the end of the part."""
        from keelbill.graph.tensors import denoising
        from keelbill.graph.tensors.handles import Guider, Noise

        model = values["model"]
        whole = denoising.levels(context.models, model, values["scheduler"], values["steps"])
        keeps_noise = values["return_with_leftover_noise"] == "enable"
        levels = denoising.cut(whole, values["start_at_step"], values["end_at_step"], keeps_noise=keeps_noise)
        guider = Guider(model, values["positive"], values["negative"], values["cfg"])
        noise = Noise(values["noise_seed"] if values["add_noise"] == "enable" else None)
        latent = values["latent_image"]
        return denoising.denoise(context, guider, latent, noise, values["sampler_name"], levels)[:1]


# ------------------------------------------------------------ changes of a model


@register
class ModelSamplingSD3(Node):
    """Another shift of the noise levels."""

    name = "ModelSamplingSD3"
    category = "advanced/model"
    description = "Shifts the noise levels: more of the run at high noise for larger numbers."
    module = "comfy_extras.nodes_model_advanced"
    inputs = (socket("model", "MODEL"), number("shift", 3.0, 0.0, 100.0))
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model with the shift."""
        from dataclasses import replace

        from keelbill.core.errors import InvalidInput

        if values["shift"] <= 0:
            raise InvalidInput("shift", values["shift"], "above 0")
        return (replace(values["model"], shift=float(values["shift"])),)


@register
class SkipLayerGuidanceSD3(Node):
    """Guidance by leaving out blocks."""

    name = "SkipLayerGuidanceSD3"
    category = "advanced/guidance"
    description = "Moves away from what the model paints without some of its blocks; improves bodies and hands."
    module = "comfy_extras.nodes_sd3"
    is_experimental = True
    inputs = (
        socket("model", "MODEL"),
        text("layers", "7, 8, 9"),
        number("scale", 3.0, 0.0, 10.0, 0.1),
        number("start_percent", 0.01, 0.0, 1.0, 0.001),
        number("end_percent", 0.15, 0.0, 1.0, 0.001),
    )
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model with the guidance."""
        return (_skipping(values["model"], values["layers"], values, rescale=0.0),)


@register
class SkipLayerGuidanceDiT(Node):
    """Guidance by leaving out blocks, for more kinds of models."""

    name = "SkipLayerGuidanceDiT"
    category = "advanced/guidance"
    description = "Moves away from what the model paints without some of its blocks."
    module = "comfy_extras.nodes_slg"
    is_experimental = True
    inputs = (
        socket("model", "MODEL"),
        text("double_layers", "7, 8, 9"),
        text("single_layers", "7, 8, 9", tooltip="Models of the SD3 family have none."),
        number("scale", 3.0, 0.0, 10.0, 0.1),
        number("start_percent", 0.01, 0.0, 1.0, 0.001),
        number("end_percent", 0.15, 0.0, 1.0, 0.001),
        number("rescaling_scale", 0.0, 0.0, 10.0),
    )
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model with the guidance."""
        return (_skipping(values["model"], values["double_layers"], values, rescale=values["rescaling_scale"]),)


def _skipping(model: Any, layers: str, values: dict[str, Any], *, rescale: float) -> Any:
    from dataclasses import replace

    from keelbill.graph.tensors.handles import SkipLayers

    chosen = frozenset(int(number) for number in re.findall(r"\d{1,4}", layers))
    skip = SkipLayers(chosen, values["scale"], values["start_percent"], values["end_percent"], rescale)
    return replace(model, skip=skip)


@register
class DifferentialDiffusion(Node):
    """Soft masks that let go of the picture by and by."""

    name = "DifferentialDiffusion"
    display_name = "Differential Diffusion"
    category = "_for_testing"
    description = "Paints the light parts of a soft mask longer than the dark ones."
    module = "comfy_extras.nodes_differential_diffusion"
    is_experimental = True
    inputs = (socket("model", "MODEL"), number("strength", 1.0, 0.0, 1.0, optional=True))
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model that treats masks so."""
        from dataclasses import replace

        return (replace(values["model"], release=float(values.get("strength", 1.0))),)


@register
class RescaleCFG(Node):
    """Guidance against burnt colours."""

    name = "RescaleCFG"
    category = "advanced/model"
    description = "Brings the contrast of strongly guided pictures back."
    module = "comfy_extras.nodes_model_advanced"
    inputs = (socket("model", "MODEL"), number("multiplier", 0.7, 0.0, 1.0))
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model with the correction."""
        from dataclasses import replace

        return (replace(values["model"], rescale=float(values["multiplier"])),)


@register
class PerturbedAttentionGuidance(Node):
    """Guidance by a look that does not see its whole."""

    name = "PerturbedAttentionGuidance"
    category = "model_patches/unet"
    description = "Moves away from what the model paints when parts of the picture do not see each other."
    module = "comfy_extras.nodes_pag"
    inputs = (socket("model", "MODEL"), number("scale", 3.0, 0.0, 100.0, round=0.01))
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model with the guidance."""
        from dataclasses import replace

        return (replace(values["model"], apart=float(values["scale"])),)


# ------------------------------------------------------------ the pieces of a sampler


@register
class CFGGuider(Node):
    """Two prompts and how strongly they count."""

    name = "CFGGuider"
    category = f"{_CUSTOM}/guiders"
    description = "Follows one prompt and avoids another."
    module = _CUSTOM_MODULE
    inputs = (
        socket("model", "MODEL"),
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        _cfg(),
    )
    outputs = (Output("GUIDER"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the guider."""
        from keelbill.graph.tensors.handles import Guider

        return (Guider(values["model"], values["positive"], values["negative"], values["cfg"]),)


@register
class BasicGuider(Node):
    """One prompt."""

    name = "BasicGuider"
    category = f"{_CUSTOM}/guiders"
    description = "Follows one prompt, without guidance."
    module = _CUSTOM_MODULE
    inputs = (socket("model", "MODEL"), socket("conditioning", "CONDITIONING"))
    outputs = (Output("GUIDER"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the guider."""
        from keelbill.graph.tensors.handles import Guider

        return (Guider(values["model"], values["conditioning"]),)


@register
class BasicScheduler(Node):
    """Noise levels of a run."""

    name = "BasicScheduler"
    category = f"{_CUSTOM}/schedulers"
    description = "Chooses the noise levels of a run."
    module = _CUSTOM_MODULE
    inputs = (
        socket("model", "MODEL"),
        choice("scheduler", SCHEDULER_NAMES),
        _steps(),
        _denoise(),
    )
    outputs = (Output("SIGMAS"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the levels."""
        from keelbill.graph.tensors import denoising

        return (
            denoising.levels(context.models, values["model"], values["scheduler"], values["steps"], values["denoise"]),
        )


@register
class KSamplerSelect(Node):
    """A way from noise to a latent."""

    name = "KSamplerSelect"
    category = f"{_CUSTOM}/samplers"
    description = "Chooses a sampler."
    module = _CUSTOM_MODULE
    inputs = (choice("sampler_name", SAMPLER_NAMES),)
    outputs = (Output("SAMPLER"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the sampler."""
        from keelbill.graph.tensors.handles import SamplerHandle

        return (SamplerHandle(values["sampler_name"]),)


@register
class RandomNoise(Node):
    """Noise of a seed."""

    name = "RandomNoise"
    category = f"{_CUSTOM}/noise"
    description = "Noise of a seed."
    module = _CUSTOM_MODULE
    inputs = (_seed("noise_seed"),)
    outputs = (Output("NOISE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the noise."""
        from keelbill.graph.tensors.handles import Noise

        return (Noise(values["noise_seed"]),)


@register
class DisableNoise(Node):
    """No noise."""

    name = "DisableNoise"
    category = f"{_CUSTOM}/noise"
    description = "No noise, for a run that goes on where another ended."
    module = _CUSTOM_MODULE
    outputs = (Output("NOISE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return no noise."""
        from keelbill.graph.tensors.handles import Noise

        return (Noise(None),)


@register
class SamplerCustom(Node):
    """A sampler whose levels are given."""

    name = "SamplerCustom"
    category = _CUSTOM
    description = "Paints along given noise levels."
    module = _CUSTOM_MODULE
    inputs = (
        socket("model", "MODEL"),
        switch("add_noise", default=True),
        _seed("noise_seed"),
        _cfg(),
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        socket("sampler", "SAMPLER"),
        socket("sigmas", "SIGMAS"),
        socket("latent_image", "LATENT"),
    )
    outputs = _LATENTS

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latent at the last level, and the last estimate of the clean one."""
        from keelbill.graph.tensors import denoising
        from keelbill.graph.tensors.handles import Guider, Noise

        guider = Guider(values["model"], values["positive"], values["negative"], values["cfg"])
        noise = Noise(values["noise_seed"] if values["add_noise"] else None)
        latent, sampler = values["latent_image"], values["sampler"].name
        return denoising.denoise(context, guider, latent, noise, sampler, values["sigmas"])


@register
class SamplerCustomAdvanced(Node):
    """A sampler all of whose pieces are given."""

    name = "SamplerCustomAdvanced"
    category = _CUSTOM
    description = "Paints with given noise, guidance, sampler and noise levels."
    module = _CUSTOM_MODULE
    inputs = (
        socket("noise", "NOISE"),
        socket("guider", "GUIDER"),
        socket("sampler", "SAMPLER"),
        socket("sigmas", "SIGMAS"),
        socket("latent_image", "LATENT"),
    )
    outputs = _LATENTS

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latent at the last level, and the last estimate of the clean one."""
        from keelbill.graph.tensors import denoising

        latent, sampler = values["latent_image"], values["sampler"].name
        return denoising.denoise(context, values["guider"], latent, values["noise"], sampler, values["sigmas"])


@register
class SplitSigmas(Node):
    """Noise levels in two parts."""

    name = "SplitSigmas"
    category = f"{_CUSTOM}/sigmas"
    description = "Splits noise levels at a step."
    module = _CUSTOM_MODULE
    inputs = (socket("sigmas", "SIGMAS"), integer("step", 0, 0, 10000))
    outputs = (Output("SIGMAS", "high_sigmas"), Output("SIGMAS", "low_sigmas"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both parts."""
        from keelbill.graph.tensors import denoising

        return denoising.split(values["sigmas"], values["step"])


@register
class SetFirstSigma(Node):
    """Noise levels with another start."""

    name = "SetFirstSigma"
    category = f"{_CUSTOM}/sigmas"
    description = "Changes the first noise level; models of the SD3 family know levels from 0 to 1."
    module = _CUSTOM_MODULE
    inputs = (socket("sigmas", "SIGMAS"), number("sigma", 136.0, 0.0, 20000.0, 0.001))
    outputs = (Output("SIGMAS"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the levels."""
        from keelbill.graph.tensors import denoising

        return (denoising.with_first(values["sigmas"], values["sigma"]),)
