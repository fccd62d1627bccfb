"""Metrics of predicted colours, segmentation and scenes: arrays in, numbers out."""
