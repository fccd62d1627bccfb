"""The command lines: what they take, and what they say."""
