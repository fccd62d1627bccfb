"""Names and ids of segmentation classes and scenes, and their names in other data sets."""
