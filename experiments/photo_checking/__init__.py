"""The parts of `experiments/photo_checks.py`: photos in every format, and independent checks of results."""
