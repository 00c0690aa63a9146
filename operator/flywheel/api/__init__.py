"""The resources as people write them: the only source of `crds/`."""
