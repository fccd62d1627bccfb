"""Arrays in, numbers out: how well a photo was coloured, labelled and placed."""
