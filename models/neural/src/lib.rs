//! Neural models in burn: features, networks, training, calibration, explanations.
