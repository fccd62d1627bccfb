"""The page and the HTTP endpoint of `semcolor serve`."""
