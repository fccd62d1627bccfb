"""The jobs of `experiments/accelerator.py`: short runs on one accelerator that end by themselves, with all saved."""
