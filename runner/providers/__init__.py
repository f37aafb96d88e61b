"""What answers requests. One module per service; a service's SDK is imported nowhere else."""
