"""The schema of a config, its checks, and how Hydra composes it."""
