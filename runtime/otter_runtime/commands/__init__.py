"""One module per command of `otter-edge`, each with `add_arguments(parser)` and `run(args)`."""
