"""The typed shapes of groups of the config that have no room in :mod:`runner.config.schema`."""
