"""A campaign of days rehearsed in minutes: used by the demo and by the end-to-end tests."""
