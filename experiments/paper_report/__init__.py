"""What `experiments/paper.py` is made of: folders, scores, tables, Fig. 12, grids of photos, and their page."""
