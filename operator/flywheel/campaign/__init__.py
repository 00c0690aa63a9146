"""What a Campaign is in time: its stages, its inventory, its teardown."""
