"""What every room shares: the values that travel, the provider's contract, errors, small tools."""
