//! Statistics: isolation forest, calibration, quality metrics and sketches.
