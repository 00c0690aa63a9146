"""Make a bare machine ready: packages, Python environment, Go, and the lab's programs, each installed or built once."""
