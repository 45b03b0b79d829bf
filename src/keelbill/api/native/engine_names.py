"""Names of samplers and schedules, which this process cannot ask the engine for. A test compares them with it."""

from __future__ import annotations

from typing import Final

SAMPLERS: Final = (
    "euler",
    "ddim",
    "heun",
    "dpm_2",
    "lms",
    "ipndm",
    "ipndm_v",
    "deis",
    "dpmpp_2m",
    "res_multistep",
    "gradient_estimation",
    "uni_pc",
    "uni_pc_bh2",
    "euler_ancestral",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde_gpu",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "seeds_2",
    "er_sde",
    "lcm",
)

SCHEDULES: Final = (
    "reference",
    "trailing",
    "simple",
    "sgm_uniform",
    "normal",
    "beta",
    "karras",
    "exponential",
    "kl_optimal",
    "ddim_uniform",
    "linear_quadratic",
)
