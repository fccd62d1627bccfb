"""How good is a prediction: similarity, segmentation and scene scores, reports and sample grids."""
