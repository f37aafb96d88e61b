"""What answers requests. A package per service, which alone imports its SDK; beside them what they share."""
