"""What a run leaves: its folder, read and written."""
