"""`flywheel content-serve`, as a module of its own."""

from flywheel.commands.content import content_serve

if __name__ == "__main__":
    content_serve()
