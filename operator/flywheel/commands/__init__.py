"""The subcommands of `flywheel`, one module for each part of the house. Each imports what it needs when it runs."""
