"""The command-line program `semcolor`: arguments, messages and exit codes."""
