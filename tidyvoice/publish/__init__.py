"""Publishing a model: its folder with weights, settings, calibration and card."""
