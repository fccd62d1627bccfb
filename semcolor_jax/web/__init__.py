"""Web server of `semcolor serve`: a page to colour photos on, and an HTTP endpoint."""
