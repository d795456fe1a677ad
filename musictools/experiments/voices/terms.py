"""Names of targets, forms, methods and measures; the package explains them."""

from __future__ import annotations

__all__ = [
    "BASE_RATES",
    "CONTROLS",
    "DEFAULT_METHODS",
    "FORMS",
    "INSTRUMENTAL",
    "MEASURES",
    "METHODS",
    "ORACLE",
    "TARGETS",
]

BASE_RATES = {"female vocalists": 0.068, "female vocalist": 0.009, "male vocalists": 0.013}  # 28,540 songs of the MSD
INSTRUMENTAL = "instrumental"
TARGETS = ("vocals", "vocals - instrumental", INSTRUMENTAL)
FORMS = ("raw", "smoothed", "smoothed x energy")
ORACLE = "voice_down"
DEFAULT_METHODS = ("energy", "change", "edge", "random", "gradient", "deep_taylor", "deep_taylor/shuffled",
                   "lrp_composite", "lrp_composite/shuffled", "components")  # fmt: skip
METHODS = (*DEFAULT_METHODS, "gradient/shuffled", "components/shuffled", "input_x_gradient", "smooth_grad",
           "integrated_gradients", "guided_backprop", "grad_cam", "occlusion", "rise", "lime", "deep_taylor_bounded",
           "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", ORACLE)  # fmt: skip
MEASURES = ("auc", "auc_equal_energy", "auc_loud", "auc_time")
CONTROLS = ("energy", "change", "edge", "random")
