"""Names and numbers of classes and scenes, and what other data sets call them."""
