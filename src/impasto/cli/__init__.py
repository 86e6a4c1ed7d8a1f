"""The command line: arguments become requests, progress becomes bars, errors become messages."""
