"""The parts of `experiments/paper.py`: folders, scores, tables, Fig. 12, grids of photos, and their page."""
