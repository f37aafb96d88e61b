"""One experiment, from its config to its record. Start reading at :mod:`runner.experiment.run`."""
