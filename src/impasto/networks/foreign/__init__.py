"""Networks in other people's files: one module a format, and `kinds.KINDS`, which has a row for each."""
