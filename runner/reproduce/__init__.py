"""A recorded run made again, here or on another machine, and what differs."""
