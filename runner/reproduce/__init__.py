"""Repeat a recorded run, on this machine or another, and say what differs."""
