"""Evaluates predictions: similarity, segmentation and scene scores, reports and sample grids."""
