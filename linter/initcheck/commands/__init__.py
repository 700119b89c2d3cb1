"""The subcommands: parse, call the pipeline, print. Nothing heavy is imported before a command runs."""
