"""The shape of a config, its checks, and how it becomes objects."""
