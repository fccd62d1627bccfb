"""Weight files of other frameworks, read safely: nothing in them is executed."""
